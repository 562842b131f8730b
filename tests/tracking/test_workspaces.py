"""Several workspaces that write one study to one MLflow store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.execution.forget import forget
from benchmark.records.layout import Workspace
from benchmark.records.workspace_id import identify
from benchmark.tracking.report_run import publish
from benchmark.tracking.runs import plan, runs
from benchmark.tracking.store import Store, open_store
from benchmark.tracking.sync import follow, sync
from benchmark.tracking.sync_search import sync_search
from benchmark.tracking.tags import KIND, SUPERSEDED, WORKSPACE
from tests.support.journalled import (
    START,
    Study,
    counts,
    find_run,
    find_runs,
    mlflow_client,
    snapshot,
)
from tests.support.searched import Search
from tests.support.searched import find_runs as find_trials

pytestmark = pytest.mark.mlflow

LATER = START + 3_600_000


def store_of(store: Store, workspace: Path) -> Store:
    """Return the shared store, as another workspace opens it."""
    return open_store(workspace, store.uri)


def trained(workspace: Path, at: int) -> Study:
    """Return a study whose cells were trained at a time."""
    study = Study(workspace)
    for row in ("teacher", "student", "kd"):
        study.train(row, at=at)
    return study


def by_workspace(store: Store) -> dict[str, set[str]]:
    """Return the kinds of all runs by the content of their tag."""
    found: dict[str, set[str]] = {}
    for run in find_runs(store):
        found.setdefault(run.data.tags[WORKSPACE], set()).add(run.data.tags[KIND])
    return found


@pytest.fixture
def first(tmp_path: Path, store: Store) -> Study:
    """A study that one workspace has written to the store."""
    study = trained(tmp_path / "first", START)
    sync(study.folder, store_of(store, tmp_path / "first"))
    return study


@pytest.fixture
def second(tmp_path: Path, first: Study) -> Study:
    """The same study, trained in another workspace and not written to the store yet."""
    return trained(tmp_path / "second", LATER)


def test_runs_of_another_workspace_stay_as_they_are_and_are_named_once(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    before = snapshot(store)
    lines: list[str] = []
    there = store_of(store, tmp_path / "second")
    assert counts(sync(second.folder, there, warn=lines.append)) == (3, 0, 0)

    after = snapshot(store)
    assert len(after) == 6
    assert {key: after[key] for key in before} == before

    (line,) = lines
    other = identify(Workspace(tmp_path / "first"))
    assert line.startswith("experiment 'kd/small' at ")
    assert other in line
    assert "tracking.experiment" in line
    assert "kdbench import" in line

    assert counts(sync(second.folder, there, warn=lines.append)) == (0, 0, 3)
    assert counts(sync(first.folder, there, warn=lines.append)) == (0, 0, 3)
    assert snapshot(store) == after


def test_models_of_another_workspace_are_left_alone(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    def models() -> dict[str, str]:
        client = mlflow_client(store)
        experiment = client.get_experiment_by_name("kd/small")
        found = client.search_logged_models([experiment.experiment_id])
        return {model.model_id: model.name for model in found}

    before = models()
    there = store_of(store, tmp_path / "second")
    sync(second.folder, there, warn=lambda _: None)
    second.change_plan(methods=("student",), cells=(second.cell("student"),))
    sync(second.folder, there, warn=lambda _: None)

    after = models()
    assert before.items() <= after.items()
    added = sorted(after[name] for name in after.keys() - before.keys())
    assert added == ["student a-b s0", "teacher a-b s0"]


def test_a_follower_names_the_clash_once(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    lines: list[str] = []
    answers = iter([False, True])
    there = store_of(store, tmp_path / "second")
    stop = lambda: next(answers)  # noqa: E731
    assert follow(second.folder, there, stop, warn=lines.append, every=0.01)
    assert len(lines) == 1


def test_a_table_shows_each_cell_once_from_the_workspace_that_reads_it(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    second.change_plan(question="Asked again?")
    mine, other = store_of(store, tmp_path / "first"), store_of(store, tmp_path / "second")
    sync(second.folder, other, warn=lambda _: None)

    starts = {run.info.run_id: run.info.start_time for run in find_runs(store)}
    for reader, start, question in ((mine, START, "Which"), (other, LATER, "Asked")):
        table = runs("kd/small", reader)
        assert sorted(table["method"]) == ["kd", "student", "teacher"]
        assert {starts[run] for run in table["run_id"]} == {start}
        assert plan("kd/small", reader).question.startswith(question)

    # A workspace without the study sees what the experiment belongs to.
    stranger = store_of(store, tmp_path / "third")
    assert {starts[run] for run in runs("kd/small", stranger)["run_id"]} == {START}


def test_a_damaged_run_of_another_workspace_disturbs_no_table_of_this_one(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    mine, other = store_of(store, tmp_path / "first"), store_of(store, tmp_path / "second")
    sync(second.folder, other, warn=lambda _: None)
    before, theirs = runs("kd/small", mine), runs("kd/small", other)
    mlflow_client(store).set_tag(theirs["run_id"][0], "seed", "x")
    assert runs("kd/small", mine).equals(before)
    with pytest.raises(InputError, match="its tag seed is 'x'"):
        runs("kd/small", other)


def test_each_workspace_has_its_own_report(
    tmp_path: Path, store: Store, first: Study, second: Study
) -> None:
    sync(second.folder, store_of(store, tmp_path / "second"), warn=lambda _: None)
    for name in ("first", "second"):
        page = tmp_path / name / "leaderboard.md"
        page.write_text(f"table of {name}")
        study = first if name == "first" else second
        there = store_of(store, tmp_path / name)
        publish("kd/small", there, study.plan, f"note of {name}", [page], pytest.fail)

    reports = find_runs(store, f"tags.`{KIND}` = 'report'")
    ids = [identify(Workspace(tmp_path / name)) for name in ("first", "second")]
    assert sorted(run.data.tags[WORKSPACE] for run in reports) == sorted(ids)


def test_a_copy_shares_the_runs_it_was_copied_with(
    tmp_path: Path, store: Store, first: Study
) -> None:
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    there = store_of(store, tmp_path / "copy")
    assert counts(sync(tmp_path / "copy/small", there, warn=pytest.fail)) == (0, 3, 0)
    assert counts(sync(tmp_path / "copy/small", there, warn=pytest.fail)) == (0, 0, 3)
    assert counts(sync(first.folder, there, warn=pytest.fail)) == (0, 0, 3)

    names = [identify(Workspace(tmp_path / name)) for name in ("first", "copy")]
    assert by_workspace(store) == {" ".join(names): {"run", "teacher"}}


def test_a_shared_run_stays_when_one_workspace_trains_its_cell_again(
    tmp_path: Path, store: Store, first: Study
) -> None:
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    copy, there = Study.__new__(Study), store_of(store, tmp_path / "copy")
    copy.__dict__ = {**first.__dict__, "files": Workspace(tmp_path / "copy").study("small")}
    sync(copy.folder, there)

    shared = find_run(store, "kd").info.run_id
    forget(copy.files, row="kd")
    sync(copy.folder, there, warn=lambda _: None)
    copy.train("kd", at=LATER)
    sync(copy.folder, there, warn=lambda _: None)

    mine, theirs = (identify(Workspace(tmp_path / name)) for name in ("copy", "first"))
    holders = {
        run.info.run_id: run.data.tags[WORKSPACE]
        for run in find_runs(store, f"tags.method = 'kd' and tags.`{KIND}` = 'run'")
    }
    assert holders.pop(shared) == theirs
    assert list(holders.values()) == [mine]
    assert counts(sync(first.folder, store, warn=lambda _: None)) == (0, 0, 3)


def test_a_cell_that_was_set_aside_is_superseded_at_the_next_sync(
    store: Store, small: Study
) -> None:
    small.finish()
    sync(small.folder, store)
    forget(small.files, row="kd")

    assert counts(sync(small.folder, store)) == (0, 1, 2)
    assert find_run(store, "kd", SUPERSEDED).info.start_time == START

    small.train("kd", at=LATER)
    assert counts(sync(small.folder, store)) == (1, 0, 2)
    assert find_run(store, "kd").info.start_time == LATER


def without_owner(store: Store) -> None:
    """Remove what this version adds, as in a store of an older version."""
    from tests.support.journalled import mlflow_client

    client = mlflow_client(store)
    for run in find_runs(store):
        client.delete_tag(run.info.run_id, WORKSPACE)


def test_runs_of_older_versions_belong_to_the_workspace_that_syncs(
    store: Store, small: Study
) -> None:
    small.finish()
    sync(small.folder, store)
    without_owner(store)

    assert counts(sync(small.folder, store, warn=pytest.fail)) == (0, 3, 0)
    assert counts(sync(small.folder, store, warn=pytest.fail)) == (0, 0, 3)


def searched(workspace: Path, at: int) -> Search:
    """Return a search with one complete trial."""
    search = Search(Workspace(workspace).study("small").search.path)
    number = search.ask()
    for seed in search.record["seeds"]:
        search.start(number, seed, at)
        for epoch in range(2):
            search.epoch(number, seed, epoch, at)
        search.end(number, seed)
    search.tell(number)
    return search.save()


def test_trials_of_another_workspace_stay_as_they_are(tmp_path: Path, store: Store) -> None:
    def synced(search: Search, name: str, warn: Any) -> tuple[int, int, int]:
        there = store_of(store, tmp_path / name)
        (result,) = sync_search(search.folder, there, warn=warn).values()
        return counts(result)

    mine = searched(tmp_path / "first", START)
    assert synced(mine, "first", pytest.fail) == (2, 0, 0)
    before = {run.info.run_id: run.data.tags for run in find_trials(store, "trial")}

    lines: list[str] = []
    theirs = searched(tmp_path / "second", LATER)
    assert synced(theirs, "second", lines.append) == (2, 0, 0)
    assert len(lines) == 1

    after = {run.info.run_id: run.data.tags for run in find_trials(store, "trial")}
    assert len(after) == 2
    assert {key: after[key] for key in before} == before
    assert synced(mine, "first", lines.append) == (0, 0, 2)
