"""What MLflow shows of searches after their records and journals were synced to it, whatever happened in between."""

from __future__ import annotations

import json
import math
import os
import shutil

import pytest

from benchmark import locks
from benchmark.errors import InputError, TrackingError
from benchmark.files import write_json
from benchmark.tracking import client as tracking_client
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import store as tracking_store
from benchmark.tracking import sync, views
from benchmark.tracking import sync_search as tracking_sync_search
from benchmark.tracking.sync_search import (
    COORDINATES,
    CURVES,
    NOTE,
    TABLE,
    addresses,
    search_views,
    sync_search,
)
from tests.support.records import append

START = 1_700_000_000_000
KEY = "a1b2c3d4e5f6"
SEEDS = (1000, 1001)
PUBLISHED = {"ls(kd).temperature": 4.0, "ls(kd).weight": 0.9, "at.variant": "mean"}
PNG = b"\x89PNG\r\n\x1a\n"


class Search:
    """A search's record and journals as `kdbench tune` leaves them, written step by step."""

    def __init__(self, folder, key=KEY, **changes):
        self.folder, self.key = folder, key
        folder.mkdir(parents=True, exist_ok=True)
        self.trials = []
        self.record = {
            "key": key, "study": "small", "experiment": "kd/small/search/a-b/ls(kd)+at", "pair": "a-b",
            "row": "ls(kd)+at", "method": "ls(kd)+at", "teacher": "resnet18", "student": "test_byobnet",
            "dataset": "digits", "objective": "val/acc1", "maximise": True, "seeds": list(SEEDS), "budget": 5,
            "sampler": "tpe", "published": PUBLISHED, "trials": self.trials, "best": None,
            "space": {"ls(kd).temperature": "log-uniform 1 to 20", "ls(kd).weight": "uniform 0.1 to 10",
                      "at.variant": "one of mean, sum"},
            "figures": [f"{key}/history.png", f"{key}/never.png"], "gained": "Best of so many\ntrials.", **changes,
        }  # fmt: skip
        (folder / key).mkdir(exist_ok=True)
        (folder / key / "history.png").write_bytes(PNG)

    def save(self):
        write_json(self.folder / f"{self.key}.json", self.record)
        return self

    def ask(self, **params):
        number = len(self.trials)
        self.trials.append(
            {"number": number, "state": "RUNNING", "value": None, "values": {}, "params": {**PUBLISHED, **params},
             "source": "search" if number else "published", "cells": {}, "compute_tmac": 0.25}
        )  # fmt: skip
        return number

    def journal(self, number, seed):
        place = f"cells/{self.key[:3]}{number}-{seed}"
        (self.folder / place).mkdir(parents=True, exist_ok=True)
        self.trials[number]["cells"][str(seed)] = place
        return self.folder / place / "journal.jsonl"

    def start(self, number, seed, at=START):
        append(self.journal(number, seed), "start", time=at, epoch=0, environment={})

    def epoch(self, number, seed, epoch, at=START, **metrics):
        known = {"loss/total": 1.0 / (epoch + 1), "val/acc1": goal(number, seed, epoch), **metrics}
        append(
            self.journal(number, seed),
            "epoch",
            time=at + 1000 * (epoch + 1) + seed,
            epoch=epoch,
            metrics=known,
        )

    def train(self, number, epochs=2, seeds=SEEDS, end="trained"):
        for seed in seeds:
            self.start(number, seed)
            for epoch in range(epochs):
                self.epoch(number, seed, epoch)
            last = (
                {"sha256": "0" * 64, "epoch": epochs - 1}
                if end == "trained"
                else {"reason": "loss kd is nan"}
            )
            if end:
                append(self.journal(number, seed), end, time=START + 9000 + seed, **last)

    def tell(self, number, state="COMPLETE"):
        trial = self.trials[number] | {"state": state}
        if state == "COMPLETE":
            trial["values"] = {str(seed): goal(number, seed, 1) for seed in SEEDS}
            trial["value"] = sum(trial["values"].values()) / len(SEEDS)
        self.trials[number] = trial
        told = [one for one in self.trials if one["value"] is not None]
        self.record["best"] = max(told, key=lambda one: one["value"])["number"] if told else None

    def finish(self):
        """Two complete trials, a failed one, a pruned one; one that was stopped and one that has not begun."""
        for number in range(2):
            self.train(self.ask(**{"ls(kd).temperature": 4.0 + number}))
            self.tell(number)
        self.train(self.ask(**{"at.variant": "sum"}), epochs=1, end="failed")
        self.tell(2, "FAIL")
        self.train(self.ask(), epochs=1, seeds=SEEDS[:1], end="")
        self.tell(3, "PRUNED")
        self.train(self.ask(), epochs=1, end="")
        self.ask()
        return self.save()


def goal(number, seed, epoch):
    return 50.0 + number / 3 + epoch * 7 + (seed - 1000) / 7


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database without experiments: MLflow needs seconds to make one."""
    made = tracking_store.open_store(tmp_path_factory.mktemp("template"), None)
    tracking_client.Client(made).search_experiments()
    return made.database


@pytest.fixture
def store(tmp_path, template):
    shutil.copy(template, tmp_path / "mlflow.db")
    return tracking_store.open_store(tmp_path, None)


@pytest.fixture
def search(tmp_path):
    return Search(tmp_path / "small" / "search")


def client(store):
    return tracking_client.mlflow().MlflowClient(store.uri)


def experiment(store, name="kd/small/search/a-b/ls(kd)+at"):
    return client(store).get_experiment_by_name(name)


def found(store, kind):
    runs = client(store).search_runs(
        [experiment(store).experiment_id], f"tags.`kdbench.kind` = '{kind}'"
    )
    return sorted(runs, key=lambda run: int(run.data.tags.get("trial", -1)))


def history(store, run, key):
    points = client(store).get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.timestamp, point.value) for point in points)


def everything(store):
    """All that MLflow knows of a search but the identities of runs, and when views were written."""
    runs = [
        (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time,
         dict(run.data.tags), dict(run.data.params), {key: history(store, run, key) for key in run.data.metrics},
         sorted(file.path for file in client(store).list_artifacts(run.info.run_id)))
        for kind in ("trial", "report", "superseded") for run in found(store, kind)
    ]  # fmt: skip
    tags = experiment(store).tags
    return runs, {
        k: views.unpack(v)["state"] if k.startswith(views.PREFIX) else v for k, v in tags.items()
    }


def counts(done):
    (synced,) = done.values()
    return (synced.created, synced.updated, synced.unchanged)


def plan(study, *cells):
    """A study's plan, as far as a sync reads it."""
    return {
        "study": study, "question": "", "experiment": f"kd/{study}", "dataset": "digits", "select": "last",
        "baseline": None, "pairs": ["a-b"], "methods": ["kd"], "seeds": [0], "not_applicable": {},
        "cells": list(cells), "teachers": [],
    }  # fmt: skip


def view(store, key):
    return views.unpack(experiment(store).tags[views.PREFIX + key])


def test_a_trial_holds_its_settings_and_the_values_of_its_seeds(store, search):
    search.finish()
    done = sync_search(search.folder, store)
    assert list(done) == ["kd/small/search/a-b/ls(kd)+at"]
    assert counts(done) == (6, 0, 0)
    run = found(store, "trial")[1]
    assert run.info.run_name == "trial 1"
    assert (run.info.status, run.info.start_time, run.info.end_time) == (
        "FINISHED",
        START,
        START + 9000 + 1001,
    )
    assert run.data.params == {
        "ls.kd.temperature": "5.0",
        "ls.kd.weight": "0.9",
        "at.variant": "mean",
    }
    assert run.data.metrics["objective"] == search.trials[1]["value"]
    assert run.data.metrics["objective/seed_1000"] == goal(1, 1000, 1)
    assert run.data.metrics["objective/seed_1001"] == goal(1, 1001, 1)
    assert run.data.metrics["cost/compute_tmac"] == 0.25
    tags = {key: value for key, value in run.data.tags.items() if key != "kdbench.synced"}
    assert tags == {
        "kdbench.kind": "trial", "kdbench.schema": "1", "kdbench.search": KEY, "study": "small", "dataset": "digits",
        "pair": "a-b", "method": "ls(kd)+at", "teacher": "resnet18", "student": "test_byobnet", "trial": "1",
        "source": "search", "state": "complete", "cells": "cells/a1b1-1000, cells/a1b1-1001",
        "optuna.study": KEY, "optuna.trial": "1", "mlflow.runName": "trial 1",
    }  # fmt: skip
    assert found(store, "trial")[0].info.run_name == "trial 0 (published)"


def test_curves_are_means_over_the_seeds_where_all_have_the_epoch_and_the_metric(store, search):
    search.ask()
    search.train(0, epochs=1, end="")
    search.epoch(0, 1000, 1)
    search.epoch(0, 1000, 2, only=1.0, broken=1.0)
    search.epoch(0, 1001, 2, broken=math.nan)
    search.tell(0, "FAIL")
    search.save()
    sync_search(search.folder, store)
    (run,) = found(store, "trial")
    expected = [(step + 1, START + 1000 * (step + 1) + 1001, (goal(0, 1000, step) + goal(0, 1001, step)) / 2)
                for step in (0, 2)]  # fmt: skip
    assert history(store, run, "val/acc1") == expected
    assert not {"only", "broken"} & set(run.data.metrics)


def test_a_trial_in_progress_waits_for_its_second_seed(store, search):
    search.ask()
    search.start(0, 1000)
    search.epoch(0, 1000, 0)
    search.save()
    with locks.locked(search.folder):
        sync_search(search.folder, store)
        assert found(store, "trial")[0].data.metrics == {}
        search.start(0, 1001)
        search.epoch(0, 1001, 0)
        search.save()
        assert counts(sync_search(search.folder, store)) == (0, 2, 0)
    assert [point[2] for point in history(store, found(store, "trial")[0], "val/acc1")] == [
        (goal(0, 1000, 0) + goal(0, 1001, 0)) / 2
    ]


def test_statuses_of_trials(store, search):
    search.finish()
    with locks.locked(search.folder):
        sync_search(search.folder, store)
    runs = found(store, "trial")
    seen = [(run.info.status, run.data.tags["state"]) for run in runs]
    done = ("FINISHED", "complete")
    assert seen == [done, done, ("FAILED", "failed"), ("KILLED", "pruned"), ("RUNNING", "running")]
    assert runs[2].data.tags["reason"] == "loss kd is nan"
    assert "objective" not in runs[3].data.metrics
    assert runs[3].data.metrics["val/acc1"] == goal(3, 1000, 0)
    assert runs[4].info.end_time is None
    sync_search(search.folder, store)
    assert (found(store, "trial")[4].info.status, found(store, "trial")[4].data.tags["state"]) == (
        "KILLED", "interrupted",
    )  # fmt: skip


def test_a_trial_that_failed_before_its_journal_began_is_shown(store, search):
    search.tell(search.ask(), "FAIL")
    search.save()
    for expected in ((2, 0, 0), (0, 0, 2)):
        assert counts(sync_search(search.folder, store)) == expected
    assert found(store, "trial")[0].info.status == "FAILED"


def test_no_trial_is_nested_and_the_report_is_not_among_them(store, search):
    search.finish()
    sync_search(search.folder, store)
    runs = found(store, "trial")
    assert len(runs) == 5
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)
    (report,) = found(store, "report")
    assert report.info.status == "FINISHED"
    assert report.data.metrics == {}


def test_the_report_holds_pictures_record_and_best_settings_and_is_updated(tmp_path, store, search):
    search.finish()
    sync_search(search.folder, store)
    (run,) = found(store, "report")
    files = {file.path for file in client(store).list_artifacts(run.info.run_id)}
    assert files == {"history.png", "search.json", "best.md"}
    place = tmp_path / "fetched"
    place.mkdir()
    fetched = tracking_runs.fetch(f"runs:/{run.info.run_id}/search.json", store, place)
    assert json.loads(fetched.read_text()) == search.record
    text = tracking_runs.fetch(f"runs:/{run.info.run_id}/best.md", store, place).read_text()
    assert text.splitlines()[0] == "Best of so many trials."
    assert "| ls(kd).temperature | 4 | 5 | log-uniform 1 to 20 |" in text
    assert "5 of 5" not in text
    assert "2 complete, 1 failed, 1 pruned, 2 not ended" in text
    assert experiment(store).tags[NOTE] == run.data.tags[NOTE] == text
    search.record["gained"] = "Better now."
    (search.folder / KEY / "never.png").write_bytes(PNG)
    search.save()
    assert counts(sync_search(search.folder, store)) == (0, 1, 5)
    (again,) = found(store, "report")
    assert again.info.run_id == run.info.run_id
    assert {file.path for file in client(store).list_artifacts(run.info.run_id)} == files | {
        "never.png"
    }
    assert experiment(store).tags[NOTE].startswith("Better now.\n")


def test_a_folder_without_searches_makes_nothing(tmp_path, store):
    assert sync_search(tmp_path / "none", store) == {}
    (tmp_path / "empty").mkdir()
    write_json(tmp_path / "empty" / "other.json", {})
    assert sync_search(tmp_path / "empty", store) == {}


def test_a_damaged_record_is_named(store, search):
    (search.folder / f"{KEY}.json").write_text("{")
    with pytest.raises(InputError, match=f"{KEY}.json: .*kdbench tune"):
        sync_search(search.folder, store)


def test_names_of_wrapped_methods_are_ones_that_mlflow_takes(tmp_path, store):
    folder = tmp_path / "wrapped"
    cell = {
        "id": "c" * 13, "pair": "a-b", "row": "ls(dkd)", "method": "ls(dkd)", "settings": {"alpha": 1.0}, "seed": 0,
        "teacher": "resnet18", "teacher_id": "f" * 12, "student": "s", "folder": "cells/c", "recipe": {},
    }  # fmt: skip
    (folder / "cells" / "c").mkdir(parents=True)
    write_json(folder / "plan.json", plan("wrapped", cell))
    journal = folder / "cells" / "c" / "journal.jsonl"
    append(journal, "start", time=START, epoch=0, environment={})
    append(journal, "epoch", time=START + 1, epoch=0, metrics={"loss/ls(dkd)/target": 1.0})
    identity = sync.sync(folder, store).experiment_id
    (run,) = client(store).search_runs([identity])
    assert run.data.params == {"ls.dkd.alpha": "1.0"}
    assert run.data.metrics == {"loss/ls.dkd/target": 1.0}


def test_the_sync_of_a_study_leaves_trials_and_reports_alone(tmp_path, store, search):
    search.record["experiment"] = "kd/small"
    search.finish()
    sync_search(search.folder, store)
    write_json(tmp_path / "small" / "plan.json", plan("small"))
    done = sync.sync(tmp_path / "small", store)
    assert (done.created, done.updated, done.unchanged) == (0, 0, 0)
    kinds = [
        run.data.tags["kdbench.kind"] for run in client(store).search_runs([done.experiment_id])
    ]
    assert sorted(kinds) == ["report", *["trial"] * 5]
    assert tracking_runs.runs("kd/small", store).empty


def test_an_unchanged_sync_writes_nothing_to_the_store(store, search):
    search.finish()
    sync_search(search.folder, store)
    before, files = (
        store.database.read_bytes(),
        sorted((store.database.parent / "artifacts").rglob("*")),
    )
    assert counts(sync_search(search.folder, store)) == (0, 0, 6)
    assert store.database.read_bytes() == before
    assert sorted((store.database.parent / "artifacts").rglob("*")) == files


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
                often.journal(number, seed).append(
                    "trained", time=START + 9000 + seed, epoch=1, sha256="0" * 64
                )
            often.tell(number)
            sync_search(often.save().folder, store)
    (tmp_path / "fresh").mkdir()
    shutil.copy(template, tmp_path / "fresh" / "mlflow.db")
    fresh = tracking_store.open_store(tmp_path / "fresh", None)
    sync_search(often.folder, fresh)
    assert everything(store) == everything(fresh)


class Scratch:
    """A store of its own, and a way to be killed in it."""

    def __init__(self, folder, template):
        folder.mkdir()
        shutil.copy(template, folder / "mlflow.db")
        self.store = tracking_store.open_store(folder, None)

    @staticmethod
    def dying(patiently, after):
        left = [after]

        def call(*arguments, **named):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return patiently(*arguments, **named)

        return call


def test_killed_before_any_call_to_mlflow_the_next_sync_completes_it(
    tmp_path, template, search, monkeypatch
):
    search.finish()
    whole = Scratch(tmp_path / "whole", template)
    sync_search(search.folder, whole.store)
    wanted, killed = everything(whole.store), 0
    while True:
        one = Scratch(tmp_path / f"killed-{killed}", template)
        with monkeypatch.context() as patch:
            patch.setattr(
                tracking_client.Client,
                "_patiently",
                one.dying(tracking_client.Client._patiently, killed),
            )
            try:
                sync_search(search.folder, one.store)
                break
            except KeyboardInterrupt:
                pass
        sync_search(search.folder, one.store)
        assert everything(one.store) == wanted
        killed += 3
    assert killed > 20


def test_a_store_that_fails_is_told_and_completed_later(store, search, monkeypatch):
    search.finish()

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_client.mlflow().MlflowClient, "log_batch", fail)
        with pytest.raises(TrackingError, match="disk full"):
            sync_search(search.folder, store)
    assert sum(counts(sync_search(search.folder, store))) == 6


def test_a_trial_trained_again_gets_a_new_run_and_the_old_one_is_superseded(store, search):
    search.finish()
    sync_search(search.folder, store)
    before = found(store, "trial")
    shutil.rmtree(search.folder / "cells" / "a1b1-1000")
    search.start(1, 1000, at=START + 50_000)
    for epoch in range(2):
        search.epoch(1, 1000, epoch, at=START + 50_000)
    for expected in ((1, 1, 4), (0, 0, 6)):
        assert counts(sync_search(search.folder, store)) == expected
    after = found(store, "trial")
    changed = [old.info.run_id != new.info.run_id for old, new in zip(before, after, strict=True)]
    assert changed == [False, True, False, False, False]
    assert [run.info.run_id for run in found(store, "superseded")] == [before[1].info.run_id]


def test_trials_that_have_left_the_record_are_superseded(store, search):
    search.finish()
    sync_search(search.folder, store)
    del search.trials[2:]
    search.save()
    assert counts(sync_search(search.folder, store)) == (0, 4, 2)
    assert len(found(store, "trial")) == 2
    assert counts(sync_search(search.folder, store)) == (0, 0, 3)


def test_of_two_searches_on_the_same_row_the_newer_one_has_the_description_and_views(store, search):
    newer = Search(search.folder, "0" * 12, gained="The newer one.")
    for each, moment in ((search.finish(), 1), (newer.finish(), 2)):
        os.utime(each.folder / f"{each.key}.json", (moment, moment))
    assert counts(sync_search(search.folder, store)) == (12, 0, 0)
    assert len(found(store, "report")) == 2
    assert experiment(store).tags[NOTE].startswith("The newer one.")
    assert "0" * 12 in view(store, TABLE)["state"]["searchFilter"]
    before = store.database.read_bytes()
    assert counts(sync_search(search.folder, store)) == (0, 0, 12)
    assert store.database.read_bytes() == before


def test_the_views_show_the_settings_and_the_objective(store, search):
    search.finish()
    sync_search(search.folder, store)
    names = ["at.variant", "ls.kd.temperature", "ls.kd.weight"]
    state = view(store, COORDINATES)["state"]
    assert (
        state["searchFilter"]
        == f"tags.`kdbench.kind` = 'trial' and tags.`kdbench.search` = '{KEY}'"
    )
    assert (state["orderByKey"], state["orderByAsc"], state["runsHiddenMode"]) == (
        "metrics.`objective`",
        False,
        "SHOWALL",
    )
    charts = [chart for chart in state["compareRunCharts"] if not chart["deleted"]]
    kinds = [chart["type"] for chart in charts]
    assert kinds == ["PARALLEL", "CONTOUR", "SCATTER", "SCATTER", "SCATTER"]
    assert charts[0]["selectedParams"] == names
    assert charts[0]["selectedMetrics"] == ["objective"]
    assert [charts[1][axis] for axis in ("xaxis", "yaxis", "zaxis")] == [
        {"key": "ls.kd.temperature", "type": "PARAM"}, {"key": "ls.kd.weight", "type": "PARAM"},
        {"key": "objective", "type": "METRIC"},
    ]  # fmt: skip
    assert [chart["xaxis"]["key"] for chart in charts[2:]] == names
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in charts} == sections
    run = found(store, "trial")[0]
    assert set(names) == set(run.data.params)
    hidden = {chart["metricKey"] for chart in state["compareRunCharts"] if chart["deleted"]}
    assert hidden == set(run.data.metrics)


def test_the_table_has_the_columns_of_a_search_and_the_curves_begin_with_the_objective(
    store, search
):
    search.finish()
    sync_search(search.folder, store)
    state = view(store, TABLE)["state"]
    assert state["selectedColumns"] == [
        "metrics.`objective`", "metrics.`objective/seed_1000`", "metrics.`objective/seed_1001`", "params.`at.variant`",
        "params.`ls.kd.temperature`", "params.`ls.kd.weight`", "tags.`source`", "tags.`state`",
        "metrics.`cost/compute_tmac`",
    ]  # fmt: skip
    assert state["groupBy"] is None
    charts = [
        chart for chart in view(store, CURVES)["state"]["compareRunCharts"] if not chart["deleted"]
    ]
    assert [(chart["type"], chart["metricKey"]) for chart in charts] == [
        ("LINE", "val/acc1"),
        ("LINE", "loss/total"),
    ]


def test_where_less_is_better_the_lowest_comes_first(search):
    record = {**search.record, "maximise": False, "objective": "val/loss"}
    assert all(one.state["orderByAsc"] for one in search_views(KEY, record, set()))


@pytest.mark.parametrize("broken", ["pack", "tag"])
def test_a_view_that_cannot_be_written_is_only_a_warning(store, search, monkeypatch, broken):
    search.finish()
    mlflow_client, told = tracking_client.mlflow().MlflowClient, []
    write = mlflow_client.set_experiment_tag

    def refuse(self, experiment_id, key, value):
        if key.startswith(views.PREFIX):
            raise OSError("tag too long")
        return write(self, experiment_id, key, value)

    with monkeypatch.context() as patch:
        if broken == "pack":
            patch.setattr(tracking_sync_search.views, "pack", lambda *_: 1 / 0)
        else:
            patch.setattr(mlflow_client, "set_experiment_tag", refuse)
        assert counts(sync_search(search.folder, store, warn=told.append)) == (6, 0, 0)
    assert len(told) == 1
    assert "saved views" in told[0]
    assert not any(key.startswith(views.PREFIX) for key in experiment(store).tags)
    assert counts(sync_search(search.folder, store, warn=told.append)) == (0, 0, 6)
    assert len(told) == 1
    assert view(store, TABLE)["name"] == "Search: all trials"


def test_a_view_keeps_its_tag_until_it_changes():
    made = views.table(
        "board",
        "Leaderboard",
        "",
        [views.metric("test/acc1")],
        views.metric("test/acc1"),
        groups=["method"],
    )
    assert made.tag == "mlflow.sharedViewState.board"
    first = views.pack(made, None, 1)
    assert views.pack(made, first, 2) == first
    changed = views.charted(made, {"Scores": [views.bar("test/acc1")], "None": []})
    second = views.unpack(views.pack(changed, first, 3))
    assert (second["createdAt"], second["updatedAt"], second["name"]) == (1, 3, "Leaderboard")
    assert second["state"]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "method"}]
    assert [section["name"] for section in second["state"]["compareRunSections"]] == ["Scores"]


@pytest.mark.parametrize(
    "tag",
    ["", "[]", "{}", '{"state": 3}', '{"state": "deflate;####"}', '{"state": "deflate;AAAA"}'],
)
def test_a_tag_that_is_not_understood_is_written_anew(tag):
    assert views.unpack(tag) == {}
    made = views.table("board", "Leaderboard", "", [], views.metric("x"))
    assert views.unpack(views.pack(made, tag, 5))["createdAt"] == 5


def test_addresses_carry_the_mode_and_the_view_after_the_hash_and_no_password():
    found = addresses("http://me:secret@host:5000/", "7")
    start = "http://host:5000/#/experiments/7/runs?workflowType=machine_learning"
    assert found == {
        "coordinates": f"{start}&compareRunsMode=CHART&viewStateShareKey={COORDINATES}",
        "trials": f"{start}&viewStateShareKey={TABLE}",
        "curves": f"{start}&compareRunsMode=CHART&viewStateShareKey={CURVES}",
    }
