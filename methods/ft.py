"""Factor transfer. Kim, Park & Kwak, NeurIPS 2018, arXiv:1802.04977, section 3.

Reduction: absolute difference of two factors, mean over samples and positions, as in RepDistiller,
the source of the weight. Two losses have this name. RepDistiller reduces a factor to an attention
map first (mean of squares over channels, unit length over positions). The paper, torchdistill and
Knowledge-Distillation-Zoo compare the whole factors at unit length (`whole_factor_loss`), which is
up to 2.6 times smaller; torchdistill's weight for it is 1000.

There are two phases, as published: for 30 epochs before the usual 240, the paraphraser learns to
rebuild the teacher's last map; this length is stored as a fraction so that it carries over to other
recipes. The paraphraser is then frozen, and the student's translator learns with the student. As in
RepDistiller, the translator has BatchNorm but the paraphraser does not.

Settings: public code of others (RepDistiller), for CIFAR-100.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    Shapes,
    Terms,
    Uniform,
)
from methods._adapters import pooled_alike, single_position


def factor_map(features: Tensor, p: int = 2) -> Tensor:
    """Compute the mean over channels of f^p at unit length: [N, C, H, W] -> [N, H * W]."""
    return F.normalize(features.pow(p).mean(dim=1).flatten(1), dim=1)


def factor_loss(student: Tensor, teacher: Tensor, p1: int = 2, p2: int = 1) -> Tensor:
    """Compare the maps of two factors.

    Args:
        student: Factor [N, C, H, W].
        teacher: Factor [N, C', H', W']; no gradient reaches it.
        p1: Exponent of the features.
        p2: Exponent of the difference.

    Returns:
        Scalar: absolute difference to the power p2, mean over samples and positions.
    """
    student, teacher = pooled_alike(student, teacher.detach())
    difference = factor_map(student, p1) - factor_map(teacher, p1)
    return (difference.abs() if p2 == 1 else difference.pow(p2)).mean()


def whole_factor_loss(student: Tensor, teacher: Tensor, p: int = 1) -> Tensor:
    """Compare two whole factors at unit length.

    Args:
        student: Factor [N, C, H, W].
        teacher: Factor [N, C, H, W]; no gradient reaches it.
        p: Order of the norm of the difference.

    Returns:
        Scalar: for p = 1 the mean absolute difference over all elements, otherwise (torchdistill)
        the p-norm of the difference, mean over samples.
    """
    own = F.normalize(student.flatten(1), dim=1)
    others = F.normalize(teacher.detach().flatten(1), dim=1)
    difference = own - others

    if p == 1:
        return difference.abs().mean()
    length: Tensor = torch.linalg.vector_norm(difference, p, dim=1)
    return length.mean()


class Paraphraser(nn.Module):
    """An autoencoder of maps; the code of a map is the factor.

    Args:
        channels: Channels of the map.
        factors: Channels of the factor.
        norm: Whether BatchNorm follows each convolution.
    """

    def __init__(self, channels: int, factors: int, norm: bool = False):
        super().__init__()
        self.encoder = _layers(nn.Conv2d, (channels, channels, factors, factors), norm)
        self.decoder = _layers(nn.ConvTranspose2d, (factors, factors, channels, channels), norm)

    def forward(self, features: Tensor) -> Tensor:
        """Rebuild a map [N, C, H, W] from its factor."""
        return self.decoder(self.encoder(features))  # type: ignore[no-any-return]


class FactorTransfer(Method):
    """Let the student's translated map imitate the factor of the teacher's map.

    Args:
        weight: Weight of the term.
        rate: Channels of the factor, as a share of the channels of the teacher's map.
        pre_training: Length of the stage before the training, as a share of the recipe's epochs.
    """

    paper = Paper(
        "Paraphrasing Complex Network: Network Compression via Factor Transfer",
        "Kim et al.",
        "NeurIPS",
        2018,
        "arXiv:1802.04977",
    )
    formula = "mean |F_student - F_teacher|, F = mean_c factor^2 scaled to unit length"
    needs = Needs(maps=True)

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(20.0, 2000.0)] = 200.0,
        rate: Annotated[float, Bound(0, 1, open_low=True), Uniform(0.25, 1.0)] = 0.5,
        pre_training: Annotated[float, Bound(0, 1)] = 1 / 8,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.rate = rate
        self.pre_training = pre_training
        self.ce = ce

        self.paraphraser: Paraphraser | nn.Identity = nn.Identity()
        self.translator: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Require a last map with more than one position in both networks."""
        if reason := super().supports(probe):
            return reason

        student = Shapes(probe.student.logits, maps=probe.student.maps[-1:])
        teacher = Shapes(probe.teacher.logits, maps=probe.teacher.maps[-1:])
        return single_position(Probe(student, teacher, probe.samples, probe.batch_size))

    def build(self, probe: Probe) -> None:
        """Make the paraphraser for the teacher's last map and the translator for the student's."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        factors = max(int(target * self.rate), 1)
        self.paraphraser = Paraphraser(target, factors)
        self.translator = _layers(nn.Conv2d, (source, source, factors, factors), norm=True)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `ft`. The paraphraser is frozen."""
        with torch.no_grad():
            factor = self._paraphraser.encoder(teacher.maps[-1])
        return {"ft": (self.weight, factor_loss(self.translator(student.maps[-1]), factor))}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `paraphraser`: the error of the rebuilt map. The student is idle."""
        features = teacher.maps[-1].detach()
        return {"paraphraser": (1.0, F.mse_loss(self._paraphraser(features), features))}

    @property
    def _paraphraser(self) -> Paraphraser:
        assert isinstance(self.paraphraser, Paraphraser)
        return self.paraphraser


def _layers(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], channels: tuple[int, ...], norm: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source, target in pairwise(channels):
        layers.append(kind(source, target, 3, padding=1))
        if norm:
            layers.append(nn.BatchNorm2d(target))
        layers.append(nn.LeakyReLU(0.1))

    return nn.Sequential(*layers)
