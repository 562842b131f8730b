"""A damaged journal leaves its run in MLflow as it is, and the others are synced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import DamageError
from benchmark.records.integrity import read_sound_journal
from benchmark.records.journal import decode_line, encode_line
from benchmark.tracking.runs import runs
from benchmark.tracking.sync import sync
from benchmark.tracking.verification import Compared, compare_with_mlflow
from tests.support.journalled import counts, find_run, mlflow_client, snapshot

pytestmark = pytest.mark.mlflow


def without_start(journal: Path) -> None:
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[1:]))


def plain_without_start(journal: Path) -> None:
    """Remove the first record of a journal without a chain, as of earlier versions."""
    lines = []
    for line in journal.read_bytes().splitlines(keepends=True)[1:]:
        content = decode_line(line)
        assert content is not None
        del content["number"], content["previous"]
        lines.append(encode_line(content))
    journal.write_bytes(b"".join(lines))


def flipped(journal: Path) -> None:
    content = bytearray(journal.read_bytes())
    content[40] ^= 1
    journal.write_bytes(content)


@pytest.mark.parametrize("damage", [without_start, plain_without_start, flipped])
def test_a_damaged_journal_is_named_and_the_other_runs_are_synced(
    damage: Callable[[Path], None], small, store
):
    small.train("teacher")
    small.train("student")
    sync(small.folder, store)
    before = snapshot(store)

    damage(small.cell_files("student").journal)
    small.train("kd")
    warnings: list[str] = []
    assert counts(sync(small.folder, store, warn=warnings.append)) == (1, 0, 1)

    (warning,) = warnings
    assert warning.startswith("student a-b s0: ")
    assert str(small.cell_files("student").journal) in warning
    assert warning.endswith("; its run in MLflow stays as it is")
    assert find_run(store, "kd").info.status == "FINISHED"
    after = snapshot(store)
    assert {run: after[run] for run in before} == before


def made_a_folder(journal: Path) -> None:
    journal.unlink()
    journal.mkdir()


@pytest.mark.parametrize("damage", [flipped, made_a_folder])
def test_a_damaged_journal_that_was_set_aside_disturbs_no_sync(damage, small, store):
    small.finish()
    files = small.cell_files("student")
    damage(files.journal)
    aside = small.files.set_aside(files.path.name)
    aside.path.parent.mkdir()
    files.path.rename(aside.path)
    small.train("student")
    warnings: list[str] = []
    assert counts(sync(small.folder, store, warn=warnings.append)) == (3, 0, 0)
    assert warnings == []


def test_a_cell_that_could_not_even_start_is_recorded_as_failed(small, store):
    files = small.cell_files("student")
    files.path.mkdir(parents=True)
    small.add("student", 0, "failed", reason="no such network")
    sync(small.folder, store)
    run = find_run(store, "student")
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "no such network")


@pytest.mark.parametrize("name", ["method", "pair"])
@pytest.mark.parametrize("value", ["other", None])
def test_a_run_that_no_longer_says_of_which_cell_it_is_is_superseded_and_written_again(
    small, store, name, value
):
    small.finish()
    sync(small.folder, store)
    run = find_run(store, "kd")
    if value is None:
        mlflow_client(store).delete_tag(run.info.run_id, name)
    else:
        mlflow_client(store).set_tag(run.info.run_id, name, value)

    found = compare_with_mlflow(small.files, store)
    (difference,) = found.differences
    assert difference.text == f"run {run.info.run_id} (kd a-b s0) is of no row of the plan"
    assert difference.synced

    assert counts(sync(small.folder, store)) == (1, 1, 2)
    after = snapshot(store)[run.info.run_id]
    assert after["tags"]["kdbench.kind"] == "superseded"
    assert compare_with_mlflow(small.files, store).differences == []
    assert counts(sync(small.folder, store)) == (0, 0, 3)


@pytest.mark.parametrize("name", ["cell", "study"])
def test_a_run_that_no_longer_says_of_which_study_it_is_is_left_alone_and_written_again(
    small, store, name
):
    small.finish()
    sync(small.folder, store)
    table = runs("kd/small", store).drop(columns="run_id")
    mlflow_client(store).delete_tag(find_run(store, "kd").info.run_id, name)
    assert set(runs("kd/small", store)["method"]) == {"student", "teacher"}

    assert compare_with_mlflow(small.files, store).behind == 1
    assert counts(sync(small.folder, store)) == (1, 0, 2)
    assert runs("kd/small", store).drop(columns="run_id").equals(table)
    assert compare_with_mlflow(small.files, store) == Compared(runs=3)


def test_runs_of_an_earlier_plan_are_no_difference(small, store):
    small.finish()
    sync(small.folder, store)
    small.change_plan(
        methods=("student",), cells=tuple(cell for cell in small.plan.cells if cell.row != "kd")
    )
    assert compare_with_mlflow(small.files, store) == Compared(runs=2, unplanned=1)


def test_a_missing_configuration_is_named_not_the_journal(small, store):
    small.finish()
    files = small.cell_files("kd")
    content = files.journal.read_bytes().splitlines(keepends=True)
    first = decode_line(content[0])
    assert first is not None
    files.journal.write_bytes(encode_line(first | {"configuration": "0" * 12}))
    with pytest.raises(DamageError, match=r"journal\.jsonl: is not the journal of the cell in"):
        read_sound_journal(files)
    files.config.unlink()
    with pytest.raises(DamageError, match=r"config\.json: missing"):
        read_sound_journal(files)
