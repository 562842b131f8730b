"""Training speed: cohorts against the loops that repositories of the field are made of.

    OMP_NUM_THREADS=1 python -m tests.speed.compare [--pairs 56-20] [--rounds 3] [--steps 6]

For each pair: students that train alone, in plain loops (see `tests/speed/plain.py`); the same
students in a cohort; and cohorts without one of the engine's measures. All take turns in one
process, so that any other load on the machine slows all of them, and each ratio is of one round.
Times are the processor's in this process: waiting is not counted, nor is the work of the plain
loops' loaders. N equal students take N times as long alone as one. Images are random, 50,000 of
32x32 pixels, which is what CRD's memory needs; no epoch ends, so checkpoints are not part of the
times (see `tests/speed/recording.py`).

Writes a table and a picture to `results/speed/`.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmark.data import Data
from benchmark.execution.environment import environment
from benchmark.models import create
from benchmark.plugins import Arrays
from benchmark.plugins.kinds import DATA_SOURCES
from benchmark.records.checkpoints import CellFolder
from benchmark.report.figures.style import BLUE, DARK, GREY, panel_grid, styled
from benchmark.study.schema import Augmentation, Network, Recipe, Split, make_dataset
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from benchmark.training.writing import Writer
from tests.speed.plain import BATCH, CLASSES, PADDING, SIZE, PlainLoop

CPU = torch.device("cpu")
IMAGES = 50_000
COUNTS = (1, 4, 13)

PAIRS = {
    "56-20": ("cifar_resnet56", "cifar_resnet20"),
    "32x4-8x4": ("cifar_resnet32x4", "cifar_resnet8x4"),
}

MIXED = ("kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "fsp", "nst", "crd")
"""The thirteen methods of RepDistiller's table."""

PLAIN, COHORT = "plain loops", "cohort"

WITHOUT: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "cohort without channels_last": partial(
        mock.patch.object, torch, "channels_last", torch.contiguous_format
    ),
}
"""The cohort without one measure: what to replace while it is built, and in every step."""


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
    begin: Callable[[], Iterator[None]]


def random_images() -> tuple[Tensor, Tensor]:
    """Return images, uint8 [N, 3, 32, 32], and their labels, int64 [N]."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, *SIZE), dtype=torch.uint8, generator=draw)
    return images, torch.arange(IMAGES) % CLASSES


def open_data(images: Tensor, labels: Tensor, folder: Path) -> Data:
    """Return a data set of these images, with a few of them as test images."""
    arrays = Arrays(images, labels, images[:CLASSES], labels[:CLASSES])
    DATA_SOURCES.add("random_images", lambda: arrays, open_data)
    return Data(make_dataset("random_images"), Split(val=0), CPU, folder, lambda _: None)


def plain(pair: str, method: str, images: Tensor, labels: Tensor) -> Iterator[None]:
    """Train a student alone."""
    return PlainLoop(*PAIRS[pair], method, images, labels).steps()


def cohort(pair: str, rows: Sequence[str], data: Data) -> Iterator[None]:
    """Train students in a cohort, as `benchmark.training.cohort` does within an epoch."""
    large, small = PAIRS[pair]
    shape = (data.size, data.classes, data.mean, data.std)
    network = create.tapped(Network(model=large), large, *shape)
    recipe = Recipe(epochs=1, batch_size=BATCH, augmentation=Augmentation(crop_padding=PADDING))
    teacher = Teacher(network, "")
    conditions = Conditions(data, recipe, 0, "last", teacher)

    with tempfile.TemporaryDirectory() as folder:
        members = [
            Member(task(Path(folder) / str(number), row, small), conditions, Progress(), Writer())
            for number, row in enumerate(rows)
        ]
        for member in members:
            member.state.enter(0)

        for step, loaded in enumerate(data.epoch(0, 0, recipe)):
            output = None
            if any(member.taught for member in members):
                output = teacher.output(loaded)
            for member in members:
                member.step(loaded, output, step)
            yield


def task(folder: Path, row: str, student: str) -> Task:
    """Return the cell of a method."""
    return Task(CellFolder(folder), row, {"row": row}, Network(model=student), row, {})


def contenders(pair: str, data: Data, images: Tensor, labels: Tensor) -> list[Contender]:
    """Return all contenders of a pair."""
    chosen = []
    for count in COUNTS:
        rows = ["kd"] * count
        for name, measure in {COHORT: nullcontext, **WITHOUT}.items():
            begin = partial(within, measure, partial(cohort, pair, rows, data))
            chosen.append(Contender(name, f"{count} kd", begin))

    for method in MIXED:
        chosen.append(Contender(PLAIN, method, partial(plain, pair, method, images, labels)))
    chosen.append(Contender(COHORT, "mixed", partial(cohort, pair, MIXED, data)))
    return chosen


def within(
    measure: Callable[[], AbstractContextManager[Any]], begin: Callable[[], Iterator[None]]
) -> Iterator[None]:
    """Run every step of a contender in a context."""
    with measure():
        steps = begin()
    while True:
        with measure():
            next(steps)
        yield


def seconds_per_step(steps: Iterator[None], count: int) -> float:
    """Return the mean time of some steps."""
    started = time.process_time()
    for _ in range(count):
        next(steps)
    return (time.process_time() - started) / count


def compare(chosen: Sequence[Contender], rounds: int, steps: int) -> dict[Contender, list[float]]:
    """Return the seconds per step of each contender, in every round."""
    running = {contender: contender.begin() for contender in chosen}
    for contender in chosen:
        seconds_per_step(running[contender], 1)  # a warm-up

    times: dict[Contender, list[float]] = {contender: [] for contender in chosen}
    for number in range(1, rounds + 1):
        for contender in chosen:
            times[contender].append(seconds_per_step(running[contender], steps))
        print(f"round {number} of {rounds}", flush=True)
    return times


@dataclass(frozen=True)
class Row:
    """A line of the table: a way to train some students, against plain loops.

    Attributes:
        pair: Teacher and student.
        students: The students, such as `13 kd`.
        name: How they are trained.
        milliseconds: Median time of a step of all of them.
        ratios: How many times faster than plain loops, in each round.
    """

    pair: str
    students: str
    name: str
    milliseconds: float
    ratios: list[float]

    def cells(self) -> dict[str, str]:
        """Return the line's cells by column."""
        return {
            "pair": self.pair,
            "students": self.students,
            "trained by": self.name,
            "ms per step": f"{self.milliseconds:.0f}",
            "times faster": f"{statistics.median(self.ratios):.2f}",
            "lowest": f"{min(self.ratios):.2f}",
            "highest": f"{max(self.ratios):.2f}",
            "rounds": str(len(self.ratios)),
        }


def rows_of(pair: str, times: dict[Contender, list[float]]) -> list[Row]:
    """Return the lines of a pair."""
    alone = {one.group: seconds for one, seconds in times.items() if one.name == PLAIN}
    mixed = [sum(seconds) for seconds in zip(*(alone[row] for row in MIXED), strict=True)]
    loops = {f"{count} kd": [count * one for one in alone["kd"]] for count in COUNTS}
    loops["mixed"] = mixed

    rows = []
    for group, baseline in loops.items():
        ways = {one.name: seconds for one, seconds in times.items() if one.group == group}
        for name, seconds in {PLAIN: baseline, **ways}.items():
            ratios = [one / own for one, own in zip(baseline, seconds, strict=True)]
            rows.append(Row(pair, group, name, 1000 * statistics.median(seconds), ratios))
    return rows


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write the table and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "compare.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].cells())
        writer.writeheader()
        writer.writerows(row.cells() for row in rows)
    draw(rows, folder / "compare.png")


@styled
def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw how much faster each way is than plain loops."""
    pairs = list(dict.fromkeys(row.pair for row in rows))
    figure = Figure(figsize=(8, 1 + 1.8 * len(pairs)), layout="constrained")
    for panel, pair in zip(panel_grid(figure, 1, len(pairs)), pairs, strict=True):
        lines = [row for row in rows if row.pair == pair and row.name != PLAIN]
        medians = [statistics.median(row.ratios) for row in lines]
        spread = [
            [median - min(row.ratios) for median, row in zip(medians, lines, strict=True)],
            [max(row.ratios) - median for median, row in zip(medians, lines, strict=True)],
        ]
        colours = [BLUE if row.name == COHORT else GREY for row in lines]
        places = range(len(lines))
        panel.barh(places, medians, xerr=spread, color=colours, ecolor=DARK)
        panel.set_yticks(places, [f"{row.students}, {row.name}" for row in lines])
        panel.invert_yaxis()
        panel.axvline(1, color=DARK, linewidth=1)
        large, small = (name.removeprefix("cifar_") for name in PAIRS[pair])
        panel.set_title(f"{large} teaches {small}: times the speed of plain loops", loc="left")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--results", type=Path, default=Path("results/speed"))
    options = parser.parse_args()

    known = environment(CPU)
    print(
        f"{known['device_name']}, {known['cpu_capability']}, {known['threads']} threads, "
        f"torch {known['torch']}, load {os.getloadavg()[0]:.1f}"
    )
    images, labels = random_images()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(images, labels, Path(folder))
        for pair in options.pairs:
            chosen = contenders(pair, data, images, labels)
            rows += rows_of(pair, compare(chosen, options.rounds, options.steps))

    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.cells().items()))
    write(rows, options.results)


if __name__ == "__main__":
    main()
