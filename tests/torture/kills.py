"""Kills commands at named points and at random moments; then all is as if nothing had happened."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.commandline import ROOT, alive, until
from tests.torture.cases import Case, Outcome
from tests.torture.forks import Ended
from tests.torture.place import STEPS, Place

REFERENCE = "reference.json"
"""What undisturbed commands make, in the folder of a lane."""


def failpoints() -> list[str]:
    """Return the names of all points of the program that can be named."""
    pattern = re.compile(r'failpoint\("([^"]+)"\)')
    files = (ROOT / "benchmark").rglob("*.py")
    return sorted({name for file in files for name in pattern.findall(file.read_text())})


VISITS = (1, 1, 3, 20)
"""Which visit of a point ends an attempt: the first twice in a row, and later ones."""


@dataclass(frozen=True)
class AtPoint:
    """Every command is killed at a point of the program, several times in a row."""

    point: str

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        campaign = Campaign(folder, self.point)
        for step in campaign.steps():
            for visit in VISITS:
                campaign.attempt(step, failpoint=f"{self.point}:{visit}")
            campaign.complete(step)

        campaign.counts["points"] = 1
        if campaign.counts["kills"] < 2:
            return campaign.outcome("fewer than two attempts reach this point")
        return campaign.outcome()


@dataclass(frozen=True)
class AtRandom:
    """Every command is killed at random moments, the first ones several times."""

    seed: int

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        draw = random.Random(self.seed)
        campaign = Campaign(folder, f"random kills, seed {self.seed}")
        times = {"run": 4, "tune": 2}
        for step in campaign.steps():
            for _ in range(times.get(step, 1)):
                delay = draw.uniform(0.05, 0.95) * campaign.seconds[step]
                campaign.counts["random kills"] += campaign.attempt(step, kill_after=delay).killed
            campaign.complete(step)
        return campaign.outcome()


@dataclass(frozen=True)
class Whole:
    """A tracked run with its worker and its follower: only the command itself is killed."""

    seed: int

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        draw = random.Random(self.seed)
        campaign = Campaign(folder, f"kills of a command with processes, seed {self.seed}")
        place = campaign.place
        words = [word for word in place.words("run") if word != "--no-track"]
        variables = {"KDBENCH_EXECUTOR": "processes", "PYTHONPATH": str(ROOT)}

        for _ in range(3):
            ended = place.command(
                *words, environment=variables, kill_after=draw.uniform(2, _WHOLE_RUN)
            )
            campaign.note("run with processes", ended)
            until(lambda: not alive(place.workspace), _LAST_SYNC)

        ended = place.command(*words, environment=variables)
        if ended.code != 0:
            campaign.problems.append(f"the run ends with {ended.code}: {ended.err.strip()[-300:]}")
        for step in ("tune", "sync", "leaderboard"):
            campaign.complete(step)
        return campaign.outcome()


_WHOLE_RUN = 25.0
"""Seconds that a tracked run with its processes takes about."""

_LAST_SYNC = 60.0
"""Seconds in which all processes of a killed command must end."""


class Campaign:
    """Commands that are killed, in a workspace of their own."""

    def __init__(self, folder: Path, case: str):
        self.place = Place(folder / "place")
        self.case = case
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.expected, self.seconds = reference(self.place, folder / REFERENCE)
        self.place.start_anew()

    def steps(self) -> Iterator[str]:
        """Yield the commands, and the one that finds its workspace at another path."""
        yield from STEPS
        yield MOVED

    def attempt(self, step: str, **how: Any) -> Ended:
        """Run a command that is to be killed."""
        ended = self._do(step, **how)
        self.note(step, ended)
        return ended

    def note(self, step: str, ended: Ended) -> None:
        """Count a kill, and where it was."""
        if ended.killed:
            self.counts["kills"] += 1
            self.counts[f"kills of {step}"] += 1
            self.counts["kills inside an epoch"] += self._inside()

    def complete(self, step: str) -> None:
        """Run a command to its end."""
        ended = self._do(step)
        if ended.code != 0:
            self.problems.append(f"{step} ends with {ended.code}: {ended.err.strip()[-300:]}")

    def outcome(self, problem: str | None = None) -> Outcome:
        """Compare what there is with what there should be."""
        if problem is None and not self.problems:
            self.problems += differences(self.expected, comparable(self.place.state()))
        problems = [problem] if problem else self.problems
        return Outcome(self.case, "; ".join(problems) or None, dict(self.counts))

    def _do(self, step: str, **how: Any) -> Ended:
        ended = moved(self.place, **how) if step == MOVED else self.place.do(step, **how)
        if ended.problem:
            self.problems.append(f"{step} {ended.problem}: {ended.err.strip()[-300:]}")
        return ended

    def _inside(self) -> bool:
        """Return whether a cell was saved inside an epoch."""
        cells = (self.place.workspace / "tiny" / "cells").glob("*/checkpoint-*-*.json")
        return any(True for _ in cells)


MOVED = "sync elsewhere"
"""The sync of a workspace that was moved, and moved back."""


def moved(place: Place, **how: Any) -> Ended:
    """Move a workspace, sync it there, and move it back."""
    elsewhere = place.path / "elsewhere"
    place.workspace.rename(elsewhere)
    try:
        words = [elsewhere if word == place.workspace else word for word in place.words("sync")]
        ended = place.command(*words, **how)
    finally:
        elsewhere.rename(place.workspace)
    return ended


def reference(place: Place, file: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what undisturbed commands make, and how long each takes; made once per lane.

    It is made twice: the first time, Python compiles modules and reads them from the disk.
    """
    if not file.exists():
        place.lay_out()
        seconds: dict[str, float] = {}
        for _ in range(2):
            place.start_anew()
            for step in (*STEPS, MOVED):
                ended = moved(place) if step == MOVED else place.do(step)
                assert ended.code == 0, ended.err
                seconds[step] = min(ended.seconds, seconds.get(step, ended.seconds))
        file.write_text(json.dumps([comparable(place.state()), seconds]))

    expected, seconds = json.loads(file.read_text())
    return expected, seconds


def comparable(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state in the form in which JSON gives it back."""
    content: dict[str, Any] = json.loads(json.dumps(state, sort_keys=True))
    return content


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    names = sorted(expected.keys() | found.keys())
    wrong = [
        name for name in names if json.dumps(expected.get(name)) != json.dumps(found.get(name))
    ]
    return [f"differs from the undisturbed study: {', '.join(wrong)}"] if wrong else []


LEAST = {
    "random kills": 50,
    "kills of run": 20,
    "kills of tune": 10,
    "kills of sync": 4,
    "kills of leaderboard": 4,
    "kills of run with processes": 4,
    "kills inside an epoch": 4,
}
"""How many kills of each kind there must be, at least."""


def missing(counts: dict[str, int]) -> list[Outcome]:
    """Return a problem for each kind of kill of which there were too few."""
    return [
        Outcome(name, f"{counts.get(name, 0)} instead of {least}")
        for name, least in LEAST.items()
        if counts.get(name, 0) < least
    ]


def cases(random_kills: int, seed: int, *, short: bool) -> list[Case]:
    """Return campaigns with at least so many random kills, and a kill at each point.

    In the short form, the points are those of checkpoints and of files that are replaced.
    """
    few = ("checkpoint.written", "write.before_replace")
    points: list[Case] = [AtPoint(name) for name in (few if short else failpoints())]
    campaigns = [AtRandom(seed + number) for number in range(-(-random_kills // 4))]
    return [*points, *campaigns, *(Whole(seed + number) for number in range(0 if short else 3))]
