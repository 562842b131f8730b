"""What MLflow holds of searches after a sync, whatever happened in between."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmark import locks
from benchmark.errors import InputError, TrackingError
from benchmark.files import write_json
from benchmark.tracking.client import Client, import_mlflow
from benchmark.tracking.runs import runs
from benchmark.tracking.search_views import TABLE
from benchmark.tracking.sync import sync
from benchmark.tracking.sync_search import sync_search
from benchmark.tracking.tags import NOTE, SYNCED
from tests.support.journalled import START, Study, mlflow_client, store_from
from tests.support.journalled import counts as sync_counts
from tests.support.searched import (
    KEY,
    SEEDS,
    Search,
    counts,
    find_experiment,
    find_runs,
    saved_view,
    snapshot,
)

pytestmark = pytest.mark.mlflow


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path / "searched" / "search")


def new_store(template, folder):
    folder.mkdir()
    return store_from(template, folder)


def test_a_folder_without_searches_makes_nothing(tmp_path, store):
    assert sync_search(tmp_path / "none", store) == {}
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "empty" / "other.json", {})
    assert sync_search(tmp_path / "empty", store) == {}


def test_a_damaged_record_is_named(store, search):
    search.record_path.write_text("{")
    with pytest.raises(InputError, match=f"{KEY}.json: .*kdbench tune"):
        sync_search(search.folder, store)


def test_the_sync_of_a_study_leaves_trials_and_reports_alone(tmp_path, store, search):
    search.record["experiment"] = "kd/small"
    search.finish()
    sync_search(search.folder, store)
    study = Study(tmp_path)

    synced = sync(study.folder, store)
    assert sync_counts(synced) == (0, 0, 0)
    recorded = mlflow_client(store).search_runs([synced.experiment_id])
    kinds = [run.data.tags["kdbench.kind"] for run in recorded]
    assert sorted(kinds) == ["report", *["trial"] * 5]
    assert runs("kd/small", store).empty


def test_an_unchanged_sync_writes_nothing_to_the_store(tmp_path, store, search):
    search.finish()
    sync_search(search.folder, store)
    before = store.database.read_bytes()
    files = sorted((tmp_path / "artifacts").rglob("*"))

    assert counts(sync_search(search.folder, store)) == (0, 0, 6)
    assert store.database.read_bytes() == before
    assert sorted((tmp_path / "artifacts").rglob("*")) == files


def test_syncing_after_every_step_gives_what_syncing_once_gives(tmp_path, store, template):
    often = Search(tmp_path / "often")
    with locks.locked(often.folder):
        for number in range(2):
            often.ask(**{"ls(kd).temperature": 4.0 + number})
            for seed in SEEDS:
                often.start(number, seed)
                for epoch in range(2):
                    often.epoch(number, seed, epoch)
                    sync_search(often.save().folder, store)
                often.end(number, seed)
            often.tell(number)
            sync_search(often.save().folder, store)

    once = new_store(template, tmp_path / "once")
    sync_search(often.folder, once)
    assert snapshot(store) == snapshot(once)


def dying(call, after):
    """A call that is killed after it has worked some times."""
    left = after

    def counted(*arguments, **named):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return call(*arguments, **named)

    return counted


def test_killed_before_any_call_to_mlflow_the_next_sync_completes_it(
    tmp_path, template, search, monkeypatch
):
    search.finish()
    whole = new_store(template, tmp_path / "whole")
    sync_search(search.folder, whole)
    expected = snapshot(whole)

    killed, finished = 0, False
    while not finished:
        store = new_store(template, tmp_path / f"killed-{killed}")
        with monkeypatch.context() as patch:
            patch.setattr(Client, "_call", dying(Client._call, killed))
            try:
                sync_search(search.folder, store)
                finished = True
            except KeyboardInterrupt:
                pass
        sync_search(search.folder, store)
        assert snapshot(store) == expected
        killed += 5
    assert killed > 20


def test_a_store_that_fails_is_reported_and_completed_later(store, search, monkeypatch):
    search.finish()

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, "log_batch", fail)
        with pytest.raises(TrackingError, match="disk full"):
            sync_search(search.folder, store)
    assert sum(counts(sync_search(search.folder, store))) == 6


def test_a_trial_that_is_trained_again_gets_a_new_run_and_the_old_one_is_superseded(store, search):
    search.finish()
    sync_search(search.folder, store)
    before = [run.info.run_id for run in find_runs(store, "trial")]

    shutil.rmtree(search.journal(1, 1000).parent)
    search.start(1, 1000, at=START + 50_000)
    for epoch in range(2):
        search.epoch(1, 1000, epoch, at=START + 50_000)
    for expected in ((1, 1, 4), (0, 0, 6)):
        assert counts(sync_search(search.folder, store)) == expected

    after = [run.info.run_id for run in find_runs(store, "trial")]
    changed = [old != new for old, new in zip(before, after, strict=True)]
    assert changed == [False, True, False, False, False]
    assert [run.info.run_id for run in find_runs(store, "superseded")] == [before[1]]


def test_a_trial_whose_count_of_epochs_was_edited_is_written_again(store, search):
    search.finish()
    sync_search(search.folder, store)
    before = snapshot(store)
    run = find_runs(store, "trial")[1]
    mlflow_client(store).set_tag(run.info.run_id, SYNCED, "many epochs")

    assert counts(sync_search(search.folder, store)) == (0, 1, 5)
    assert snapshot(store) == before


def test_a_trial_whose_finished_journal_was_cut_is_named_and_its_run_stays_as_it_is(store, search):
    search.finish()
    for seed in SEEDS:
        search.finished(1, seed)
    sync_search(search.folder, store)
    before = snapshot(store)

    journal = search.journal(1, SEEDS[0])
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-2]))
    warnings: list[str] = []
    synced = sync_search(search.folder, store, warn=warnings.append)

    (warning,) = warnings
    problem = f"{journal}: has lost or changed records since the cell was finished"
    assert warning.startswith(f"{search.record['experiment']}, trial 1: {problem}; ")
    assert warning.endswith("; its run stays as it is")
    assert sum(counts(synced)) == 5
    assert snapshot(store) == before


def test_trials_that_have_left_the_record_are_superseded(store, search):
    search.finish()
    sync_search(search.folder, store)
    del search.trials[2:]
    search.save()
    assert counts(sync_search(search.folder, store)) == (0, 4, 2)
    assert len(find_runs(store, "trial")) == 2
    assert counts(sync_search(search.folder, store)) == (0, 0, 3)


def test_of_two_searches_on_the_same_row_the_newer_one_has_the_description_and_views(store, search):
    newer = Search(search.folder, "0" * 12, gained="The newer one.")
    for each, moment in ((search.finish(), 1), (newer.finish(), 2)):
        os.utime(each.record_path, (moment, moment))

    assert counts(sync_search(search.folder, store)) == (12, 0, 0)
    assert len(find_runs(store, "report")) == 2
    assert find_experiment(store).tags[NOTE].startswith("The newer one.")
    assert "0" * 12 in saved_view(store, TABLE)["state"]["searchFilter"]

    before = store.database.read_bytes()
    assert counts(sync_search(search.folder, store)) == (0, 0, 12)
    assert store.database.read_bytes() == before
