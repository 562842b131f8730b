"""The student alone: cross-entropy on the labels, no teacher.

The control without which no comparison proves anything.
"""

from __future__ import annotations

from typing import Annotated

from methods._contract import Batch, Method, Output, Terms
from methods._settings import NonNegative


class StudentAlone(Method):
    """No distillation term at all; the engine's cross-entropy, with weight `ce`, is the whole loss."""

    formula = "CE(student, labels)"
    baseline = True
    control = True
    minimum = 0.0

    def __init__(self, ce: Annotated[float, NonNegative] = 1.0):
        super().__init__()
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """No terms."""
        return {}
