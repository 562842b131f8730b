"""The report of a search: figures, record and best settings."""

from __future__ import annotations

import json

import pytest

from benchmark.tracking.runs import fetch
from benchmark.tracking.sync_search import sync_search
from benchmark.tracking.tags import NOTE
from tests.support.journalled import file_names
from tests.support.searched import PNG, Search, counts, find_experiment, find_runs

pytestmark = pytest.mark.mlflow


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path / "small" / "search")


def test_no_trial_is_nested_and_the_report_is_not_among_them(store, search):
    search.finish()
    sync_search(search.folder, store)
    trials = find_runs(store, "trial")
    assert len(trials) == 5
    assert not any("mlflow.parentRunId" in run.data.tags for run in trials)

    (report,) = find_runs(store, "report")
    assert report.info.status == "FINISHED"
    assert report.data.metrics == {}


def test_the_report_holds_figures_record_and_best_settings(tmp_path, store, search):
    search.finish()
    sync_search(search.folder, store)
    (run,) = find_runs(store, "report")
    assert file_names(store, run) == {"history.png", "search.json", "best.md"}

    record = fetch(f"runs:/{run.info.run_id}/search.json", store, tmp_path)
    assert json.loads(record.read_text()) == search.record

    text = fetch(f"runs:/{run.info.run_id}/best.md", store, tmp_path).read_text()
    assert text.splitlines()[0] == "Best of so many trials."
    assert "| ls(kd).temperature | 4 | 5 | log-uniform 1 to 20 |" in text
    assert "5 of 5" not in text
    assert "2 complete, 1 failed, 1 pruned, 2 not finished" in text
    assert find_experiment(store).tags[NOTE] == run.data.tags[NOTE] == text


def test_a_new_result_updates_the_same_report(store, search):
    search.finish()
    sync_search(search.folder, store)
    (before,) = find_runs(store, "report")
    files = file_names(store, before)

    search.record["gained"] = "Better now."
    (search.files.figures(search.key) / "never.png").write_bytes(PNG)
    search.save()
    assert counts(sync_search(search.folder, store)) == (0, 1, 5)

    (after,) = find_runs(store, "report")
    assert after.info.run_id == before.info.run_id
    assert file_names(store, after) == files | {"never.png"}
    assert find_experiment(store).tags[NOTE].startswith("Better now.\n")


def test_a_report_says_that_no_trial_is_complete(store, search):
    search.tell(search.ask(), "FAIL")
    search.save()
    sync_search(search.folder, store)
    note = find_experiment(store).tags[NOTE]
    assert "| setting | published | none complete | searched |" in note
    assert "| ls(kd).temperature | 4 | - | log-uniform 1 to 20 |" in note
