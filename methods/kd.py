"""Knowledge distillation on soft targets. Hinton, Vinyals & Dean, 2015, arXiv:1503.02531.

Reduction (section 2): KL divergence summed over classes, mean over the batch, times T^2 so that the
gradient keeps its size when T changes. Implementations that divide by batch * classes
(`KLDivLoss(reduction="mean")`) are too small by a factor of the number of classes, and some leave
out T^2; published weights do not carry over to them. Defaults 0.1 CE + 0.9 KD at T = 4 are those of
the CIFAR-100 comparisons since CRD (Tian et al., ICLR 2020).

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Positive, Terms


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Compute T^2 * KL(softmax(teacher / T) || softmax(student / T)).

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes]; no gradient reaches them.
        temperature: Softmax temperature T.

    Returns:
        Scalar: mean over the batch.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    loss = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return loss * temperature**2


class KnowledgeDistillation(Method):
    """Let the student's softened predictions follow the teacher's.

    Args:
        temperature: Softmax temperature T.
        weight: Weight of the term.
    """

    paper = Paper(
        "Distilling the Knowledge in a Neural Network",
        "Hinton et al.",
        "arXiv",
        2015,
        "arXiv:1503.02531",
    )
    formula = "T^2 * KL(softmax(teacher/T) || softmax(student/T))"
    needs = Needs(logits=True)
    reference = True
    minimum = 0.0

    def __init__(
        self,
        temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0,
        weight: Annotated[float, NonNegative, LogUniform(0.09, 9.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 0.1,
    ):
        super().__init__()
        self.temperature = temperature
        self.weight = weight
        self.ce = ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `kd`."""
        return {"kd": (self.weight, kd_loss(student.logits, teacher.logits, self.temperature))}
