"""Contrastive representation distillation. Tian, Krishnan & Isola, ICLR 2020, arXiv:1910.10699, section 3.1.

Reduction: noise-contrastive loss summed over a sample's positive and its K negatives, mean over the batch, summed over
two sides: the student's embedding against the bank of the teacher's, and the reverse. As in RepDistiller, the authors'
code: the noise probability is 1 / samples, 1e-7 is added in the denominators, the normalisers are the mean score of the
first batch times the samples and then stay, the banks start uniform and not of unit length, and rows change after use.
Another implementation has a temperature of 0.1. In log space, so that it is finite where scores overflow.

Negatives come from other classes ("exact"), by the labels of the training set and not those after mixing; where these
are unknown, each sample is a class of its own. They are drawn without replacement, or with it for all samples where a
class has fewer than K. All scores come from one product with the whole bank, of which K + 1 are picked: the same
numbers as from picked rows, about 15 times as fast. The weight was published for batches of 64.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from methods._contract import Batch, Method, Needs, Output, Paper, Probe, Terms
from methods._features import embeddings, unit_rows
from methods._settings import Bound, LogUniform, NonNegative, Positive


def nce_loss(scores: Tensor, log_z: Tensor, samples: int) -> Tensor:
    """Noise-contrastive loss of one side, mean over the batch.

    scores: [N, 1 + K], inner products divided by the temperature, the positive's first. log_z: log of the normaliser,
    a scalar. samples: in the training set, of which noise is drawn evenly. -> scalar
    """
    noise = (scores.shape[1] - 1) / samples
    log_p = scores - log_z
    log_all = torch.logaddexp(log_p, log_p.new_full((), math.log(noise + 1e-7)))
    found = (log_p - log_all)[:, 0].sum() + (math.log(noise) - log_all[:, 1:]).sum()
    return -found / len(scores)


def crd_loss(
    student: Tensor,
    teacher: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    chosen: Tensor,
    log_z: Tensor | None = None,
    temperature: float = 0.07,
) -> tuple[Tensor, Tensor, Tensor]:
    """The losses of the student's side and of the teacher's, two scalars, and the logs of their normalisers, [2].

    student, teacher: embeddings of unit length [N, D]; a gradient reaches both, as both projections learn. banks:
    [samples, D], constants. chosen: int64 [N, 1 + K], rows of the banks, the sample's own first. log_z: [2], of the
    first batch; None or -inf where this is the first.
    """
    samples = len(student_bank)
    sides = ((student, teacher_bank), (teacher, student_bank))
    scores = [(own @ bank.detach().T).gather(1, chosen) / temperature for own, bank in sides]
    fresh = torch.stack([one.detach().flatten().logsumexp(0) for one in scores]) + math.log(
        samples / chosen.numel()
    )
    log_z = fresh if log_z is None else torch.where(log_z.isneginf(), fresh, log_z)
    return nce_loss(scores[0], log_z[0], samples), nce_loss(scores[1], log_z[1], samples), log_z


def moved(rows: Tensor, embedded: Tensor, momentum: float = 0.5) -> Tensor:
    """Rows of a bank after their samples were seen again, of unit length.  [N, D] each -> [N, D], no gradient."""
    return unit_rows(momentum * rows.detach() + (1 - momentum) * embedded.detach())


class ContrastiveRepresentationDistillation(Method):
    """Both networks' embeddings of an image find each other among those of other classes."""

    paper = Paper(
        "Contrastive Representation Distillation", "Tian et al.", "ICLR", 2020, "arXiv:1910.10699"
    )
    formula = "NCE of student embeddings against a memory of teacher embeddings, and the reverse"
    needs = Needs(embedding=True)
    small: ClassVar[dict[str, Any]] = {"negatives": 16, "dim": 8}
    assumes_batch = 64

    student_bank: Tensor
    teacher_bank: Tensor
    log_z: Tensor
    classes: Tensor
    order: Tensor
    starts: Tensor
    counts: Tensor

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.08, 8.0)] = 0.8,
        negatives: Annotated[int, Bound(low=1)] = 16384,
        temperature: Annotated[float, Positive, LogUniform(0.02, 0.5)] = 0.07,
        momentum: Annotated[float, Bound(0.0, 1.0)] = 0.5,
        dim: Annotated[int, Bound(low=1)] = 128,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.negatives, self.temperature, self.ce = weight, negatives, temperature, ce
        self.momentum, self.dim, self.replaced = momentum, dim, False
        self.student_projection: nn.Module = nn.Identity()
        self.teacher_projection: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Needs two classes at least."""
        reason = super().supports(probe)
        if reason is None and len(_classes(probe).unique()) < 2:
            reason = "all training samples are of one class, so there are no negatives"
        return reason

    def build(self, probe: Probe) -> None:
        """Makes the projections, the banks, and the lists of negatives."""
        self.student_projection = nn.Linear(probe.student.embedding[0], self.dim)
        self.teacher_projection = nn.Linear(probe.teacher.embedding[0], self.dim)
        reach = (self.dim / 3) ** -0.5
        for name in ("student_bank", "teacher_bank"):
            self.register_buffer(name, torch.empty(probe.samples, self.dim).uniform_(-reach, reach))
        self.register_buffer("log_z", torch.full((2,), -math.inf))  # until the first batch
        _, classes, counts = _classes(probe).unique(return_inverse=True, return_counts=True)
        self.replaced = self.negatives > probe.samples - int(counts.max())
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("starts", counts.cumsum(0) - counts, persistent=False)
        self.register_buffer("order", classes.argsort(stable=True), persistent=False)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `crd`: both sides. The banks' rows of this batch move afterwards."""
        features, targets = embeddings(student, teacher)
        own, others = (
            unit_rows(self.student_projection(features)),
            unit_rows(self.teacher_projection(targets)),
        )
        chosen = torch.cat([batch.index[:, None], self._negatives(batch.index)], dim=1)
        banks = (
            self.student_bank.clone(),
            self.teacher_bank.clone(),
        )  # as they are now, for the backward pass
        one, other, log_z = crd_loss(own, others, *banks, chosen, self.log_z, self.temperature)
        with torch.no_grad():
            self.log_z.copy_(log_z)
            for bank, seen in ((self.student_bank, own), (self.teacher_bank, others)):
                bank.index_copy_(0, batch.index, moved(bank[batch.index], seen, self.momentum))
        return {"crd": (self.weight, one + other)}

    def _negatives(self, index: Tensor) -> Tensor:
        """Samples of other classes for each sample, int64 [N, K]."""
        samples, own = len(self.classes), self.classes[index][:, None]
        if not self.replaced:
            lots = torch.rand(len(index), samples, device=index.device)
            return (
                lots.masked_fill_(own == self.classes, -1.0)
                .topk(self.negatives, sorted=False)
                .indices
            )
        others, lots = (
            samples - self.counts[own],
            torch.rand(len(index), self.negatives, device=index.device),
        )
        places = torch.minimum(
            (lots * others).long(), others - 1
        )  # among all others, in the order of classes
        return self.order[places + self.counts[own] * (places >= self.starts[own])]


def _classes(probe: Probe) -> Tensor:
    return torch.arange(probe.samples) if probe.labels is None else probe.labels
