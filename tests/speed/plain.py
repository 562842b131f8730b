"""A student's training as repositories of the field write it: one student in one process.

A `DataLoader` whose workers augment with PIL, a loop in eager mode, and meters that read every
loss. As in RepDistiller, the teacher runs in every step, whether a method uses it or not. The
losses are kdbench's own, except those of CRD and NST, which are much cheaper in kdbench than in
the usual form: here, CRD gathers every negative from the memory banks, with negatives that the
loader draws, and NST multiplies every pair of channels by broadcasting.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import methods
from benchmark.models import create
from benchmark.study.schema import Network
from methods import Batch, Output, Probe, Tapped, paired, tap
from methods.nst import NeuronSelectivityTransfer

CLASSES = 100
BATCH = 64
PADDING = 4
WORKERS = 2
SIZE = (3, 32, 32)
MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)

CPU = torch.device("cpu")

Item = tuple[Tensor, int, int, Tensor]


class Pictures(Dataset[Item]):
    """Images that are augmented one by one.

    Args:
        images: The images, uint8 [N, 3, H, W].
        labels: Their labels, [N].
        negatives: Number of images of other classes to draw with each image.
    """

    def __init__(self, images: Tensor, labels: Tensor, negatives: int = 0):
        self.images = images.permute(0, 2, 3, 1).numpy()
        self.labels = labels.tolist()
        self.negatives = negatives
        self.others = []
        if negatives:
            self.others = [(labels != own).nonzero().flatten().numpy() for own in range(CLASSES)]
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE[1], PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        label = self.labels[index]
        rows = np.array([index])
        if self.negatives:
            drawn = np.random.choice(self.others[label], self.negatives, replace=False)
            rows = np.concatenate([rows, drawn])
        picture = self.transform(Image.fromarray(self.images[index]))
        return picture, label, index, torch.from_numpy(rows)


class GatheredContrast(nn.Module):
    """CRD with a gather of every negative's embedding.

    Args:
        student: Length of the student's embedding.
        teacher: Length of the teacher's embedding.
        samples: Size of the training set.
    """

    weight, negatives, temperature, momentum, width = 0.8, 16384, 0.07, 0.5, 128

    def __init__(self, student: int, teacher: int, samples: int):
        super().__init__()
        self.samples = samples
        self.projections = nn.ModuleList(nn.Linear(d, self.width) for d in (student, teacher))
        for name in ("student_bank", "teacher_bank"):
            self.register_buffer(name, F.normalize(torch.randn(samples, self.width), dim=1))
        self.constants = [-1.0, -1.0]

    def forward(self, student: Output, teacher: Output, rows: Tensor) -> Tensor:
        """Return the weighted loss of a batch, whose rows and negatives are [N, 1 + K]."""
        outputs = (student.embedding, teacher.embedding)
        embedded = [
            F.normalize(projection(output), dim=1)
            for projection, output in zip(self.projections, outputs, strict=True)
        ]
        banks: list[Any] = [self.student_bank, self.teacher_bank]
        loss = student.logits.new_zeros(())
        for side in (0, 1):
            chosen = banks[1 - side].index_select(0, rows.flatten())
            chosen = chosen.view(len(rows), -1, self.width)
            scores = torch.bmm(chosen, embedded[side][:, :, None])[:, :, 0]
            scores = torch.exp(scores / self.temperature)
            if self.constants[side] < 0:
                self.constants[side] = (scores.mean() * self.samples).item()
            loss = loss + self._side(scores / self.constants[side])

        with torch.no_grad():
            for bank, new in zip(banks, embedded, strict=True):
                kept = bank.index_select(0, rows[:, 0]) * self.momentum
                bank.index_copy_(0, rows[:, 0], F.normalize(kept + new * (1 - self.momentum)))
        return self.weight * loss

    def _side(self, scores: Tensor) -> Tensor:
        noise = self.negatives / self.samples
        positive = (scores[:, 0] / (scores[:, 0] + noise + 1e-7)).log().sum()
        others = (noise / (scores[:, 1:] + noise + 1e-7)).log().sum()
        return -(positive + others) / len(scores)


def broadcast_nst(student: Output, teacher: Output) -> Tensor:
    """Return NST's weighted loss, with every product of two channels' positions in memory."""

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return (first[:, None] * second[:, :, None]).sum(-1).pow(2).mean()

    loss = student.logits.new_zeros(())
    for own, other in zip(student.maps, teacher.maps, strict=True):
        first = F.normalize(own.flatten(2), dim=2)
        second = F.normalize(other.flatten(2), dim=2)
        loss = loss + kernel(second, second) + kernel(first, first) - 2 * kernel(second, first)
    return 50.0 * loss


class Meter:
    """A running average, as repositories keep one of every value they print."""

    def __init__(self) -> None:
        self.total = 0.0
        self.count = 0

    def update(self, value: float, count: int) -> None:
        """Add the mean of some samples."""
        self.total += value * count
        self.count += count


class PlainLoop:
    """Trains a student alone.

    Args:
        teacher: Name of the teacher's architecture.
        student: Name of the student's architecture.
        method: Name of the method.
        images: Training images, uint8 [N, 3, 32, 32].
        labels: Their labels, int64 [N].
        device: Where to train.
    """

    def __init__(
        self,
        teacher: str,
        student: str,
        method: str,
        images: Tensor,
        labels: Tensor,
        device: torch.device = CPU,
    ):
        self.device = device
        self.student, self.teacher = network(student), network(teacher)
        self.teacher.eval()
        self.method = methods.create(method)
        self.needs = self.method.tapped()
        example = torch.rand(BATCH, *SIZE)
        probe = Probe.of(self.student, self.teacher, example, labels=labels)
        self.own: GatheredContrast | methods.Method = self.method.build(probe)
        if method == "crd":
            self.own = GatheredContrast(
                probe.student.embedding[0], probe.teacher.embedding[0], len(labels)
            )
        for module in (self.student, self.teacher, self.own):
            module.to(device)

        learning = [*self.student.parameters(), *self.own.parameters()]
        self.optimizer = torch.optim.SGD(learning, 0.05, momentum=0.9, weight_decay=5e-4)
        negatives = GatheredContrast.negatives if method == "crd" else 0
        self.pictures = Pictures(images, labels, negatives)
        self.meters = {name: Meter() for name in ("loss", "top1", "top5")}

    def steps(self) -> Iterator[None]:
        """Train on batches without end; each step ends when its loss has been read."""
        self.student.train()
        loader = DataLoader(self.pictures, BATCH, shuffle=True, drop_last=True, num_workers=WORKERS)
        while True:
            for images, labels, index, rows in loader:
                moved = [value.to(self.device) for value in (images, labels, index, rows)]
                self._step(moved[0], Batch(moved[1], moved[2]), moved[3])
                yield

    def _step(self, images: Tensor, batch: Batch, rows: Tensor) -> None:
        student = self.student(images, self.needs)
        with torch.no_grad():
            teacher = self.teacher(images, self.needs)
        student, teacher = paired(student, teacher)
        loss = F.cross_entropy(student.logits, batch.labels)
        loss = loss + self._distillation(student, teacher, batch, rows)

        for name, top in (("top1", 1), ("top5", 5)):
            share = _hits(student.logits, batch.labels, top)
            self.meters[name].update(share.item(), len(images))
        self.meters["loss"].update(loss.item(), len(images))

        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def _distillation(self, student: Output, teacher: Output, batch: Batch, rows: Tensor) -> Tensor:
        if isinstance(self.own, GatheredContrast):
            return self.own(student, teacher, rows)
        if isinstance(self.method, NeuronSelectivityTransfer):
            return broadcast_nst(student, teacher)
        terms = self.own(student, teacher, batch)
        start = student.logits.new_zeros(())
        return sum((weight * value for weight, value in terms.values()), start=start)


def network(name: str) -> Tapped:
    """Return a network of the zoo for 32x32 images, as a repository would call it."""
    model = create.create(Network(model=name), name, SIZE, CLASSES)
    return tap(model, torch.rand(1, *SIZE))


def _hits(logits: Tensor, labels: Tensor, top: int) -> Tensor:
    """Return the share of images whose label has one of the highest logits."""
    order = logits.topk(top, dim=1).indices
    return (order == labels[:, None]).any(dim=1).float().mean()
