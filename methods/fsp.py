"""FSP, the flow of solution procedure. Yim, Joo, Bae & Kim, CVPR 2017, eq. 1 and 2.

Reduction: mean over samples and over all pairs of channels, summed over pairs of consecutive maps,
as in RepDistiller. torchdistill uses max pooling and sums the norms of columns, which is over a
hundred times larger; Knowledge-Distillation-Zoo divides its sum of three terms by 3. Of two
consecutive maps, the larger is average-pooled to the smaller. The sizes of student and teacher need
not agree, but their channels must.

There are two phases, as published: for 30 epochs before the usual 240, the student learns only the
flow; this length is stored as a fraction so that it carries over to other recipes. The student then
learns from cross-entropy alone, so `forward` has no terms. RepDistiller's `-b 50` is never applied:
the loss of the first phase is the unweighted sum.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Probe,
    Terms,
)
from methods._adapters import pooled_alike


def flow(first: Tensor, second: Tensor) -> Tensor:
    """Multiply the channels of two maps at each position (eq. 1).

    Args:
        first: Map [N, A, H, W].
        second: Map [N, B, H', W'].

    Returns:
        Mean over positions of all products, [N, B, A].
    """
    first, second = pooled_alike(first, second)
    first, second = first.flatten(2), second.flatten(2)
    return torch.bmm(second, first.transpose(1, 2)) / first.shape[2]


def flow_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Compare the flows between consecutive maps (eq. 2).

    Args:
        student: Two or more maps [N, C, H, W].
        teacher: Equally many maps with the same channels; no gradient reaches them.

    Returns:
        Scalar: mean squared difference of the flows, summed over pairs of consecutive maps.
    """
    own = [flow(*pair) for pair in pairwise(student)]
    others = [flow(*pair) for pair in pairwise([features.detach() for features in teacher])]

    differences = [(s - t).pow(2).mean() for s, t in zip(own, others, strict=True)]
    return torch.stack(differences).sum()


class FlowOfSolutionProcedure(Method):
    """Before the training, teach the student how features of one stage relate to those of the next.

    Args:
        weight: Weight of the term before the training.
        pre_training: Length of the stage before the training, as a share of the recipe's epochs.
    """

    paper = Paper(
        "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer "
        "Learning",
        "Yim et al.",
        "CVPR",
        2017,
        "https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html",
    )
    formula = (
        "before training: sum over consecutive maps of mean (G_student - G_teacher)^2, "
        "G = mean_hw f_1 f_2^T"
    )
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
        self.weight = weight
        self.pre_training = pre_training
        self.ce = ce

    def supports(self, probe: Probe) -> str | None:
        """Require two stages, and the same number of channels in both networks at each."""
        if reason := super().supports(probe):
            return reason

        student = [shape[0] for shape in probe.student.maps]
        teacher = [shape[0] for shape in probe.teacher.maps]
        if len(student) < 2:
            return "a single map: there is no flow from one stage to the next"
        if student != teacher:
            return f"channels of the maps differ: student {student}, teacher {teacher}"
        return None

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return no terms: only cross-entropy is left."""
        return {}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `fsp`: the sum over consecutive stages."""
        return {"fsp": (self.weight, flow_loss(student.maps, teacher.maps))}
