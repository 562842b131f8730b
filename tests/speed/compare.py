"""Training speed: cohorts against the loops that repositories of the field are made of.

    OMP_NUM_THREADS=1 python -m tests.speed.compare [--pairs 56-20] [--rounds 3] [--steps 4]

For each pair: students that train alone, in plain loops (see `tests/speed/plain.py`); the same
students in a cohort; and cohorts without one of the engine's measures, or in another precision. All
take turns in one process, so that any other load on the machine slows all of them, and each ratio
is of one round. On a CPU, times are the processor's in this process: waiting is not counted, nor
is the work of the plain loops' loaders. On a GPU, they are those of a clock, loaders included. N
equal students take N times as long alone as one. Images are random, 50,000 of 32x32 pixels, which
is what CRD's memory needs; no epoch ends, so checkpoints are not part of the times (see
`tests/speed/recording.py`).

Writes a table and a picture to `results/speed/`.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmark.execution.environment import environment, make_repeatable
from benchmark.report.figures.style import BLUE, DARK, GREY, panel_grid, styled
from tests.speed.contenders import (
    COHORT,
    COUNTS,
    IMAGES,
    MIXED,
    PAIRS,
    PLAIN,
    Contender,
    contenders,
    open_data,
    random_images,
)
from tests.speed.plain import BATCH

STEPS = 240 * (IMAGES // BATCH)
"""Steps of a training of 240 epochs, for which times are extrapolated."""

WARM_UP = {"cpu": 1, "cuda": 10}
"""Steps before the first round, by device: graphs are recorded in them."""


def seconds_per_step(steps: Iterator[Any], count: int, device: torch.device) -> float:
    """Return the mean time of some steps."""
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize(device)

    started = clock()
    for _ in range(count):
        next(steps)
    if on_gpu:
        torch.cuda.synchronize(device)
    return (clock() - started) / count


def compare(
    chosen: Sequence[Contender], rounds: int, steps: int, device: torch.device
) -> dict[Contender, list[float]]:
    """Return the seconds per step of each contender, in every round."""
    running = {contender: contender.begin() for contender in chosen}
    for contender in chosen:
        seconds_per_step(running[contender], WARM_UP[device.type], device)

    times: dict[Contender, list[float]] = {contender: [] for contender in chosen}
    for number in range(1, rounds + 1):
        for contender in chosen:
            times[contender].append(seconds_per_step(running[contender], steps, device))
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
            "minutes for 240 epochs": f"{self.milliseconds * STEPS / 60_000:.0f}",
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
        found = {one.name: seconds for one, seconds in times.items() if one.group == group}
        for name, seconds in {PLAIN: baseline, **found}.items():
            ratios = [one / own for one, own in zip(baseline, seconds, strict=True)]
            rows.append(Row(pair, group, name, 1000 * statistics.median(seconds), ratios))
    return rows


def write(rows: Sequence[Row], folder: Path, device: torch.device) -> None:
    """Write the table and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"compare-{device.type}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].cells())
        writer.writeheader()
        writer.writerows(row.cells() for row in rows)
    draw(rows, folder / f"compare-{device.type}.png")


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--results", type=Path, default=Path("results/speed"))
    options = parser.parse_args(arguments)

    make_repeatable()
    known = environment(options.device)
    print(
        f"{known['device_name']}, {known['cpu_capability']}, {known['threads']} threads, "
        f"torch {known['torch']}, load {os.getloadavg()[0]:.1f}"
    )
    images, labels = random_images()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(images, labels, Path(folder), options.device)
        for pair in options.pairs:
            chosen = contenders(pair, data, images, labels)
            times = compare(chosen, options.rounds, options.steps, options.device)
            rows += rows_of(pair, times)

    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.cells().items()))
    write(rows, options.results, options.device)


if __name__ == "__main__":
    main()
