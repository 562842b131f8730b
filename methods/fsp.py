"""FSP, the flow of solution procedure. Yim, Joo, Bae & Kim, CVPR 2017, eq. 1 and 2.

Reduction: mean over samples and over all pairs of channels, summed over pairs of consecutive maps, as in RepDistiller.
torchdistill pools by maximum and sums the norms of columns, which is over a hundred times larger;
Knowledge-Distillation-Zoo divides the sum of three by 3. Of two consecutive maps the larger is average-pooled to the
smaller; sizes of student and teacher need not agree, channels must.

In two stages, as published: the student learns the flow alone in 30 epochs before its 240, kept as a share so that it
carries over to recipes of other lengths; then it learns with cross-entropy alone. So `forward` has no terms.
RepDistiller's `-b 50` is never applied: the loss of the first stage is the bare sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from methods._adapters import pooled_alike
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._settings import Bound, LogUniform, NonNegative


def flow(first: Tensor, second: Tensor) -> Tensor:
    """Mean over positions of the product of two maps' channels.  [N, A, H, W], [N, B, H', W'] -> [N, B, A]."""
    first, second = (one.flatten(2) for one in pooled_alike(first, second))
    return torch.bmm(second, first.transpose(1, 2)) / first.shape[2]


def flow_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the flows between consecutive maps, summed over the pairs of them.

    student, teacher: two or more maps [N, C, H, W], whose channels agree -> scalar. No gradient reaches the teacher.
    """
    flows = (
        [flow(*two) for two in pairwise(maps)]
        for maps in (student, [one.detach() for one in teacher])
    )
    return torch.stack([(s - t).pow(2).mean() for s, t in zip(*flows, strict=True)]).sum()


class FlowOfSolutionProcedure(Method):
    """Before its training the student learns how the teacher's features of one stage relate to those of the next."""

    paper = Paper(
        "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning",
        "Yim et al.",
        "CVPR",
        2017,
        "https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html",
    )
    formula = "before training: sum over consecutive maps of mean (G_student - G_teacher)^2, G = mean_hw f_1 f_2^T"
    needs = Needs(maps=True)
    taught_early = True
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        pre_training: Annotated[float, Bound(0, 1)] = 1 / 8,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.pre_training, self.ce = weight, pre_training, ce

    def supports(self, probe: Probe) -> str | None:
        """Needs two stages, and the same number of channels in both networks at each."""
        if reason := super().supports(probe):
            return reason
        channels = [
            [shape[0] for shape in shapes.maps] for shapes in (probe.student, probe.teacher)
        ]
        if len(channels[0]) < 2:
            return "a single map: there is no flow from one stage to the next"
        if channels[0] != channels[1]:
            return "channels of the maps differ: student {}, teacher {}".format(*channels)
        return None

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """No terms: what is left is cross-entropy."""
        return {}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `fsp`: the sum over consecutive stages."""
        return {"fsp": (self.weight, flow_loss(student.maps, teacher.maps))}
