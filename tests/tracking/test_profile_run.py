"""The traces of a study's steps in MLflow: one run, written once, after the training."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import TrackingError
from benchmark.locks import locked
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.runs import fetch
from benchmark.tracking.store import Store
from benchmark.tracking.sync import sync
from tests.support.journalled import Study, counts, file_names, find_runs

pytestmark = pytest.mark.mlflow

PROFILES = "tags.`kdbench.kind` = 'profile'"


def trace(study: Study, *numbers: int, content: str = "trace") -> dict[str, bytes]:
    """Write the traces of some cohorts, as `kdbench run --profile` does; return its files."""
    folder = study.files.profiles
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"cohort-{number}.json.gz").write_bytes(gzip.compress(content.encode()))
        (folder / f"cohort-{number}.txt").write_text(f"kd: {content} of cohort {number}\n")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_holds_the_traces_of_all_cohorts_and_their_summaries(
    tmp_path: Path, store: Store, small: Study
) -> None:
    files = trace(small.finish(), 1, 2)
    assert counts(sync(small.folder, store)) == (4, 0, 0)

    (run,) = find_runs(store, PROFILES)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "profile")
    assert "2 cohorts" in run.data.tags["mlflow.note.content"]
    assert file_names(store, run) == files.keys()
    for name, content in files.items():
        assert fetch(f"runs:/{run.info.run_id}/{name}", store, tmp_path).read_bytes() == content


def test_traces_are_written_once(store: Store, small: Study) -> None:
    trace(small.finish(), 1)
    sync(small.folder, store)
    assert store.database is not None
    before = store.database.read_bytes()
    assert counts(sync(small.folder, store)) == (0, 0, 4)
    assert store.database.read_bytes() == before


def test_new_traces_replace_those_of_the_run(tmp_path: Path, store: Store, small: Study) -> None:
    trace(small.finish(), 1)
    sync(small.folder, store)
    (first,) = find_runs(store, PROFILES)

    files = trace(small, 1, 2, content="another trace")
    sync(small.folder, store)
    (run,) = find_runs(store, PROFILES)
    assert run.info.run_id == first.info.run_id
    summary = fetch(f"runs:/{run.info.run_id}/cohort-1.txt", store, tmp_path)
    assert summary.read_bytes() == files["cohort-1.txt"]


def test_a_run_with_traces_that_are_gone_is_superseded(store: Store, small: Study) -> None:
    trace(small.finish(), 1, 2)
    sync(small.folder, store)
    (first,) = find_runs(store, PROFILES)

    for path in small.files.profiles.glob("cohort-2.*"):
        path.unlink()
    sync(small.folder, store)
    (run,) = find_runs(store, PROFILES)
    assert run.info.run_id != first.info.run_id
    assert file_names(store, run) == {"cohort-1.json.gz", "cohort-1.txt"}


def test_a_copied_workspace_shares_the_run_of_the_traces_it_was_copied_with(
    tmp_path: Path, store: Store
) -> None:
    study = Study(tmp_path / "first").finish()
    trace(study, 1)
    sync(study.folder, store)
    (first,) = find_runs(store, PROFILES)

    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    sync(tmp_path / "copy/small", store)
    (shared,) = find_runs(store, PROFILES)
    assert shared.info.run_id == first.info.run_id
    assert len(shared.data.tags["kdbench.workspace"].split()) == 2

    # Later traces of one of the two leave the run of the other as it is.
    trace(study, 1, content="another trace")
    sync(study.folder, store)
    sync(tmp_path / "copy/small", store)
    runs = find_runs(store, PROFILES)
    assert len(runs) == 2
    assert {len(run.data.tags["kdbench.workspace"].split()) for run in runs} == {1}


def test_a_store_that_refuses_a_trace_has_everything_else(
    store: Store, small: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace(small.finish(), 1)
    mlflow = import_mlflow()
    log_artifact = mlflow.MlflowClient.log_artifact

    def refused(client: Any, run_id: str, path: str, *others: Any) -> None:
        if path.endswith(".gz"):
            raise mlflow.exceptions.MlflowException("the file is too large")
        log_artifact(client, run_id, path, *others)

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", refused)
    with pytest.raises(TrackingError, match="the file is too large"):
        sync(small.folder, store)
    monkeypatch.undo()
    assert counts(sync(small.folder, store)) == (0, 1, 3)


def test_no_trace_is_written_while_a_process_trains_the_study(store: Store, small: Study) -> None:
    trace(small.finish(), 1)
    with locked(small.folder):
        sync(small.folder, store)
    assert find_runs(store, PROFILES) == []
    sync(small.folder, store)
    assert len(find_runs(store, PROFILES)) == 1
