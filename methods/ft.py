"""Factor transfer. Kim, Park & Kwak, NeurIPS 2018, arXiv:1802.04977, section 3.

Reduction: mean over samples and positions of the absolute difference of two factors, as in RepDistiller, whose weight
this is. Two losses go by this name. RepDistiller reduces a factor to an attention map first (mean of squares over
channels, unit length over positions); the paper, torchdistill and Knowledge-Distillation-Zoo compare the whole factors
at unit length, up to 2.6 times smaller: `whole_factor_loss`. torchdistill's weight for that is 1000.

In two stages, as published: the paraphraser learns to rebuild the teacher's last map in 30 epochs before the 240, kept
as a share so that it carries over to recipes of other lengths, and is frozen then; the student's translator learns
with the student. As in RepDistiller the paraphraser has no BatchNorm and the translator has.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._adapters import pooled_alike, single_position
from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Shapes, Terms
from methods._settings import Bound, LogUniform, NonNegative, Uniform


def factor_map(features: Tensor, p: int = 2) -> Tensor:
    """Mean over channels of f^p, scaled to unit length.  [N, C, H, W] -> [N, H*W]."""
    return F.normalize(features.pow(p).mean(dim=1).flatten(1), dim=1)


def factor_loss(student: Tensor, teacher: Tensor, p1: int = 2, p2: int = 1) -> Tensor:
    """Absolute difference (to the power p2) of two factors' maps, mean over samples and positions.

    student: [N, C, H, W], teacher: [N, C', H', W'], the factors -> scalar. No gradient reaches the teacher.
    """
    student, teacher = pooled_alike(student, teacher.detach())
    difference = factor_map(student, p1) - factor_map(teacher, p1)
    return (difference.abs() if p2 == 1 else difference.pow(p2)).mean()


def whole_factor_loss(student: Tensor, teacher: Tensor, p: int = 1) -> Tensor:
    """Absolute difference of two whole factors of unit length, mean over all elements.

    student, teacher: [N, C, H, W], the factors -> scalar. With p other than 1 (torchdistill) it is the p-norm of the
    difference, mean over samples. No gradient reaches the teacher.
    """
    difference = F.normalize(student.flatten(1), dim=1) - F.normalize(
        teacher.detach().flatten(1), dim=1
    )
    return (
        difference.abs().mean() if p == 1 else torch.linalg.vector_norm(difference, p, dim=1).mean()
    )


class Paraphraser(nn.Module):
    """An autoencoder of a map whose code, the factor, has `factors` channels."""

    def __init__(self, channels: int, factors: int, norm: bool = False):
        super().__init__()
        self.encoder = _layers(nn.Conv2d, (channels, channels, factors, factors), norm)
        self.decoder = _layers(nn.ConvTranspose2d, (factors, factors, channels, channels), norm)

    def forward(self, features: Tensor) -> Tensor:
        """The map as its factor rebuilds it.  [N, C, H, W] -> [N, C, H, W]."""
        return self.decoder(self.encoder(features))  # type: ignore[no-any-return]


class FactorTransfer(Method):
    """The student's translated map imitates the factor that a paraphraser draws from the teacher's."""

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
        self.weight, self.rate, self.pre_training, self.ce = weight, rate, pre_training, ce
        self.paraphraser: Paraphraser | nn.Identity = nn.Identity()
        self.translator: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Needs a last map with more than one position."""
        if reason := super().supports(probe):
            return reason
        student, teacher = (
            Shapes(shapes.logits, maps=shapes.maps[-1:])
            for shapes in (probe.student, probe.teacher)
        )
        return single_position(Probe(student, teacher, probe.samples, probe.batch_size))

    def build(self, probe: Probe) -> None:
        """Makes the paraphraser for the teacher's last map and the translator for the student's."""
        source, target = probe.student.maps[-1][0], probe.teacher.maps[-1][0]
        factors = max(int(target * self.rate), 1)
        self.paraphraser = Paraphraser(target, factors)
        self.translator = _layers(nn.Conv2d, (source, source, factors, factors), norm=True)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `ft`. The paraphraser is frozen."""
        with torch.no_grad():
            factor = self._paraphraser.encoder(teacher.maps[-1])
        return {"ft": (self.weight, factor_loss(self.translator(student.maps[-1]), factor))}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `paraphraser`: how far the rebuilt map is from the teacher's. The student does not learn."""
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
        layers += [
            kind(source, target, 3, padding=1),
            *([nn.BatchNorm2d(target)] if norm else []),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*layers)
