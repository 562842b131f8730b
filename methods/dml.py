"""Deep mutual learning. Zhang et al., CVPR 2018, arXiv:1706.00384, section 3.

Two students of one architecture learn side by side, each from the labels and from the other's
predictions on the same batch: the engine calls this method once for each of them, with the roles
exchanged. Reduction: KL divergence summed over classes, mean over the batch, at temperature 1;
weight 1 with full cross-entropy, as published. In the paper the two take turns, and the second
learns from the first's updated predictions; here both learn from the predictions before the update.

Settings: chosen here after the paper (equal weights). No configuration of the authors was
available.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms
from methods.kd import kd_loss


def mutual_loss(student: Tensor, peer: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute T^2 * KL(softmax(peer / T) || softmax(student / T)).

    Args:
        student: Logits [N, classes].
        peer: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    return kd_loss(student, peer, temperature)


class MutualLearning(Method):
    """Let two students teach each other from the start, without a teacher.

    Args:
        weight: Weight of the term.
        temperature: Softmax temperature T.
    """

    paper = Paper("Deep Mutual Learning", "Zhang et al.", "CVPR", 2018, "arXiv:1706.00384")
    formula = "KL(softmax(peer) || softmax(student)), and the same with the roles exchanged"
    needs = Needs(logits=True, companion="peer")
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.temperature = temperature
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `dml`; the teacher is the peer."""
        return {"dml": (self.weight, mutual_loss(student.logits, teacher.logits, self.temperature))}
