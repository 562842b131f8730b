"""Tests of the taps that a method requests, and of a head that it deploys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from methods import TAPS, Output, Probe, Shapes, Side, Tap
from methods.testing._cases import (
    BATCH_SIZE,
    CLASSES,
    Conformance,
    Subject,
    classifier_of,
    drawn,
    early_terms_of,
    numbers,
    outputs_of,
    seen_of_student,
    seen_of_teacher,
    terms_of,
)

SIDES: tuple[Side, Side] = ("student", "teacher")

LOST_WITH = {
    "embedding": ("embedding", "pooled", "classifier"),
    "maps": ("maps",),
    "pooled": ("pooled",),
    "classifier": ("classifier",),
}
"""Field of `Shapes` -> all fields that are empty if that one is."""


class TapConformance(Conformance):
    """A method uses exactly the taps that it requests and reports why it cannot run without one."""

    def test_a_tap_that_was_not_asked_for_changes_no_bit(
        self, subject: Subject, pair: Probe
    ) -> None:
        """`needs` must declare everything that the method uses."""
        method = subject.built(pair)
        asked = terms_of(method, *outputs_of(method, pair))
        everything = drawn(0, pair.student), drawn(1, pair.teacher)
        assert numbers(asked) == numbers(terms_of(subject.built(pair), *everything))

    @pytest.mark.parametrize("tap", TAPS, ids=[tap.name for tap in TAPS])
    def test_a_tap_that_is_asked_for_makes_a_difference(self, subject: Subject, tap: Tap) -> None:
        """One of the networks on one of the pairs is enough: OFA uses the student's maps only."""
        if tap not in subject.method().tapped().taps:
            pytest.skip(f"it does not request {tap.title}")
        assert any(
            _results(subject, pair, tap, side, changed=False)
            != _results(subject, pair, tap, side, changed=True)
            for pair in subject.supported()
            for side in SIDES
        )

    @pytest.mark.parametrize("side", SIDES)
    @pytest.mark.parametrize("shape", LOST_WITH)
    def test_a_method_runs_without_a_tap_or_says_in_one_line_why_it_cannot(
        self, subject: Subject, side: Side, shape: str
    ) -> None:
        """`supports` returns the reason, and only for a tap that was requested."""
        method = subject.method()
        pair = _without(subject.supported()[0], side, shape)
        if reason := method.supports(pair):
            assert any(tap.shape in LOST_WITH[shape] for tap in method.tapped().taps)
            assert len(reason.splitlines()) == 1
            return

        method.build(pair)
        student = seen_of_student(method, _drawn_without(0, pair.student))
        teacher = seen_of_teacher(method, _drawn_without(1, pair.teacher))
        for _, value in terms_of(method, student, teacher).values():
            assert value.isfinite()

    def test_a_deployed_head_makes_logits_of_the_students_output_alone(
        self, subject: Subject, pair: Probe
    ) -> None:
        """The head is a submodule, so that it is trained and saved with the method."""
        method = subject.built(pair).eval()
        head = method.deployed()
        if head is None:
            pytest.skip("the student's own head is deployed")

        student, _ = outputs_of(method, pair)
        logits = head(student)
        assert logits.shape == (BATCH_SIZE, CLASSES)
        assert logits.isfinite().all()
        assert any(head is module for module in method.modules())


def _results(subject: Subject, pair: Probe, tap: Tap, side: Side, changed: bool) -> tuple[Any, ...]:
    """Return the terms, and the logits of a deployed head, with a tap as drawn or changed."""
    network: Shapes = getattr(pair, side)
    other = replace(drawn(9, network), classifier=classifier_of(network, 5))
    if changed and (tap.name, side) == ("classifier", "teacher"):
        pair = replace(pair, classifier=other.classifier)

    method = subject.built(pair)
    student, teacher = outputs_of(method, pair)
    outputs = {"student": student, "teacher": teacher}
    if changed and getattr(outputs[side], tap.output) is not None:
        outputs[side] = replace(outputs[side], **{tap.output: getattr(other, tap.output)})

    head = method.deployed()
    logits = None if head is None else head.eval()(outputs["student"]).tolist()
    early_terms = early_terms_of(method, outputs["student"], outputs["teacher"])
    terms = terms_of(method, outputs["student"], outputs["teacher"])
    return numbers(early_terms), numbers(terms), logits


def _without(pair: Probe, side: Side, shape: str) -> Probe:
    """Return the pair with a network that lacks a tap and all taps that depend on it.

    Stages are paired, so without the maps of one network those of the other are lost too.
    """
    lacking = SIDES if shape == "maps" else (side,)
    empty = Shapes(())
    lost: dict[str, Any] = {name: getattr(empty, name) for name in LOST_WITH[shape]}
    networks: dict[str, Any] = {name: replace(getattr(pair, name), **lost) for name in lacking}
    notes = {f"{name}.{shape}": "it has none" for name in SIDES}

    pair = replace(pair, **networks, notes=notes)
    if side == "teacher" and not pair.teacher.classifier:
        pair = replace(pair, classifier=None)
    return pair


def _drawn_without(seed: int, network: Shapes) -> Output:
    """Draw the output of a network that may lack an embedding or a classifier."""
    output = drawn(seed, replace(network, embedding=network.embedding or (1,)))
    return replace(
        output,
        embedding=output.embedding if network.embedding else None,
        classifier=output.classifier if network.classifier else None,
    )
