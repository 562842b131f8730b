"""Hard labels of the teacher, a control.

This control shows what remains of distillation if only the teacher's top prediction is known. The
class that the teacher ranks first replaces the label. Reduction: cross-entropy, mean over the
batch. DeiT (Touvron et al., ICML 2021, arXiv:2012.12877, eq. 3) uses half of this loss and half of
the plain cross-entropy: `weight` 0.5, `ce` 0.5.

Settings: chosen here.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, Method, Needs, NonNegative, Output, Terms


def hard_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute cross-entropy with the teacher's most likely class.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.

    Returns:
        Scalar: mean over the batch.
    """
    return F.cross_entropy(student, teacher.argmax(dim=1))


class HardLabels(Method):
    """Train on the teacher's decisions, without its confidence.

    Args:
        weight: Weight of the term.
    """

    formula = "CE(student, argmax teacher)"
    needs = Needs(logits=True)
    control = True

    def __init__(
        self, weight: Annotated[float, NonNegative] = 1.0, ce: Annotated[float, NonNegative] = 0.0
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `hard_labels`."""
        return {"hard_labels": (self.weight, hard_loss(student.logits, teacher.logits))}
