"""`kdbench verify` finds every damage to a study, names it with a remedy, and changes nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.files import write_json
from tests.cli.helpers import COUNT
from tests.support.commandline import Ended, kdbench
from tests.support.studies import Tracked, folders

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]

HEALS = "; `kdbench run` heals the cell, or sets it aside and trains it again"


@pytest.fixture
def copy(tracked: Tracked, tmp_path: Path) -> Path:
    """A copy of a tracked study's workspace."""
    return Path(shutil.copytree(tracked.workspace, tmp_path / "runs"))


def verify(workspace: Path, *words: str) -> Ended:
    return kdbench("--workspace", workspace, "verify", "tiny", *words)


def flip(path: Path, place: float = 0.5) -> None:
    """Change a bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Remove the last line of a file."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def edit(path: Path, key: str, value: object) -> None:
    write_json(path, json.loads(path.read_text()) | {key: value})


def execute(workspace: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(workspace / "mlflow.db")) as database, database:
        changed = database.execute(statement).rowcount
        assert changed > 0


def test_a_study_that_nobody_touched_passes(tracked: Tracked) -> None:
    found = verify(tracked.workspace)
    assert (found.code, found.out) == (0, "")
    assert found.err.splitlines() == [
        f"checked {COUNT} cells and 1 teacher",
        f"compared {COUNT + 1} runs in MLflow with the journals",
        "everything is as it was written",
    ]


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "weights flipped": ("student.safetensors", flip),
    "weights deleted": ("student.safetensors", Path.unlink),
    "journal flipped": ("journal.jsonl", flip),
    "journal without its last record": ("journal.jsonl", cut),
    "journal emptied": ("journal.jsonl", lambda path: path.write_bytes(b"")),
    "marker damaged": ("done.json", lambda path: flip(path, 0.0)),
    "marker edited": ("done.json", lambda path: edit(path, "metrics", {"test/acc1": 99.0})),
    "configuration edited": ("config.json", lambda path: edit(path, "seed", 9)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_each_damage_to_a_cell_is_one_line_with_the_file_and_a_remedy(
    damage: str, copy: Path
) -> None:
    name, harm = DAMAGE[damage]
    path = folders(copy)["kd/1"] / name
    harm(path)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}

    found = verify(copy, "--no-track")

    assert found.code == 1
    (line,) = found.out.splitlines()
    assert line.startswith(str(path.parent))
    assert line.endswith(HEALS)
    assert found.err.splitlines()[-1] == "1 finding"
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.parametrize("name", ["card.json", "journal.jsonl", "done.json", "student.safetensors"])
def test_each_damage_to_a_stored_teacher_is_found(name: str, copy: Path) -> None:
    (path,) = (copy / "teachers").glob(f"*/{name}")
    flip(path)
    found = verify(copy, "--no-track")
    assert found.code == 1
    (line,) = found.out.splitlines()
    assert line.startswith(f"{path}:")
    assert line.endswith(f"; delete the folder {path.parent} to train or import this teacher again")


IN_MLFLOW = {
    "accuracy shown": (
        "update latest_metrics set value = 99 where key = 'test/acc1' and run_uuid = '{run}'",
        "metric test/acc1 is 99.0, but the journal says ",
    ),
    "accuracy in the history": (
        "update metrics set value = 99 where key = 'test/acc1' and run_uuid = '{run}'",
        "metric test/acc1 ",
    ),
    "an epoch deleted": (
        "delete from metrics where key = 'val/acc1' and step = 1 and run_uuid = '{run}'",
        "metric val/acc1 differs from the journal, first at step 1",
    ),
    "a setting": (
        "update params set value = '9' where key = 'kd.temperature' and run_uuid = '{run}'",
        "param kd.temperature is '9', but should be '4.0'",
    ),
    "a tag": (
        "update tags set value = '99.00' where key = 'top1' and run_uuid = '{run}'",
        "tag top1 is '99.00', but should be ",
    ),
}


@pytest.mark.parametrize("change", IN_MLFLOW)
def test_a_run_that_was_edited_in_mlflow_is_named(change: str, copy: Path) -> None:
    statement, expected = IN_MLFLOW[change]
    cell = folders(copy)["kd/1"].name
    with contextlib.closing(sqlite3.connect(copy / "mlflow.db")) as database:
        ((run,),) = database.execute(
            f"select run_uuid from tags where key = 'cell' and value = '{cell}'"
        )
    execute(copy, statement.format(run=run))

    found = verify(copy)

    assert found.code == 1
    (line,) = found.out.splitlines()
    assert line.startswith(f"run {run} (kd pair s1): {expected}")
    remedy = (
        "`kdbench sync tiny` corrects it"
        if change == "a tag"
        else "delete this run in MLflow, and `kdbench sync tiny` writes it again"
    )
    assert line.endswith(f"; {remedy}")


def test_an_edited_plan_is_one_finding_without_a_comparison_with_mlflow(copy: Path) -> None:
    path = copy / "tiny" / "plan.json"
    path.write_text(path.read_text().replace('"question": ""', '"question": "Which?"'))
    found = verify(copy)
    assert (found.code, found.out) == (1, f"{path}: damaged; run the study again to rebuild it\n")
    assert "not compared with MLflow: the plan is damaged\n1 finding\n" in found.err


def test_runs_that_mlflow_lacks_are_no_damage(copy: Path) -> None:
    (copy / "mlflow.db").unlink()
    found = verify(copy)
    assert (found.code, found.out) == (0, "")
    assert (
        f"not completely in MLflow: {COUNT + 1} journals; `kdbench sync tiny` adds the rest"
        in found.err
    )
    assert not (copy / "mlflow.db").exists()
