"""Tests of the loss terms and their gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods import Output, Probe, Terms
from methods.testing._cases import (
    CLASSES,
    Conformance,
    Subject,
    batch,
    drawn,
    early_terms_of,
    leaves,
    loss_of,
    numbers,
    outputs_of,
    seeded,
    seen_of_student,
    seen_of_teacher,
    tensors_of,
    terms_of,
)
from methods.testing._waits import waits


class TermConformance(Conformance):
    """Terms are finite numbers that the student and the adapters can learn from."""

    def test_a_method_runs_on_at_least_one_pair(self, subject: Subject) -> None:
        """If there were none, all other tests of the method would be skipped."""
        assert subject.supported()

    def test_terms_are_finite_scalars_in_float32_with_plain_weights(
        self, subject: Subject, pair: Probe
    ) -> None:
        """Terms are returned exactly where the method declares them."""
        method = subject.built(pair)
        student, teacher = outputs_of(method, pair)
        terms = terms_of(method, student, teacher)
        early_terms = early_terms_of(method, student, teacher)

        assert bool(terms or early_terms) == method.has_terms
        assert bool(early_terms) == (method.pre_training > 0)
        for name, (weight, value) in [*terms.items(), *early_terms.items()]:
            assert isinstance(name, str)
            assert isinstance(weight, float)
            assert value.shape == ()
            assert value.dtype == torch.float32
            assert value.isfinite()

    def test_the_epoch_changes_the_terms_only_where_the_method_declares_it(
        self, subject: Subject
    ) -> None:
        """A method that does not set `changes_by_epoch` ignores the epoch of a batch."""
        pair = subject.supported()[0]
        first, last = (_terms_in_epoch(subject, pair, epoch) for epoch in (0, 238))
        assert first == last or subject.method().changes_by_epoch

    def test_a_step_waits_for_the_device_only_where_the_method_declares_it(
        self, subject: Subject
    ) -> None:
        """A method that does not set `capturable = False` reads no number back to go on."""
        pair = subject.supported()[0]
        method = subject.built(pair)
        student, teacher = (leaves(output) for output in outputs_of(method, pair))
        terms_of(method, student, teacher)  # the first step may prepare the others

        with waits() as noted:
            early_terms = early_terms_of(method, student, teacher)
            loss = loss_of(early_terms, terms_of(method, student, teacher))
            if loss.requires_grad:
                loss.backward()
        assert noted == [] or not method.capturable

    def test_gradients_reach_all_that_learns_and_nothing_of_the_teacher(
        self, subject: Subject, pair: Probe
    ) -> None:
        """The teacher's output must be detached, and every adapter used."""
        method = subject.built(pair)
        student, teacher = (leaves(output) for output in outputs_of(method, pair))
        if not method.has_terms:
            assert not list(method.parameters())
            return

        early_terms = early_terms_of(method, student, teacher)
        loss_of(early_terms, terms_of(method, student, teacher)).backward()
        assert not any(_has_gradient(tensor) for tensor in tensors_of(teacher))
        assert any(_has_gradient(tensor) for tensor in tensors_of(student))
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
        for tensor in [*tensors_of(student), *method.parameters()]:
            assert tensor.grad is None or tensor.grad.isfinite().all()

    def test_adapters_learn_to_lower_the_loss_or_to_raise_it_if_they_are_adversarial(
        self, subject: Subject
    ) -> None:
        """Ten steps of Adam on one batch are enough to tell."""
        pair = subject.supported()[0]
        method = subject.built(pair)
        if not list(method.parameters()):
            pytest.skip("it has no adapters")

        student, teacher = outputs_of(method, pair)
        optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
        losses = []
        for _ in range(10):
            early_terms = early_terms_of(method, student, teacher)
            loss = loss_of(early_terms, terms_of(method, student, teacher))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

        if method.adversarial:
            assert losses[-1] > losses[0]
        else:
            assert losses[-1] < losses[0]

    @pytest.mark.parametrize("scale", [1.0, 100.0])
    def test_networks_in_bf16_give_finite_terms_in_float32(
        self, subject: Subject, scale: float
    ) -> None:
        """The engine runs networks in bfloat16 and passes their outputs in float32."""
        pair = subject.supported()[0]
        method = subject.built(pair)
        layer = torch.nn.Linear(CLASSES, CLASSES)
        student = seen_of_student(method, _rounded(drawn(0, pair.student, scale), layer))
        teacher = seen_of_teacher(method, _rounded(drawn(1, pair.teacher, scale), layer))

        early_terms = early_terms_of(method, student, teacher)
        terms = terms_of(method, student, teacher)
        cross_entropy = F.cross_entropy(student.logits, batch().labels)
        (cross_entropy + loss_of(early_terms, terms)).backward()

        for _, value in [*early_terms.values(), *terms.values()]:
            assert value.dtype == torch.float32
            assert value.isfinite()
        for parameter in [*layer.parameters(), *method.parameters()]:
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


def _has_gradient(tensor: Tensor) -> bool:
    return tensor.grad is not None and bool(tensor.grad.any())


def _rounded(output: Output, layer: torch.nn.Linear) -> Output:
    """Round an output to bfloat16; its logits come from a layer under autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = layer(output.logits)
    assert logits.dtype == torch.bfloat16

    rounded = output.map(lambda tensor: tensor.bfloat16().float())
    return replace(rounded, logits=logits.float(), classifier=output.classifier)


def _terms_in_epoch(subject: Subject, pair: Probe, epoch: int) -> dict[str, tuple[float, float]]:
    """Return the terms of a freshly built method for a batch in one of 240 epochs."""
    method = subject.built(pair)
    student, teacher = outputs_of(method, pair)
    loaded = replace(batch(), epoch=epoch, epochs=240)
    seeded(0)
    terms: Terms = method(student, teacher, loaded)
    seeded(0)
    early = method.pre_train(student, teacher, loaded) if method.pre_training else {}
    return numbers(terms) | {f"early {name}": value for name, value in numbers(early).items()}
