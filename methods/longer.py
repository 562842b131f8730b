"""The student alone for longer, a control.

Distillation pays for the teacher's forward passes: this says what the student gains from the same time spent on more
epochs. The recipe is stretched as a whole, with its schedule.
"""

from __future__ import annotations

from typing import Annotated

from methods._contract import Batch, Method, Output, Terms
from methods._settings import NonNegative, Positive


class LongerTraining(Method):
    """No distillation term; cross-entropy for `factor` times as many epochs."""

    formula = "CE(student, labels), for a multiple of the epochs"
    control = True
    minimum = 0.0

    def __init__(
        self, factor: Annotated[float, Positive] = 2.0, ce: Annotated[float, NonNegative] = 1.0
    ):
        super().__init__()
        self.length, self.ce = factor, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """No terms."""
        return {}
