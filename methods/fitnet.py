"""FitNets: hints from an intermediate map. Romero et al., ICLR 2015, arXiv:1412.6550, eq. 3.

Reduction: mean squared error over all elements, after a regressor that brings the student's map to the teacher's shape.
One stage of training with cross-entropy beside the hint and weight 100, as in RepDistiller and mdistiller; the paper
trains the lower half on the hint first and distils logits afterwards. The hint is the second-deepest stage (`feats[2]`
of RepDistiller's three-stage networks).
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods._adapters import ConvRegressor
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import LogUniform, NonNegative


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error over all elements.

    student: the regressed map, teacher: the hint, both [N, C, H, W] -> scalar. No gradient reaches the teacher.
    """
    return F.mse_loss(student, teacher.detach())


class FitNet(Method):
    """A regressed intermediate map of the student imitates the teacher's."""

    paper = Paper(
        "FitNets: Hints for Thin Deep Nets", "Romero et al.", "ICLR", 2015, "arXiv:1412.6550"
    )
    formula = "mean (regressor(f_student) - f_teacher)^2 at one stage"
    needs = Needs(maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(1e1, 1e3)] = 100.0,
        stage: int = -2,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.stage, self.ce = weight, stage, ce
        self.regressor: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Needs the hint's stage in both networks."""
        reason = super().supports(probe)
        count = len(probe.student.maps)
        if reason is None and not -count <= self.stage < count:
            reason = f"stage {self.stage} of {count}: there is no such map"
        return reason

    def build(self, probe: Probe) -> None:
        """Makes the regressor for the two maps' shapes."""
        self.regressor = ConvRegressor(
            probe.student.maps[self.stage], probe.teacher.maps[self.stage]
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `fitnet`."""
        regressed = self.regressor(student.maps[self.stage])
        return {"fitnet": (self.weight, hint_loss(regressed, teacher.maps[self.stage]))}
