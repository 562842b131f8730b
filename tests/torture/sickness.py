"""Methods that end or block their process, and files that cannot be imported; the others finish."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.records.layout import CellFiles
from tests.support import sick
from tests.support.commandline import ROOT
from tests.support.studies import bits, folders, records, write_study
from tests.torture.cases import Case, Outcome
from tests.torture.forks import kdbench
from tests.torture.kills import comparable

COMPANIONS = ("student", "kd", "crd")

SICK = "pair / sick / seed 0"

HEALTHY = "healthy.json"
"""The bits of the companions in a study without a sick method, in the folder of a lane."""

EXPECTED = {
    sick.EXIT_0: "exited with code 0",
    sick.EXIT_3: "exited with code 3",
    sick.SYSTEM_EXIT: "SystemExit: 4",
    sick.SEGFAULT: "killed by SIGSEGV",
    sick.KILL: "killed by SIGKILL",
    sick.ABORT: "killed by SIGABRT",
    sick.HANG: "made no progress",
    sick.CHILD: "exited with code 3",
    sick.UNUSUAL: "Unusual: not an Exception",
    sick.OUT_OF_MEMORY: "MemoryError",
}
"""What the reason of a failed cell says."""


@dataclass(frozen=True)
class Sick:
    """A method that ends or blocks its process in a step, or when it is built."""

    way: int
    building: bool

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        rows: list[Any] = [*COMPANIONS]
        healthy = _healthy(folder)
        rows.insert(1, sick.sick_row(self.way, building=int(self.building)))
        workspace = folder / f"sick-{self.way}-{int(self.building)}"
        study = write_study(workspace / "tiny.yaml", sick.sick_study(workspace, rows))

        variables = {
            "KDBENCH_EXECUTOR": "processes",
            "SICK_COUNT": str(workspace / "count"),
            "PYTHONPATH": str(ROOT),
        }
        command = ("--workspace", workspace, "run", study, "--no-track", "--device", "cpu")
        more = ("--step-minutes", "0.05")
        ended = kdbench(folder / "output", *command, *more, environment=variables)
        problems = [ended.problem] if ended.problem else []
        if ended.code != 1:
            problems.append(f"ends with {ended.code}: {ended.err.strip()[-300:]}")

        found = folders(workspace)
        for name, expected in healthy.items():
            if not CellFiles(found[name]).done.exists():
                problems.append(f"{name} did not finish")
            elif comparable(bits(found[name])) != expected:
                problems.append(f"{name} has other bits")

        reasons = [record["reason"] for record in records(found["sick/0"], "failed")]
        if not reasons or EXPECTED[self.way] not in reasons[-1]:
            problems.append(f"the reasons of the failed cell are {reasons}")
        if SICK not in ended.err:
            problems.append("the failed cell is not named")

        case = f"sick method {self.way}{', when it is built' if self.building else ''}"
        return Outcome(case, "; ".join(problems) or None, {"sick cells": 1, "companions": 3})


@dataclass(frozen=True)
class Broken:
    """A plug-in that cannot be imported: only the study that wants it is refused."""

    text: str

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        place = folder / "broken"
        content: dict[str, Any] = sick.sick_study(place, ["student"])
        (place / "sick_methods.py").write_text(self.text)
        study = write_study(place / "tiny.yaml", content)
        words = ("--workspace", place / "runs", "run", study, "--no-track", "--device", "cpu")
        ended = kdbench(folder / "output", *words)

        problems = [ended.problem] if ended.problem else []
        if ended.code != 2 or "sick_methods.py" not in ended.err or "\n" in ended.err.strip():
            problems.append(f"ends with {ended.code}: {ended.err.strip()[-300:]}")
        case = f"plug-in {self.text!r}"
        return Outcome(case, "; ".join(problems) or None, {"broken imports": 1})


BROKEN = (
    "def (",
    "import no_such_module",
    "raise SystemExit(0)",
    "1 / 0",
    "class Own(BaseException): pass\nraise Own",
    "\0",
)


def _healthy(folder: Path) -> dict[str, Any]:
    """Return the bits of the companions, trained once per lane without a sick method."""
    file = folder / HEALTHY
    if not file.exists():
        workspace = folder / "healthy"
        study = write_study(workspace / "tiny.yaml", sick.sick_study(workspace, COMPANIONS))
        words = ("--workspace", workspace, "run", study, "--no-track", "--device", "cpu")
        ended = kdbench(folder / "output", *words, environment={"KDBENCH_EXECUTOR": "inline"})
        assert ended.code == 0, ended.err
        found = folders(workspace)
        file.write_text(json.dumps({name: bits(path) for name, path in found.items()}))
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def cases(*, short: bool) -> list[Case]:
    """Return all ways in a step, two of them when the method is built, and broken plug-ins."""
    if short:
        return [Sick(sick.SEGFAULT, building=False), Broken(BROKEN[0])]
    return [
        *(Sick(way, building=False) for way in EXPECTED),
        *(Sick(way, building=True) for way in (sick.SEGFAULT, sick.HANG)),
        *(Broken(text) for text in BROKEN),
    ]
