"""What a part of the torture consists of, and how its cases are shared among processes."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What a case has shown.

    Attributes:
        case: What was done, so that it can be done again.
        problem: What is wrong; None if all is well.
        counts: How often things happened, for the figures.
        seconds: Duration of the case.
    """

    case: str
    problem: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


Case = Callable[[Path], Outcome]
"""Does something in a folder, which it has for itself."""


def share(
    cases: Sequence[Case], jobs: int, folder: Path, tell: Callable[[str], None]
) -> list[Outcome]:
    """Run cases in some processes, and return their outcomes.

    Args:
        cases: The cases.
        jobs: Number of processes.
        folder: Folder for their files.
        tell: Receives a line for each case that shows a problem.
    """
    lanes = {}
    for lane in range(jobs):
        place = folder / f"lane-{lane}"
        place.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child == 0:
            _work(cases[lane::jobs], place, tell)
        lanes[child] = place

    for child in lanes:
        os.waitpid(child, 0)

    outcomes = []
    for place in lanes.values():
        lines = (place / "outcomes.jsonl").read_text().splitlines()
        outcomes += [Outcome(**json.loads(line)) for line in lines]
    if len(outcomes) < len(cases):
        outcomes.append(Outcome("all", f"{len(cases) - len(outcomes)} cases were never run"))
    return outcomes


def _work(cases: Sequence[Case], place: Path, tell: Callable[[str], None]) -> None:
    """Run cases, and write their outcomes to a file; never returns."""
    try:
        with (place / "outcomes.jsonl").open("w") as file:
            for case in cases:
                outcome = _try(case, place)
                if outcome.problem:
                    tell(f"{outcome.case}: {outcome.problem}")
                file.write(json.dumps(asdict(outcome)) + "\n")
                file.flush()
    finally:
        os._exit(0)


def _try(case: Case, place: Path) -> Outcome:
    start = time.monotonic()
    try:
        outcome = case(place)
    except Exception:
        outcome = Outcome(repr(case), f"the case itself failed:\n{traceback.format_exc()}")
    outcome.seconds = time.monotonic() - start
    return outcome


def total(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return the sums of all counts."""
    sums: Counter[str] = Counter()
    for outcome in outcomes:
        sums.update(outcome.counts)
    return dict(sums)
