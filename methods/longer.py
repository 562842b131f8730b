"""The student alone for longer, a control.

Distillation pays for the teacher's forward passes; this control shows what the student gains if the
same time is spent on more epochs. The whole recipe is stretched, including its schedule.

Settings: chosen here.
"""

from __future__ import annotations

from typing import Annotated

from methods import Batch, Method, NonNegative, Output, Positive, Terms


class LongerTraining(Method):
    """Train with cross-entropy alone, for `factor` times as many epochs.

    Args:
        factor: Length of the training, as a multiple of the recipe's epochs.
    """

    formula = "CE(student, labels), for a multiple of the epochs"
    control = True
    has_terms = False
    minimum = 0.0

    def __init__(
        self, factor: Annotated[float, Positive] = 2.0, ce: Annotated[float, NonNegative] = 1.0
    ):
        super().__init__()
        self.length = factor
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return no terms."""
        return {}
