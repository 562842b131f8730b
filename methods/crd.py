"""Contrastive representation distillation. Tian, Krishnan & Isola, ICLR 2020, arXiv:1910.10699.

Reduction: noise-contrastive loss (section 3.1), summed over each sample's positive and K negatives,
averaged over the batch, and summed over both sides: student embeddings against the bank of teacher
embeddings, and the reverse. As in RepDistiller, the authors' code, the noise probability is
1 / samples; 1e-7 is added to the denominators; each normaliser is the number of samples times the
mean exponentiated score of the first batch, and stays fixed from then on; the banks are initialised
uniformly, not at unit length; and rows are updated after use. Another implementation uses a
temperature of 0.1. The loss is computed in log space, so it stays finite where scores would
overflow.

Negatives come from other classes ("exact"), according to the training set's labels before any
mixing; if labels are unknown, each sample is its own class. They are drawn without replacement, or
with replacement for all samples if any class leaves fewer than K negatives. All scores come from
one product with the whole bank, from which K + 1 are gathered: this gives the same numbers as
gathering rows of the bank and is about 15 times as fast. With replacement, nothing is gathered, but
each score counts as often as it was drawn, because a GPU adds up the gradient of a repeated element
in no fixed order. The weight was published for batches of 64.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
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
    Positive,
    Probe,
    Terms,
)
from methods._features import embeddings, unit_rows


def nce_loss(scores: Tensor, log_z: Tensor, noise: float, times: Tensor | None = None) -> Tensor:
    """Compute the noise-contrastive loss of one side.

    Args:
        scores: Inner products divided by the temperature, [N, 1 + M], the positive first.
        log_z: Logarithm of the normaliser, a scalar.
        noise: How often a sample is expected among the K negatives, which are drawn uniformly:
            K / samples.
        times: How often each score counts, [N, 1 + M]; once if not given.

    Returns:
        Scalar, the mean over the batch.
    """
    log_p = scores - log_z
    log_all = torch.logaddexp(log_p, log_p.new_full((), math.log(noise + 1e-7)))

    positive = log_p[:, 0] - log_all[:, 0]
    negatives = math.log(noise) - log_all[:, 1:]
    if times is not None:
        negatives = negatives * times[:, 1:]
    return -(positive.sum() + negatives.sum()) / len(scores)


def crd_loss(
    student: Tensor,
    teacher: Tensor,
    student_bank: Tensor,
    teacher_bank: Tensor,
    chosen: Tensor,
    log_z: Tensor | None = None,
    temperature: float = 0.07,
    repeated: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the contrastive losses of both sides.

    Args:
        student: Embeddings of unit length, [N, D].
        teacher: Embeddings of unit length, [N, D]; they receive a gradient, because their
            projection is trained.
        student_bank: Memory of the student's embeddings, [samples, D], without a gradient.
        teacher_bank: Memory of the teacher's embeddings, [samples, D], without a gradient.
        chosen: Row indices into the banks, int64 [N, 1 + K], the sample's own row first.
        log_z: Logarithms of both normalisers, [2]; None or -inf on the first batch.
        temperature: Divisor of the inner products.
        repeated: Whether a row may be chosen several times as a negative of a sample.

    Returns:
        The loss of the student's side, the loss of the teacher's side, and the logarithms of both
        normalisers, [2].
    """
    samples = len(student_bank)
    noise = (chosen.shape[1] - 1) / samples
    pick = _all_rows if repeated else _chosen_rows
    sides = ((student, teacher_bank), (teacher, student_bank))
    scores = [pick(own, bank.detach(), chosen) / temperature for own, bank in sides]
    times = _times(chosen, scores[0]) if repeated else None

    totals = torch.stack([_log_total(score.detach(), times) for score in scores])
    fresh = totals + math.log(samples / chosen.numel())
    log_z = fresh if log_z is None else torch.where(log_z.isneginf(), fresh, log_z)
    losses = [nce_loss(*pair, noise, times) for pair in zip(scores, log_z, strict=True)]
    return losses[0], losses[1], log_z


def _chosen_rows(embedded: Tensor, bank: Tensor, chosen: Tensor) -> Tensor:
    """Return the inner products with the chosen rows of a bank, [N, 1 + K]."""
    return (embedded @ bank.T).gather(1, chosen)


def _all_rows(embedded: Tensor, bank: Tensor, chosen: Tensor) -> Tensor:
    """Return the inner products with each sample's own row and with all rows, [N, 1 + samples]."""
    positive = (embedded * bank[chosen[:, 0]]).sum(dim=1, keepdim=True)
    return torch.cat([positive, embedded @ bank.T], dim=1)


def _times(chosen: Tensor, like: Tensor) -> Tensor:
    """Count how often each of the scores of `_all_rows` was chosen, in their type."""
    negatives = chosen[:, 1:] + 1
    counts = torch.zeros_like(like, dtype=torch.int32)
    counts.scatter_add_(1, negatives, torch.ones_like(negatives, dtype=torch.int32))
    counts[:, 0] = 1
    return counts.to(like.dtype)


def _log_total(scores: Tensor, times: Tensor | None) -> Tensor:
    """Return the logarithm of the sum of exponentiated scores, a scalar."""
    weighted = scores if times is None else scores + times.log()
    return weighted.flatten().logsumexp(0)


def moved(rows: Tensor, embedded: Tensor, momentum: float = 0.5) -> Tensor:
    """Return updated bank rows for samples that were just seen.

    Args:
        rows: Rows of the bank, [N, D].
        embedded: Embeddings of their samples, [N, D].
        momentum: Fraction of the old row to keep.

    Returns:
        The new rows, of unit length, [N, D], without a gradient.
    """
    return unit_rows(momentum * rows.detach() + (1 - momentum) * embedded.detach())


class ContrastiveRepresentationDistillation(Method):
    """Contrast both networks' embeddings of an image with the embeddings of other classes.

    Args:
        weight: Weight of the term.
        negatives: Number of negatives, K.
        temperature: Divisor of the inner products.
        momentum: Fraction of the old row to keep when a bank is updated.
        dim: Output dimension of both projections.
    """

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
        self.weight = weight
        self.negatives = negatives
        self.temperature = temperature
        self.momentum = momentum
        self.dim = dim
        self.ce = ce

        self.replaced = False
        self.student_projection: nn.Module = nn.Identity()
        self.teacher_projection: nn.Module = nn.Identity()

    def supports(self, probe: Probe) -> str | None:
        """Require a training set of known size, with at least two classes."""
        reason = super().supports(probe)
        if reason is None and probe.samples < 1:
            reason = "the size of the training set is unknown, and its memory banks need it"
        if reason is None and len(_classes(probe).unique()) < 2:
            reason = "all training samples belong to one class, so there are no negatives"
        return reason

    def build(self, probe: Probe) -> None:
        """Create the projections, the banks, and the class index used to draw negatives."""
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
        """Return one term, `crd`, the sum of both sides, and update this batch's bank rows."""
        features, targets = embeddings(student, teacher)
        own = unit_rows(self.student_projection(features))
        others = unit_rows(self.teacher_projection(targets))
        chosen = torch.cat([batch.index[:, None], self._negatives(batch.index)], dim=1)

        # The backward pass needs the banks as they were before the update below.
        banks = (self.student_bank.clone(), self.teacher_bank.clone())
        own_loss, other_loss, log_z = crd_loss(
            own, others, *banks, chosen, self.log_z, self.temperature, self.replaced
        )

        with torch.no_grad():
            self.log_z.copy_(log_z)
            for bank, embedded in ((self.student_bank, own), (self.teacher_bank, others)):
                rows = moved(bank[batch.index], embedded, self.momentum)
                bank.index_copy_(0, batch.index, rows)
        return {"crd": (self.weight, own_loss + other_loss)}

    def _negatives(self, index: Tensor) -> Tensor:
        """Draw K samples of other classes for each sample, int64 [N, K]."""
        samples = len(self.classes)
        own = self.classes[index][:, None]
        if not self.replaced:
            lots = torch.rand(len(index), samples, device=index.device)
            lots.masked_fill_(own == self.classes, -1.0)
            return lots.topk(self.negatives, sorted=False).indices

        # Positions among all samples of other classes, sorted by class.
        others = samples - self.counts[own]
        lots = torch.rand(len(index), self.negatives, device=index.device)
        positions = torch.minimum((lots * others).long(), others - 1)
        return self.order[positions + self.counts[own] * (positions >= self.starts[own])]


def _classes(probe: Probe) -> Tensor:
    return torch.arange(probe.samples) if probe.labels is None else probe.labels
