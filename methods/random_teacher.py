"""Distillation from an untrained teacher, a control.

KD as published, from a network of the teacher's architecture with the weights it was initialised with: what the loss
does to a student when nothing is known. Reduction as in kd: KL summed over classes, mean over the batch, times T^2.
Its batch normalisation takes the statistics of each batch, since it has none of its own.
"""

from __future__ import annotations

from typing import Annotated

from methods._contract import Batch, Method, Needs, Output, Terms
from methods._settings import LogUniform, NonNegative, Positive
from methods.kd import kd_loss


class RandomTeacher(Method):
    """The student's softened predictions follow those of a network that has learnt nothing."""

    formula = "T^2 * KL(softmax(untrained/T) || softmax(student/T))"
    needs = Needs(logits=True, companion="untrained")
    control = True
    minimum = 0.0

    def __init__(
        self,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.temperature, self.weight, self.ce = temperature, weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `kd`."""
        return {"kd": (self.weight, kd_loss(student.logits, teacher.logits, self.temperature))}
