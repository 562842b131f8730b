"""Tests of settings, seeds, saved state, and outputs that several methods share."""

from __future__ import annotations

import json
import random
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Method, Probe
from methods.testing._cases import (
    Conformance,
    Subject,
    batch,
    early_terms_of,
    leaves,
    loss_of,
    numbers,
    outputs_of,
    seeded,
    tensors_of,
    terms_of,
)


class StateConformance(Conformance):
    """Training can be repeated and resumed, and can share outputs with other methods."""

    def test_the_same_seed_gives_the_same_bits_whatever_other_streams_do(
        self, subject: Subject, pair: Probe
    ) -> None:
        """Random numbers must come from torch's global stream only."""
        terms, gradients, state = _trained(subject, pair, stream=0)
        terms_again, gradients_again, state_again = _trained(subject, pair, stream=1)
        assert terms == terms_again
        for gradient, gradient_again in zip(gradients, gradients_again, strict=True):
            assert torch.equal(gradient, gradient_again)
        _assert_same_state(state, state_again)

    def test_settings_make_the_same_method_again_even_after_a_round_trip_through_json(
        self, subject: Subject
    ) -> None:
        """`settings` contains all arguments of the constructor."""
        method = subject.method()
        again = subject.create(**json.loads(json.dumps(method.settings)))
        assert again.settings == method.settings
        assert again.ce == method.ce == method.settings["ce"]
        assert again.tapped() == method.tapped()

        pair = subject.supported()[0]
        assert _terms_once_built(method, pair) == _terms_once_built(again, pair)

    def test_a_method_resumes_from_its_saved_state_as_if_it_had_never_stopped(
        self, subject: Subject, pair: Probe
    ) -> None:
        """Everything that changes must be kept in parameters and buffers."""
        original, restored = subject.built(pair), subject.built(pair, seed=1)
        early_terms_of(original, *outputs_of(original, pair))
        terms_of(original, *outputs_of(original, pair))
        state = {key: value.clone() for key, value in original.state_dict().items()}
        assert all(isinstance(value, Tensor) for value in state.values())
        restored.load_state_dict(state)

        outputs = outputs_of(original, pair, seed=7)
        terms = terms_of(original, *outputs, seed=1)
        restored_terms = terms_of(restored, *outputs, seed=1)
        assert numbers(terms) == numbers(restored_terms)
        _assert_same_state(original.state_dict(), restored.state_dict())

    def test_the_outputs_that_a_cohort_shares_stay_as_they_were(
        self, subject: Subject, pair: Probe
    ) -> None:
        """Nothing that belongs to the networks or the batch may be changed in place."""
        method = subject.built(pair)
        student, teacher = outputs_of(method, pair)
        student, samples = leaves(student), batch()
        shared = [*tensors_of(student), *tensors_of(teacher), samples.labels, samples.index]
        before = [tensor.detach().clone() for tensor in shared]

        cross_entropy = F.cross_entropy(student.logits, samples.labels)
        (cross_entropy + loss_of(method(student, teacher, samples))).backward()
        if method.pre_training:
            loss_of(method.pre_train(student, teacher, samples)).backward()
        for tensor, value in zip(shared, before, strict=True):
            assert torch.equal(tensor, value)


def _trained(
    subject: Subject, pair: Probe, stream: int
) -> tuple[dict[str, tuple[float, float]], list[Tensor], dict[str, Tensor]]:
    """Compute gradients on a batch after reseeding the streams that a method must not use."""
    random.seed(stream)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(stream)

    method = subject.built(pair)
    student, teacher = outputs_of(method, pair)
    student = leaves(student)
    terms = terms_of(method, student, teacher)
    early_terms = early_terms_of(method, student, teacher)
    cross_entropy = F.cross_entropy(student.logits, batch().labels)
    (cross_entropy + loss_of(terms, early_terms)).backward()

    learners = [*tensors_of(student), *method.parameters()]
    gradients = [tensor.grad for tensor in learners if tensor.grad is not None]
    return numbers(terms), gradients, method.state_dict()


def _terms_once_built(method: Method, pair: Probe) -> dict[str, tuple[float, float]]:
    seeded(0)
    method.build(pair)
    return numbers(terms_of(method, *outputs_of(method, pair)))


def _assert_same_state(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert state.keys() == other.keys()
    for key, value in state.items():
        assert torch.equal(value, other[key]), key
