"""Tests of methods that declare a `minimum` and so have no adapters between the networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from methods import Output
from methods.testing._cases import (
    ALIKE,
    BATCH_SIZE,
    CLASSES,
    Conformance,
    Subject,
    drawn,
    leaves,
    loss_of,
    outputs_of,
    seen_of_student,
    tensors_of,
    terms_of,
)


class MinimumConformance(Conformance):
    """The declared minimum is reached where student and teacher agree, and no value is below it."""

    def test_every_term_is_at_its_minimum_where_student_and_teacher_agree(
        self, bounded: Subject
    ) -> None:
        """Both networks give the same output."""
        method = bounded.built(ALIKE)
        _, output = outputs_of(method, ALIKE)
        output = _with_logits(output)
        for _, value in terms_of(method, output, output).values():
            assert value.item() == pytest.approx(method.minimum, abs=1e-4)

    @pytest.mark.parametrize("distance", [1e-3, 0.1, 1.0, 10.0])
    def test_no_output_is_better_than_the_declared_minimum(
        self, bounded: Subject, distance: float
    ) -> None:
        """The student's output is moved away from the teacher's in random directions."""
        method = bounded.built(ALIKE)
        assert method.minimum is not None
        for seed in range(0, 20, 2):
            _, teacher = outputs_of(method, ALIKE, seed)
            step = seen_of_student(method, drawn(seed + 50, ALIKE.student, distance))
            student = _moved(_with_logits(teacher), step)
            for _, value in terms_of(method, student, teacher, seed).values():
                assert value.item() >= method.minimum - 1e-4

    def test_the_gradient_vanishes_at_the_minimum(self, bounded: Subject) -> None:
        """Both networks give the same output."""
        method = bounded.built(ALIKE)
        _, teacher = outputs_of(method, ALIKE)
        student = leaves(teacher)
        loss = loss_of(terms_of(method, student, teacher))
        if loss.requires_grad:
            loss.backward()
        for tensor in tensors_of(student):
            assert tensor.grad is None or tensor.grad.abs().max() < 1e-4


def _with_logits(output: Output) -> Output:
    """Add logits of zero if the method does not request the teacher's logits."""
    if len(output.logits):
        return output
    return replace(output, logits=torch.zeros(BATCH_SIZE, CLASSES))


def _moved(output: Output, step: Output) -> Output:
    """Add two outputs; the classifier is that of the first."""

    def added(first: Tensor | None, second: Tensor | None) -> Tensor | None:
        return None if first is None or second is None else first + second

    def added_stages(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(own + other for own, other in zip(first, second, strict=True))

    return Output(
        output.logits + step.logits,
        added(output.embedding, step.embedding),
        added_stages(output.maps, step.maps),
        added_stages(output.preactivations, step.preactivations),
        added(output.pooled, step.pooled),
        output.classifier,
        added(output.second, step.second),
    )
