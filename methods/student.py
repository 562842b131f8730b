"""The student alone: cross-entropy on the labels, no teacher.

This is the control that every comparison needs.

Settings: chosen here.
"""

from __future__ import annotations

from typing import Annotated

from methods import Batch, Method, NonNegative, Output, Terms


class StudentAlone(Method):
    """Train without distillation: the engine's cross-entropy, weighted by `ce`, is the loss."""

    formula = "CE(student, labels)"
    baseline = True
    control = True
    has_terms = False
    minimum = 0.0

    def __init__(self, ce: Annotated[float, NonNegative] = 1.0):
        super().__init__()
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return no terms."""
        return {}
