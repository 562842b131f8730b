"""Born-again networks. Furlanello et al., ICML 2018, arXiv:1805.04770.

The teacher has the student's own architecture and was trained alone beforehand, with the same
recipe. This is one generation; the paper continues with further ones and with ensembles of them.

Reduction: KL divergence summed over classes, mean over the batch, at temperature 1. Weight 1 with
full cross-entropy is the paper's BAN+L; its plain BAN omits the labels (`ce` 0). At another
temperature, the factor T^2 applies, as in kd.

Settings: chosen here after the paper (equal weights). No configuration of the authors was
available.
"""

from __future__ import annotations

from typing import Annotated

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods.kd import kd_loss


class BornAgain(Method):
    """Distil from an earlier copy of the student, trained without a teacher.

    Args:
        temperature: Softmax temperature T.
        weight: Weight of the term.
    """

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
        self.temperature = temperature
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `kd`."""
        return {"kd": (self.weight, kd_loss(student.logits, teacher.logits, self.temperature))}
