"""FitNets: hints from an intermediate map. Romero et al., ICLR 2015, arXiv:1412.6550, eq. 3.

Reduction: mean squared error over all elements, after a regressor that maps the student's map to
the teacher's shape. Training has a single phase, with cross-entropy in addition to the hint, whose
weight is 100, as in RepDistiller and mdistiller; the paper trains the lower half on the hint first
and distils logits afterwards. The hint is the second-deepest stage (`feats[2]` of RepDistiller's
three-stage networks).

Settings: public code of others (RepDistiller and mdistiller), for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods import Batch, LogUniform, Method, Needs, NonNegative, Output, Paper, Probe, Terms
from methods._adapters import ConvRegressor


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare the regressed map with the hint (eq. 3).

    Args:
        student: The regressed map, [N, C, H, W].
        teacher: The hint, [N, C, H, W]; no gradient reaches it.

    Returns:
        Scalar: mean squared error over all elements.
    """
    return F.mse_loss(student, teacher.detach())


class FitNet(Method):
    """Let a regressed intermediate map of the student imitate the teacher's.

    Args:
        weight: Weight of the term.
        stage: Stage of the hint; negative numbers count from the deepest stage.
    """

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
        self.weight = weight
        self.stage = stage
        self.ce = ce

        self.regressor: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Require the hint's stage in both networks."""
        reason = super().supports(probe)
        count = len(probe.student.maps)
        if reason is None and not -count <= self.stage < count:
            reason = f"stage {self.stage} is out of range; number of stages: {count}"
        return reason

    def build(self, probe: Probe) -> None:
        """Make the regressor for the shapes of the two maps."""
        source = probe.student.maps[self.stage]
        target = probe.teacher.maps[self.stage]
        self.regressor = ConvRegressor(source, target)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `fitnet`."""
        regressed = self.regressor(student.maps[self.stage])
        return {"fitnet": (self.weight, hint_loss(regressed, teacher.maps[self.stage]))}
