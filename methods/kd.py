"""Knowledge distillation on soft targets. Hinton, Vinyals & Dean, 2015, arXiv:1503.02531, section 2.

Reduction: KL divergence summed over classes, mean over the batch, times T^2 so that its gradient keeps its size when T
changes. Implementations that divide by batch * classes (`KLDivLoss(reduction="mean")`) are too small by the number of
classes, and some leave out T^2; published weights do not carry over to them. Defaults 0.1 CE + 0.9 KD at T = 4 are
those of the CIFAR-100 comparisons since CRD (Tian et al., ICLR 2020).
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative, Positive


def kd_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 * KL(softmax(teacher / T) || softmax(student / T)), mean over the batch.

    student, teacher: logits [N, classes] -> scalar. No gradient reaches the teacher.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach() / temperature, dim=1)
    return (
        F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2
    )


class KnowledgeDistillation(Method):
    """The student's softened predictions follow the teacher's."""

    paper = Paper(
        "Distilling the Knowledge in a Neural Network",
        "Hinton et al.",
        "arXiv",
        2015,
        "arXiv:1503.02531",
    )
    formula = "T^2 * KL(softmax(teacher/T) || softmax(student/T))"
    needs = Needs(logits=True)
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
