"""Damages files of a workspace: each is healed, made again or named, and no number changes."""

from __future__ import annotations

import filecmp
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.tracking.tags import SUPERSEDED
from tests.torture.cases import Case, Outcome
from tests.torture.damage import ways
from tests.torture.forks import Ended
from tests.torture.kills import REFERENCE, comparable, differences, reference
from tests.torture.place import Place

KINDS = {
    "journals": r"tiny/cells/\w+/journal\.jsonl",
    "weights": r"tiny/cells/\w+/student\.safetensors",
    "markers of finished cells": r"tiny/cells/\w+/done\.json",
    "configurations": r"tiny/cells/\w+/config\.json",
    "checkpoints": r"tiny/cells/\w+/checkpoint-[\d-]+\.safetensors",
    "markers of checkpoints": r"tiny/cells/\w+/checkpoint-[\d-]+\.json",
    "best weights": r"tiny/cells/\w+/best\.\w+",
    "records of teachers": r"tiny/teachers/\w+/[\w.]+",
    "cards of teachers": r"teachers/\w+/card\.json",
    "stored teachers": r"teachers/\w+/(?!card)[\w.]+",
    "plans": r"tiny/plan\.json",
    "splits and copies of study files": r"tiny/(split\.json|study\.yaml)",
    "notes of what was intact": r"tiny/intact\.json",
    "decoded images": r"data/\w+/[\w.]+",
    "identities of workspaces": r"workspace\.json",
    "MLflow's database": r"mlflow\.db",
    "trials": r"tiny/search/cells/\w+/[\w.]+",
    "records of searches": r"tiny/search/\w{12}\.json",
    "databases of searches": r"tiny/search/optuna\.db",
    "other files of searches": r"tiny/search/(plan\.json|intact\.json|teachers/\w+/[\w.]+)",
}
"""Kinds of files, by patterns of their paths in the workspace."""

VERIFIED = frozenset(
    {
        "journals",
        "weights",
        "markers of finished cells",
        "configurations",
        "records of teachers",
        "cards of teachers",
        "stored teachers",
        "plans",
        "trials",
    }
)
"""Kinds of files in which `verify` finds every change of meaning."""

FINISHED, INTERRUPTED = "finished", "interrupted"

STOP_AT = "checkpoint.written:60"
"""Where the interrupted study was killed: in the second epoch, between two updates."""


@dataclass(frozen=True)
class Corruption:
    """One damaged file, and the commands that meet it.

    Attributes:
        seed: Seed of the draws.
        kind: The kind of file; drawn if it is empty.
        way: Name of the way in which it is damaged; drawn if it is empty.
    """

    seed: int
    kind: str = ""
    way: str = ""

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        place = Place(folder / "place")
        expected, _ = reference(place, folder / REFERENCE)
        snapshots = _snapshots(place, folder)
        draw = random.Random(self.seed)

        snapshot = FINISHED if draw.random() < 0.7 else INTERRUPTED
        restore(snapshots[snapshot], place.workspace)
        kind, path = _target(place.workspace, draw, self.kind)
        before = _content(path)
        name = self._damage(path, draw)

        relative = path.relative_to(place.workspace)
        case = f"{relative} ({snapshot}): {name}, seed {self.seed}"
        lasts = (snapshots[FINISHED] / relative).exists()
        met = _Meeting(place, path, before, expected, lasts=lasts)
        problem = met.problem(kind, snapshot)
        counts = {"corruptions": 1, kind: 1, met.result: 1}
        return Outcome(case, problem, counts)

    def _damage(self, path: Path, draw: random.Random) -> str:
        while True:
            way = draw.choice(ways(path))
            if self.way in ("", way.__name__) and way(path, draw):
                return way.__name__


class _Meeting:
    """What commands do when they meet a damaged file."""

    def __init__(
        self,
        place: Place,
        path: Path,
        before: bytes | None,
        expected: dict[str, Any],
        *,
        lasts: bool,
    ):
        self.place = place
        self.lasts = lasts  # whether a finished study has the file
        self.path = path
        self.before = before
        self.damaged = _content(path)
        self.expected = expected
        self.result = "wrong"
        self.said = ""
        self.changed = not _same_meaning(before, self.damaged)

    def problem(self, kind: str, snapshot: str) -> str | None:
        """Run the commands that read the file, and return what is wrong; None if nothing is."""
        in_search, in_mlflow = "search" in self.path.parts, kind == "MLflow's database"
        verified = self._do("verify") if snapshot == FINISHED else None
        # Without its marker, a cell is unfinished, which is no finding.
        must_find = kind in VERIFIED and (self.path.name != "done.json" or self.path.exists())
        if verified is not None and verified.code == 0 and self.changed and must_find:
            return "silently accepted by verify"
        steps = ["sync"] if in_mlflow else ["run", "tune"] if in_search else ["run"]
        if snapshot == FINISHED and not in_mlflow:
            steps.append("sync")

        for step in steps:
            ended = self._do(step)
            if ended.problem:
                return f"{step} {ended.problem}: {_end(ended)}"
            if ended.code != 0:
                return self._refused(step, ended, in_search)

        if verified is not None and verified.problem:
            return f"verify {verified.problem}: {_end(verified)}"
        if in_mlflow and verified is not None:
            again = self._do("verify")
            if again.code != 0:
                self.result = "named by verify, with a remedy"
                return None if again.code == 1 and ";" in again.out else _end(again)

        found = self._state(in_search, in_mlflow)
        wrong = differences(_part(self.expected, found), found)
        if wrong:
            return wrong[0] + f" (commands said: {self.said[-300:]!r})"
        return self._silent(verified)

    def _silent(self, verified: Ended | None) -> str | None:
        """Return whether damaged content is still there, and nobody has said so."""
        now = _content(self.path)
        if now != self.damaged or not (self.path.is_symlink() or self.path.exists() or self.lasts):
            self.result = "healed or made again"
            return None
        if not self.changed:
            self.result = "harmless"
            return None
        if self._named(self.said):
            self.result = "named, and not needed"
            return None
        if self.path.suffix == ".db":
            self.result = "of no effect on a database"
            return None
        self.result = "silently accepted"
        return self.result

    def _refused(self, step: str, ended: Ended, in_search: bool) -> str | None:
        """Return what is wrong with a refusal; the mended file must be as good as before."""
        if not self._named(ended.err):
            return f"{step} does not name the file: {_end(ended)}"
        if ended.code == 2 and ";" not in ended.err:
            return f"{step} names no remedy: {_end(ended)}"

        _put_back(self.path, self.before)
        for name in [step, *(["tune"] if in_search else [])]:
            again = self._do(name)
            if again.code != 0:
                return f"{name} fails when the file is mended: {_end(again)}"
        self.result = "refused, with file and remedy"
        found = self._state(in_search, step == "sync")
        return "; ".join(differences(_part(self.expected, found), found)) or None

    def _state(self, searched: bool, tracked: bool) -> dict[str, Any]:
        """Return the state, without superseded runs in MLflow, which no table shows."""
        state = comparable(self.place.state(searched=searched, tracked=tracked))
        if tracked:
            state["MLflow"] = [run for run in state["MLflow"] if SUPERSEDED not in run]
        return state

    def _do(self, step: str) -> Ended:
        ended = self.place.do(step)
        self.said += ended.err + ended.out
        return ended

    def _named(self, text: str) -> bool:
        """Return whether a text names the file, or the cell or folder that it belongs to."""
        relative = self.path.relative_to(self.place.workspace)
        return self.path.name in text or any(
            part in text for part in relative.parent.parts if len(part) >= 12
        )


def restore(snapshot: Path, workspace: Path) -> None:
    """Make a workspace equal to a snapshot; files that are equal are left alone."""
    wanted = {path.relative_to(snapshot) for path in snapshot.rglob("*")}
    for path in sorted(workspace.rglob("*"), reverse=True):
        if path.relative_to(workspace) not in wanted:
            _remove(path)

    for name in sorted(wanted):
        source, target = snapshot / name, workspace / name
        if source.is_dir():
            if target.is_symlink() or not target.is_dir():
                _remove(target)
                target.mkdir()
        elif target.is_symlink() or not target.is_file() or not filecmp.cmp(source, target):
            _remove(target)
            shutil.copy2(source, target)


def _snapshots(place: Place, folder: Path) -> dict[str, Path]:
    """Return copies of a finished and of an interrupted workspace, which are made once."""
    snapshots = {name: folder / name for name in (FINISHED, INTERRUPTED)}
    if not snapshots[INTERRUPTED].exists():
        place.start_anew()
        for step in ("run", "tune", "sync"):
            assert place.do(step).code == 0
        shutil.copytree(place.workspace, snapshots[FINISHED])

        place.start_anew()
        place.workspace.mkdir()
        assert place.do("run", failpoint=STOP_AT).killed
        shutil.copytree(place.workspace, snapshots[INTERRUPTED])
        place.start_anew()
        place.workspace.mkdir()
    return snapshots


def _target(workspace: Path, draw: random.Random, kind: str) -> tuple[str, Path]:
    """Choose a kind of file, unless it is given, and one of its files."""
    paths = {path.relative_to(workspace).as_posix(): path for path in _files(workspace)}
    kinds = {
        kind: sorted(name for name in paths if re.fullmatch(pattern, name))
        for kind, pattern in KINDS.items()
    }
    kind = kind or draw.choice([kind for kind, names in kinds.items() if names])
    return kind, paths[draw.choice(kinds[kind])]


def _files(workspace: Path) -> Iterator[Path]:
    return (path for path in workspace.rglob("*") if path.is_file())


def _content(path: Path) -> bytes | None:
    """Return the content of a file; None if there is none."""
    return path.read_bytes() if path.is_file() else None


def _put_back(path: Path, content: bytes | None) -> None:
    _remove(path)
    assert content is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _same_meaning(before: bytes | None, now: bytes | None) -> bool:
    """Return whether two contents are the same, or the same JSON."""
    if before == now:
        return True
    try:
        return None not in (before, now) and json.loads(before or b"") == json.loads(now or b"")
    except ValueError:
        return False


def _part(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the expected state that was looked at, except for the leaderboard."""
    groups = {name.split()[0] for name in found}
    return {name: value for name, value in expected.items() if name.split()[0] in groups}


def _end(ended: Ended) -> str:
    return f"code {ended.code}: {ended.err.strip()[-400:]!r} {ended.out.strip()[-200:]!r}"


def cases(number: int, seed: int) -> list[Case]:
    """Return so many cases."""
    return [Corruption(seed + index) for index in range(number)]
