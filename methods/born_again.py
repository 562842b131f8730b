"""Born-again networks. Furlanello et al., ICML 2018, arXiv:1805.04770.

The teacher is the student's own architecture, trained alone before with the same recipe (one generation; the paper goes
on to further ones and to ensembles of them). Reduction: KL divergence summed over classes, mean over the batch, at
temperature 1; weight 1 beside full cross-entropy is the paper's BAN+L, its plain BAN leaves the labels out (`ce` 0).
Another temperature brings the factor T^2, as in kd.
"""

from __future__ import annotations

from typing import Annotated

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative, Positive
from methods.kd import kd_loss


class BornAgain(Method):
    """The student is taught by what it became without a teacher."""

    paper = Paper(
        "Born Again Neural Networks", "Furlanello et al.", "ICML", 2018, "arXiv:1805.04770"
    )
    formula = "T^2 * KL(softmax(earlier self/T) || softmax(student/T)), T = 1"
    needs = Needs(logits=True, companion="earlier")
    minimum = 0.0

    def __init__(
        self,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.temperature, self.weight, self.ce = temperature, weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `kd`."""
        return {"kd": (self.weight, kd_loss(student.logits, teacher.logits, self.temperature))}
