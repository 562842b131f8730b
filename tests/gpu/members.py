"""Members of cohorts that step by hand, on batches of noise, on whatever device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import methods
from benchmark.data import Loaded
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe
from benchmark.training import optimizers
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from benchmark.training.writing import Writer
from tests.support.networks import STUDENT, TEACHER
from tests.support.pretended import PretendedGpu, Record

SIZE, CLASSES, BATCH, SAMPLES = (3, 32, 32), 10, 16, 80

ALIKE = ("catkd", "fsp")
"""Methods that need as many channels in both networks."""

EPOCHS = 240
"""Length of the training, long enough for every warm-up and decay."""

LATE = (200,)
"""An epoch in which all warm-ups are over and all decays have begun."""

MANY = (1, 5, 19, 20, 100, 181, 239)
"""Epochs of all parts of the training."""


def conditions(device: torch.device, teacher: Network, **recipe: Any) -> Conditions:
    """Return conditions with a teacher that was never trained."""
    half = (0.5, 0.5, 0.5)
    data: Any = SimpleNamespace(
        device=device,
        size=SIZE,
        classes=CLASSES,
        mean=half,
        std=half,
        samples=SAMPLES,
        labels=(torch.arange(SAMPLES) % CLASSES).to(device),
        steps=lambda batch_size: SAMPLES // batch_size,
    )
    followed = Recipe.model_validate({"epochs": EPOCHS, "batch_size": BATCH, **recipe})
    untaught = Conditions(data, followed, 0, "last", None)
    network = untaught.build_network(teacher, "teacher", "teacher")
    return Conditions(data, followed, 0, "last", Teacher(network.to(device), ""))


def member(
    name: str,
    device: torch.device,
    folder: Path,
    settings: dict[str, Any] | None = None,
    **recipe: Any,
) -> Member:
    """Return a member at the start of its training.

    Args:
        name: Its row.
        device: Where it trains.
        folder: The folder of its cell.
        settings: Settings of the method; those that keep tests fast if there are none.
        recipe: Changes to the recipe.
    """
    if settings is None:
        settings = methods.get(name).small if name in methods.names() else {}
    student = Network(model=STUDENT)
    # Its maps are twice as large as the student's, so that methods must pool them.
    teacher = Network(model=STUDENT if name in ALIKE else TEACHER, image_size=2 * SIZE[1])
    task = Task(CellFolder(folder), name, {}, student, name, settings, teacher)
    return Member(task, conditions(device, teacher, **recipe), Progress(), Writer())


def batch(device: torch.device, number: int = 0) -> Loaded:
    """Return a batch of noise in two views."""
    draw = torch.Generator().manual_seed(number)

    def images() -> torch.Tensor:
        pixels = torch.rand(BATCH, *SIZE, generator=draw)
        return pixels.to(device, memory_format=torch.channels_last)

    labels = torch.randint(0, CLASSES, (BATCH,), generator=draw)
    index = torch.randperm(SAMPLES, generator=draw)[:BATCH]
    return Loaded(images(), labels.to(device), index.to(device), second=images())


def step(member: Member, loaded: Loaded, number: int) -> torch.Tensor:
    """Train a member on a batch, as its cohort would; return what is logged."""
    teacher = member.conditions.teacher
    assert teacher is not None
    return member.step(loaded, teacher.output(loaded) if member.taught else None, number)


@dataclass(frozen=True)
class Observed:
    """What a member did in a stage, after its first step.

    Attributes:
        steps: Records of two successive steps of one epoch.
        later: Records of a step in later epochs.
    """

    steps: tuple[Record, Record]
    later: tuple[Record, ...]

    @property
    def all(self) -> tuple[Record, ...]:
        """The records of all steps."""
        return (*self.steps, *self.later)

    @property
    def changes_by_epoch(self) -> bool:
        """Whether the numbers of a step depend on the epoch."""
        return any(record.script != self.steps[1].script for record in self.later)


def observe(gpu: PretendedGpu, member: Member, epochs: tuple[int, ...] = LATE) -> list[Observed]:
    """Let a member train a few steps in different epochs of each of its stages.

    Args:
        gpu: The pretended GPU, which the member is on.
        member: The member.
        epochs: The later epochs of the main training to look at.

    Returns:
        What it did in the early stage, if it has one, and in the main training.
    """
    early = member.length.early
    stages = [(-early, (-1,))] if early else []
    return [_observe_stage(gpu, member, *stage) for stage in (*stages, (0, epochs))]


def _observe_stage(
    gpu: PretendedGpu, member: Member, first: int, later: tuple[int, ...]
) -> Observed:
    device = member.conditions.data.device
    batches = [batch(device, number) for number in range(3)]
    member.state.enter(first)
    step(member, batches[0], 0)

    def recorded(epoch: int, number: int) -> Record:
        member.state.epoch = epoch
        with gpu.recording(script=True) as record:
            step(member, batches[number], number)
        return record

    with rate_set_apart(gpu):
        steps = recorded(first, 1), recorded(first, 2)
        return Observed(steps, tuple(recorded(epoch, 2) for epoch in later))


@contextmanager
def rate_set_apart(gpu: PretendedGpu) -> Iterator[None]:
    """Leave out of scripts how a step sets the learning rate, before its real work."""
    set_rate = optimizers.Optimizer.set_rate

    def unscripted(self: optimizers.Optimizer, rate: float) -> None:
        with gpu.unscripted():
            set_rate(self, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizers.Optimizer, "set_rate", unscripted)
        yield
