"""The ways to train students that `tests/speed/compare.py` compares."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmark.data import Data
from benchmark.models import create
from benchmark.plugins import Arrays
from benchmark.plugins.kinds import DATA_SOURCES
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Augmentation, Network, Recipe, Split, make_dataset
from benchmark.training import engines
from benchmark.training.conditions import Conditions, Task
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.member import Member
from benchmark.training.precision import float32_products, slowdown
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from benchmark.training.teacher_outputs import TeacherOutputs
from benchmark.training.writing import Writer
from tests.speed.plain import BATCH, CLASSES, PADDING, SIZE, PlainLoop

IMAGES = 50_000
COUNTS = (1, 4, 13)

PAIRS = {
    "56-20": ("cifar_resnet56", "cifar_resnet20"),
    "32x4-8x4": ("cifar_resnet32x4", "cifar_resnet8x4"),
}

MIXED = ("kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "fsp", "nst", "crd")
"""The thirteen methods of RepDistiller's table."""

PLAIN, COHORT = "plain loops", "cohort"


@dataclass(frozen=True)
class Way:
    """A way to train a cohort.

    Attributes:
        name: Its name.
        measure: What to replace while the cohort is built, and in every step.
        precision: The recipe's precision.
        engine: How the device runs the steps.
    """

    name: str
    measure: Callable[[], AbstractContextManager[Any]] = nullcontext
    precision: str = "fp32"
    engine: EngineChoice = EngineChoice.AUTO


USUAL = Way(COHORT)

CONTIGUOUS = Way(
    "cohort without channels_last",
    partial(mock.patch.object, torch, "channels_last", torch.contiguous_format),
)


def ways(device: torch.device) -> list[Way]:
    """Return the ways to train a cohort that a device has."""
    chosen = [USUAL, CONTIGUOUS]
    if device.type == "cuda":
        chosen.append(Way("cohort without graphs", engine=EngineChoice.EAGER))
        chosen.append(Way("cohort in tf32", precision="tf32"))
    if device.type == "cuda" or slowdown("bf16") < 1:
        chosen.append(Way("cohort in bf16", precision="bf16"))
    return chosen


@dataclass(frozen=True)
class Contender:
    """One way to train students.

    Attributes:
        name: Its name.
        group: The students that it trains; contenders of a group train the same.
        begin: Starts it; every item is a step of all students that it trains.
    """

    name: str
    group: str
    begin: Callable[[], Iterator[Any]]


def random_images() -> tuple[Tensor, Tensor]:
    """Return images, uint8 [N, 3, 32, 32], and their labels, int64 [N]."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, *SIZE), dtype=torch.uint8, generator=draw)
    return images, torch.arange(IMAGES) % CLASSES


def open_data(images: Tensor, labels: Tensor, folder: Path, device: torch.device) -> Data:
    """Return a data set of these images, with a few of them as test images."""
    arrays = Arrays(images, labels, images[:CLASSES], labels[:CLASSES])
    DATA_SOURCES.add("random_images", lambda: arrays, open_data)
    return Data(make_dataset("random_images"), Split(val=0), device, folder, lambda _: None)


def plain(
    pair: str, method: str, images: Tensor, labels: Tensor, device: torch.device
) -> Iterator[None]:
    """Train a student alone."""
    return PlainLoop(*PAIRS[pair], method, images, labels, device).steps()


def cohort(
    pair: str, rows: Sequence[str], data: Data, way: Way = USUAL
) -> Iterator[Sequence[Member]]:
    """Train students in a cohort, as `benchmark.training.cohort` does within an epoch.

    Yields:
        The members, after each step.
    """
    large, small = PAIRS[pair]
    shape = (data.size, data.classes, data.mean, data.std)
    network = create.tapped(Network(model=large), large, *shape)
    augmentation = Augmentation(crop_padding=PADDING)
    recipe = Recipe.model_validate(
        {
            "epochs": 1,
            "batch_size": BATCH,
            "augmentation": augmentation,
            "precision": way.precision,
        }
    )
    teacher = Teacher(network.to(data.device), "")
    conditions = Conditions(data, recipe, 0, "last", teacher, engine=way.engine)

    with (
        tempfile.TemporaryDirectory() as folder,
        closing(engines.create(conditions, print)) as engine,
    ):
        members = [
            Member(task(Path(folder) / str(number), row, small), conditions, Progress(), Writer())
            for number, row in enumerate(rows)
        ]
        for member in members:
            member.state.enter(0)

        for step, loaded in enumerate(data.epoch(0, 0, recipe)):
            with float32_products(way.precision):
                engine.load(loaded)
                if any(member.taught for member in members):
                    engine.teach(TeacherOutputs(conditions), step)
                for member in members:
                    engine.step(member, step)
            yield members


def task(folder: Path, row: str, student: str) -> Task:
    """Return the cell of a method."""
    return Task(CellFolder(folder), row, {"row": row}, Network(model=student), row, {})


def contenders(pair: str, data: Data, images: Tensor, labels: Tensor) -> list[Contender]:
    """Return all contenders of a pair."""
    chosen = []
    for count in COUNTS:
        rows = ["kd"] * count
        for way in ways(data.device):
            begin = partial(within, way.measure, partial(cohort, pair, rows, data, way))
            chosen.append(Contender(way.name, f"{count} kd", begin))

    for method in MIXED:
        begin = partial(plain, pair, method, images, labels, data.device)
        chosen.append(Contender(PLAIN, method, begin))
    chosen.append(Contender(COHORT, "mixed", partial(cohort, pair, MIXED, data)))
    return chosen


def within(
    measure: Callable[[], AbstractContextManager[Any]], begin: Callable[[], Iterator[Any]]
) -> Iterator[None]:
    """Run every step of a contender in a context."""
    with measure():
        steps = begin()
    while True:
        with measure():
            next(steps)
        yield
