"""What MLflow holds after journals were synced to it, whatever happened in between."""

from __future__ import annotations

import base64
import http.client
import json
import math
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from benchmark import server, track
from benchmark.errors import InputError
from benchmark.journal import Journal, write_json
from benchmark.leaderboard import leaderboard

ROOT = Path(__file__).parents[1]
START = 1_700_000_000_000
SETTINGS = {
    "student": {},
    "kd": {"temperature": 4.0, "weight": 0.9, "ce": 0.1},
    "kd+at": {"kd": {"temperature": 4.0}, "at": {"beta": 1000.0, "p": 2}, "ce": 1.0},
}
ACCURACY = {"student": 90.0, "kd": 92.0, "kd+at": 93.0, "teacher": 97.0}
CANARY = "canary-9f3b"


class Study:
    """A study's folder as the engine leaves it, written step by step."""

    def __init__(self, workspace, name="small", rows=("student", "kd"), seeds=(0,)):
        self.folder = workspace / name
        self.folder.mkdir(parents=True)
        self.plan = {
            "study": name, "question": "Which is best?", "experiment": f"kd/{name}", "dataset": "digits",
            "select": "last", "baseline": "student", "pairs": ["a-b"], "methods": list(rows), "seeds": list(seeds),
            "not_applicable": {},
            "cells": [self.cell(row, seed) for seed in seeds for row in rows],
            "teachers": [{"id": "t" * 12, "pairs": ["a-b"], "model": "resnet18", "teacher_id": "f" * 12, "seed": 0,
                          "folder": f"teachers/{'t' * 12}", "recipe": {"epochs": 2, "lr": 0.05}}],
        }  # fmt: skip
        self.save()
        write_json(self.folder / "split.json", {"train": [0, 1], "val": [2]})
        (self.folder / "study.yaml").write_text("name: small\n")

    @staticmethod
    def cell(row, seed):
        identity = f"{row}-{seed}".encode().hex()[:12].ljust(12, "0") + str(seed)
        return {
            "id": identity, "pair": "a-b", "row": row, "method": row, "settings": SETTINGS[row], "seed": seed,
            "teacher": "resnet18", "teacher_id": "f" * 12, "student": "test_byobnet", "folder": f"cells/{identity}",
            "recipe": {"epochs": 2, "batch_size": 32, "lr": 0.05},
        }  # fmt: skip

    def save(self):
        write_json(self.folder / "plan.json", self.plan)

    def path(self, row, seed=0):
        if row == "teacher":
            return self.folder / self.plan["teachers"][0]["folder"]
        return self.folder / self.cell(row, seed)["folder"]

    def start(self, row, seed=0, at=START, epoch=0, **environment):
        path = self.path(row, seed)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "config.json", {"row": row})
        told = {"python": "3.11", "git_commit": "abc", **environment}
        self.add(row, seed, "start", time=at, epoch=epoch, environment=told)

    def add(self, row, seed, kind, **content):
        Journal(self.path(row, seed) / "journal.jsonl").append(kind, **content)

    def epoch(self, row, number, seed=0, at=START):
        loss = 1.0 / (number + 1)
        metrics = {"loss/total": loss, "val/acc1": 50.0 + number}
        self.add(row, seed, "epoch", time=at + 1000 * (number + 1), epoch=number, metrics=metrics)

    def final(self, row, seed=0, at=START):
        self.add(row, seed, "trained", time=at + 8000, epoch=1, sha256="0" * 64)
        metrics = {"test/acc1": ACCURACY[row] + seed, "test/f1": 0.9, "cost/params": 1e4}
        self.add(row, seed, "final", time=at + 9000, metrics=metrics)

    def train(self, row, seed=0, at=START):
        self.start(row, seed, at)
        self.epoch(row, 0, seed, at)
        self.epoch(row, 1, seed, at)
        self.final(row, seed, at)

    def finish(self):
        self.train("teacher")
        for cell in self.plan["cells"]:
            self.train(cell["row"], cell["seed"])
        return self


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A database without experiments: MLflow needs seconds to make one."""
    made = track.store(tmp_path_factory.mktemp("template"), None)
    track._mlflow().MlflowClient(made.uri).search_experiments()
    return made.database


@pytest.fixture
def store(tmp_path, template):
    shutil.copy(template, tmp_path / "mlflow.db")
    return track.store(tmp_path, None)


@pytest.fixture
def small(tmp_path):
    return Study(tmp_path)


def client(store):
    return track._mlflow().MlflowClient(store.uri)


def found(store, condition="", study="small"):
    experiment = client(store).get_experiment_by_name(f"kd/{study}")
    return list(client(store).search_runs([experiment.experiment_id], condition))


def one(store, row, kind="run", study="small"):
    (run,) = found(store, f"tags.method = '{row}' and tags.`kdbench.kind` = '{kind}'", study)
    return run


def history(store, row, key):
    points = client(store).get_metric_history(one(store, row).info.run_id, key)
    return sorted((point.step, point.timestamp, point.value) for point in points)


def everything(store, study="small"):
    """All that MLflow knows of a study's runs."""
    ask = client(store)
    return {
        run.info.run_id: (
            run.info.status, run.info.start_time, run.info.end_time, run.data.tags, run.data.params,
            {key: [(p.step, p.timestamp, p.value) for p in ask.get_metric_history(run.info.run_id, key)]
             for key in run.data.metrics},
            sorted(file.path for file in ask.list_artifacts(run.info.run_id)),
        )
        for run in found(store, study=study)
    }  # fmt: skip


def counts(synced):
    return (synced.created, synced.updated, synced.unchanged)


def python(code, *arguments):
    return subprocess.Popen([sys.executable, "-W", "error", "-c", code, *map(str, arguments)], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


SYNC = """
import sys; from pathlib import Path
from benchmark import track
for folder in map(Path, sys.argv[1:]):
    track.sync(folder, track.store(folder.parent, None))
"""


def output(process):
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return text


# What a store is


def test_without_an_address_the_store_lies_in_the_workspace(tmp_path):
    made = track.store(tmp_path / "with space", None)
    assert made.uri == f"sqlite:///{tmp_path}/with space/mlflow.db"
    assert made.artifacts == f"file://{tmp_path}/with%20space/artifacts"
    assert made.database == tmp_path / "with space" / "mlflow.db"


def test_a_relative_database_is_made_absolute_and_its_artifacts_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = track.store(Path("elsewhere"), "sqlite:///sub/my.db")
    assert (made.uri, made.artifacts) == (f"sqlite:///{tmp_path}/sub/my.db", f"file://{tmp_path}/sub/artifacts")


def test_a_server_decides_where_artifacts_lie(tmp_path):
    assert track.store(tmp_path, "https://host:5000/") == track.Store("https://host:5000", None)


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "mlruns", "sqlite://", "sqlite:///", "databricks"])
def test_a_folder_is_refused_as_a_store_with_a_remedy(tmp_path, uri):
    with pytest.raises(InputError, match=r"sqlite:///path/to/mlflow\.db"):
        track.store(tmp_path, uri)


@pytest.mark.parametrize(
    "uri", [f"postgresql://me:{CANARY}@host/db", f"me:{CANARY}@host:5000", f"http:/host?key={CANARY}"]
)
def test_a_refused_address_is_named_without_its_password(tmp_path, uri):
    with pytest.raises(InputError) as caught:
        track.store(tmp_path, uri)
    assert CANARY not in str(caught.value)
    assert "***" in str(caught.value)


def test_passwords_are_masked_and_paths_are_not():
    assert track.shown("https://me:pa@ss/wo:rd@host:5000/x") == "https://***@host:5000/x"
    assert track.shown("http://host/x?token=abc&page=2") == "http://host/x?token=***&page=***"
    assert track.shown("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"
    assert CANARY not in repr(track.Store(f"http://me:{CANARY}@host", None))


def test_importing_track_imports_nothing_large():
    code = "import sys, benchmark.track; print(sorted({'mlflow', 'torch', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    assert output(python(code)) == "[]\n"


# What a sync writes


def test_a_run_holds_the_tags_params_and_files_of_its_cell(tmp_path, store):
    Study(tmp_path, rows=("kd", "kd+at")).finish()
    track.sync(tmp_path / "small", store)
    run = one(store, "kd+at")
    assert run.info.run_name == "kd+at a-b s0"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (START, START + 9000)
    assert run.data.tags == {
        "kdbench.kind": "run", "kdbench.schema": "1", "kdbench.synced": "5", "study": "small", "method": "kd+at",
        "pair": "a-b", "teacher": "resnet18", "teacher_id": "f" * 12, "student": "test_byobnet", "dataset": "digits",
        "seed": "0", "cell": Study.cell("kd+at", 0)["id"], "git_commit": "abc",
        "environment": "commit abc, Python 3.11", "fingerprint": "python 3.11", "mlflow.runName": "kd+at a-b s0",
    }  # fmt: skip
    recipe = {"recipe.epochs": "2", "recipe.batch_size": "32", "recipe.lr": "0.05"}
    assert run.data.params == {"kd.temperature": "4.0", "at.beta": "1000.0", "at.p": "2", "ce": "1.0", **recipe}
    assert one(store, "kd").data.params == {"kd.temperature": "4.0", "kd.weight": "0.9", "kd.ce": "0.1", **recipe}
    files = {file.path for file in client(store).list_artifacts(run.info.run_id)}
    assert files == {"config.json", "environment.json", "split.json", "study.yaml"}
    assert run.info.artifact_uri.startswith(f"file://{tmp_path}/artifacts/")
    assert not (tmp_path / "mlruns").exists()


def test_a_teacher_is_a_run_of_its_own_kind(store, small):
    small.plan["teachers"][0]["pairs"] = ["a-b", "a-c"]
    small.save()
    small.train("teacher")
    track.sync(small.folder, store)
    run = one(store, "teacher", "teacher")
    assert (run.data.tags["pair"], run.data.tags["teacher"]) == ("a-b, a-c", "resnet18")
    assert run.data.params == {"recipe.epochs": "2", "recipe.lr": "0.05"}
    assert run.data.metrics["test/acc1"] == 97.0


def test_curves_have_the_journals_times_and_end_at_the_number_of_epochs(store, small):
    small.train("kd")
    track.sync(small.folder, store)
    assert history(store, "kd", "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert history(store, "kd", "test/acc1") == [(2, START + 9000, 92.0)]


@pytest.mark.parametrize(
    ("accuracies", "gap"),
    [((50.0, 62.5, 61.0), 1.5), ((50.0, 61.0, 62.5), 0.0), ((60.0,), 0.0), ((None, None), None), ((60.0, None), None)],
)
def test_a_finished_run_tells_how_far_its_last_epoch_is_below_its_best_on_validation(store, small, accuracies, gap):
    small.start("kd")
    for number, value in enumerate(accuracies):
        metrics = {"loss/total": 1.0} | ({} if value is None else {"val/acc1": value})
        small.add("kd", 0, "epoch", time=START + number, epoch=number, metrics=metrics)
    track.sync(small.folder, store)
    assert track.BEST_MINUS_LAST not in one(store, "kd").data.metrics
    small.final("kd")
    track.sync(small.folder, store)
    assert one(store, "kd").data.metrics.get("val/best_minus_last") == gap
    if gap is not None:
        assert history(store, "kd", "val/best_minus_last") == [(len(accuracies), START + 9000, gap)]


def test_a_number_that_is_not_finite_is_left_out(store, small):
    small.start("kd")
    metrics = {"loss/total": math.nan, "loss/kd": math.inf, "loss/ce": 1.5}
    small.add("kd", 0, "epoch", time=START + 1, epoch=0, metrics=metrics)
    track.sync(small.folder, store)
    assert one(store, "kd").data.metrics == {"loss/ce": 1.5}


def test_cells_that_have_not_begun_make_no_run(store, small):
    small.path("student").mkdir(parents=True)
    assert counts(track.sync(small.folder, store)) == (0, 0, 0)
    assert found(store) == []


def test_without_a_plan_nothing_happens(tmp_path, store):
    (tmp_path / "empty").mkdir()
    assert track.sync(tmp_path / "empty", store) == track.Synced(None, 0, 0, 0)


def test_rows_with_the_same_settings_share_a_journal_and_have_a_run_each(store, small):
    small.plan["cells"].append({**small.cell("kd", 0), "row": "kd again"})
    small.save()
    small.train("kd")
    for expected in ((2, 0, 0), (0, 0, 2)):
        assert counts(track.sync(small.folder, store)) == expected
    assert one(store, "kd").data.metrics == one(store, "kd again").data.metrics


def test_an_experiment_holds_one_study(tmp_path, store, small):
    track.sync(small.folder, store)
    other = Study(tmp_path, "other")
    other.plan["experiment"] = "kd/small"
    other.save()
    with pytest.raises(InputError, match=r"holds the study 'small'.*tracking\.experiment"):
        track.sync(other.folder, store)


# Syncing again


def test_syncing_twice_adds_no_run_and_no_metric(store, small):
    small.finish()
    assert counts(track.sync(small.folder, store)) == (3, 0, 0)
    before = everything(store)
    assert counts(track.sync(small.folder, store)) == (0, 0, 3)
    assert everything(store) == before


def test_an_unchanged_sync_writes_nothing_to_the_store(store, small):
    small.finish()
    track.sync(small.folder, store)
    before = store.database.read_bytes()
    track.sync(small.folder, store)
    assert store.database.read_bytes() == before


def test_syncing_after_every_record_gives_what_syncing_once_gives(tmp_path, store):
    once, often = Study(tmp_path, "once", rows=("kd",)), Study(tmp_path, "often", rows=("kd",))
    once.train("kd")
    track.sync(once.folder, store)
    for step in (often.start, lambda row: often.epoch(row, 0), lambda row: often.epoch(row, 1), often.final):
        step("kd")
        track.sync(often.folder, store)
    (one_sync,), (many,) = (list(everything(store, name).values()) for name in ("once", "often"))
    assert many[0:3] == one_sync[0:3]
    assert many[4:] == one_sync[4:]
    assert many[3] | {"study": "once"} == one_sync[3]


def test_killed_between_metrics_and_tag_leaves_no_point_twice(store, small, monkeypatch):
    small.start("kd")
    small.epoch("kd", 0)
    with monkeypatch.context() as patch:
        patch.setattr(track._Projection, "_write_labels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            track.sync(small.folder, store)
    assert len(history(store, "kd", "loss/total")) == 1
    small.epoch("kd", 1)
    small.final("kd")
    assert counts(track.sync(small.folder, store)) == (0, 1, 0)
    assert history(store, "kd", "loss/total") == [(1, START + 1000, 1.0), (2, START + 2000, 0.5)]
    assert len(history(store, "kd", "test/acc1")) == 1
    assert len(found(store)) == 1


@pytest.mark.parametrize("call", ["log_artifact", "log_text", "log_batch", "set_terminated"])
def test_a_store_that_fails_at_any_call_is_complete_after_the_next_sync(store, small, monkeypatch, call):
    small.train("kd")

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(track._mlflow().MlflowClient, call, fail)
        with pytest.raises(track.TrackingError, match="disk full"):
            track.sync(small.folder, store)
    track.sync(small.folder, store)
    run = one(store, "kd")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kdbench.synced"] == "5"
    assert len(run.data.params) == 6
    assert len(client(store).list_artifacts(run.info.run_id)) == 4


@pytest.mark.parametrize("refusals", [2, 3])
def test_a_busy_store_is_asked_three_times(store, small, monkeypatch, refusals):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    mlflow_client, calls = track._mlflow().MlflowClient, []
    write = mlflow_client.log_batch

    def busy(*arguments, **named):
        calls.append(1)
        if len(calls) <= refusals:
            raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)
        return write(*arguments, **named)

    monkeypatch.setattr(mlflow_client, "log_batch", busy)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    small.train("kd")
    if refusals < 3:
        assert counts(track.sync(small.folder, store)) == (1, 0, 0)
    else:
        with pytest.raises(track.TrackingError, match="database is locked"):
            track.sync(small.folder, store)
        assert len(calls) == 3


def test_a_deleted_database_is_filled_again_once_even_by_processes_that_race(tmp_path, store):
    first, second = Study(tmp_path, "first").finish(), Study(tmp_path, "second").finish()
    track.sync(first.folder, store)
    before = track.runs("kd/first", store)
    store.database.unlink()
    racing = [python(SYNC, first.folder, second.folder), python(SYNC, second.folder, first.folder)]
    assert [output(process) for process in racing] == ["", ""]
    # This process still has the old file open, so it reads the new one under another name.
    store = track.store(tmp_path, f"sqlite:///{store.database.rename(tmp_path / 'new.db')}")
    after = track.runs("kd/first", store)
    pd.testing.assert_frame_equal(before.drop(columns="run_id"), after.drop(columns="run_id"))
    assert set(before["run_id"]).isdisjoint(after["run_id"])
    names = [experiment.name for experiment in client(store).search_experiments()]
    assert sorted(names) == ["Default", "kd/first", "kd/second"]
    for study in ("first", "second"):
        assert sorted(run.data.tags["method"] for run in found(store, study=study)) == ["kd", "student", "teacher"]


# Status


def test_a_status_follows_its_journal_through_kill_failure_and_resume(store, small):
    def status():
        track.sync(small.folder, store)
        run = one(store, "kd")
        return run.info.status, run.info.end_time, run.data.tags.get("reason", "")

    lock = FileLock(small.folder / "running.lock")
    with lock:
        small.start("kd")
        assert status() == ("RUNNING", None, "")
        small.epoch("kd", 0)
    assert status() == ("KILLED", START + 1000, "")
    with lock:
        small.start("kd", at=START + 1500, epoch=1)
        assert status()[0] == "RUNNING"
        small.add("kd", 0, "failed", time=START + 1600, reason="non-finite loss at epoch 1, step 7 (term kd)")
        assert status() == ("FAILED", START + 1600, "non-finite loss at epoch 1, step 7 (term kd)")
        small.start("kd", at=START + 1700, epoch=1)
        assert (status()[0], status()[2]) == ("RUNNING", "")
        small.epoch("kd", 1)
        small.final("kd")
        assert status() == ("FINISHED", START + 9000, "")
    assert status() == ("FINISHED", START + 9000, "")
    assert len(found(store)) == 1
    assert [point[0] for point in history(store, "kd", "loss/total")] == [1, 2]


def test_a_lock_of_a_dead_process_is_no_sign_of_life(store, small):
    small.start("kd")
    code = "import os, sys, filelock; filelock.FileLock(sys.argv[1]).acquire(); os.kill(os.getpid(), 9)"
    python(code, small.folder / "running.lock").communicate()
    assert (small.folder / "running.lock").exists()
    track.sync(small.folder, store)
    assert one(store, "kd").info.status == "KILLED"


def test_going_on_in_another_environment_is_told(store, small):
    small.start("kd")
    track.sync(small.folder, store)
    assert "kdbench.drift" not in one(store, "kd").data.tags
    small.start("kd", at=START + 5, python="3.12", git_commit="def", device="cuda")
    track.sync(small.folder, store)
    run = one(store, "kd")
    assert run.data.tags["kdbench.drift"] == "device, git_commit, python"
    assert run.data.tags["git_commit"] == "def"
    assert run.data.tags["fingerprint"] == "python 3.11; then device cuda, python 3.12"
    path = client(store).download_artifacts(run.info.run_id, "environment.json")
    assert json.loads(Path(path).read_text()) == {"python": "3.12", "git_commit": "def", "device": "cuda"}


# Runs that are over


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_cell_trained_again_gets_a_new_run_and_the_old_one_is_superseded(store, small, epochs):
    small.start("kd")
    small.epoch("kd", 0)
    track.sync(small.folder, store)
    old = one(store, "kd").info.run_id
    shutil.rmtree(small.path("kd"))
    small.start("kd", at=START + 50_000)
    for number in range(epochs):
        small.epoch("kd", number, at=START + 50_000)
    assert counts(track.sync(small.folder, store)) == (1, 0, 0)
    assert one(store, "kd", "superseded").info.run_id == old
    assert one(store, "kd").info.start_time == START + 50_000
    assert len(one(store, "kd").data.metrics) == (2 if epochs else 0)
    assert counts(track.sync(small.folder, store)) == (0, 0, 1)


def test_a_journal_that_has_lost_records_gets_a_new_run(store, small):
    small.train("kd")
    track.sync(small.folder, store)
    (small.path("kd") / "journal.jsonl").unlink()
    small.start("kd")
    assert counts(track.sync(small.folder, store)) == (1, 0, 0)
    assert one(store, "kd", "superseded").data.metrics["test/acc1"] == 92.0


def test_a_cell_that_leaves_the_plan_is_superseded_and_comes_back_with_it(store, small):
    small.finish()
    track.sync(small.folder, store)
    run, cells = one(store, "kd").info.run_id, small.plan["cells"]
    small.plan["cells"] = cells[:1]
    small.save()
    assert counts(track.sync(small.folder, store)) == (0, 1, 2)
    assert one(store, "kd", "superseded").info.run_id == run
    assert "kd" not in set(track.runs("kd/small", store)["method"])
    assert counts(track.sync(small.folder, store)) == (0, 0, 2)
    small.plan["cells"] = cells
    small.save()
    assert counts(track.sync(small.folder, store)) == (0, 1, 2)
    assert one(store, "kd").info.run_id == run


def test_a_plan_that_waits_for_its_teacher_supersedes_nothing(store, small):
    small.finish()
    track.sync(small.folder, store)
    small.plan["cells"] = []
    del small.plan["teachers"][0]["teacher_id"]
    small.save()
    track.sync(small.folder, store)
    assert one(store, "kd").data.tags["kdbench.kind"] == "run"


# Reading back


def test_a_store_whose_making_was_killed_halfway_is_made_again(tmp_path, store):
    Study(tmp_path, rows=("student",), seeds=(0,)).finish()
    die = (
        "import os, sys; from pathlib import Path; from sqlalchemy import Engine, event; from benchmark import track\n"
        "left = [40]\n"
        "@event.listens_for(Engine, 'before_cursor_execute')\n"
        "def count(*_):\n"
        "    left[0] -= 1\n"
        "    left[0] or os.kill(os.getpid(), 9)\n"
        "folder = Path(sys.argv[1])\n"
        "track.sync(folder, track.store(folder, sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", die, str(tmp_path / "small"), store.uri]
    assert subprocess.run(arguments, cwd=Path(track.__file__).parents[1]).returncode == -9
    assert track.sync(tmp_path / "small", store).created == 2


def test_the_runs_of_an_experiment_make_its_leaderboard(tmp_path, store):
    Study(tmp_path, rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()
    track.sync(tmp_path / "small", store)
    table = track.runs("kd/small", store)
    head = [
        "run_id",
        "kind",
        "status",
        "reason",
        "environment",
        "fingerprint",
        "pair",
        "method",
        "teacher",
        "teacher_id",
        "student",
        "dataset",
    ]
    assert list(table.columns) == [*head, "seed", "cell", "cost/params", "test/acc1", "test/f1", "val/best_minus_last"]
    assert table["seed"].dtype == "int64"
    assert list(table["method"]) == 3 * ["kd"] + 3 * ["kd+at"] + 3 * ["student"] + ["teacher"]
    board = leaderboard(table, track.plan("kd/small", store)).set_index("method")
    assert list(board.index) == ["teacher", "kd+at", "kd", "student"]
    assert list(board["acc1"]) == [97.0, 94.0, 93.0, 91.0]
    assert list(board["rank"])[1:] == [1, 2, 3]
    assert board.loc["kd", "vs_student"] == 2.0


def test_the_history_of_a_metric_has_a_line_for_each_epoch_of_each_finished_run(tmp_path, store):
    study = Study(tmp_path, rows=("student", "kd"), seeds=(0, 1))
    track.sync(study.folder, store)
    assert track.histories("kd/small", store, "val/acc1").empty
    study.finish()
    track.sync(study.folder, store)
    found = track.histories("kd/small", store, "val/acc1")
    assert list(found.columns) == ["pair", "method", "seed", "step", "value"]
    epochs = found.groupby(["method", "seed"])["step"].agg(list)
    assert set(epochs.index) == {(method, seed) for method in ("student", "kd") for seed in (0, 1)}
    assert all(steps == [*range(1, len(steps) + 1)] and len(steps) > 1 for steps in epochs)
    assert track.histories("kd/small", store, "val/acc1", most=3).empty
    assert track.histories("kd/small", store, "no/such").empty


def test_an_experiment_without_runs_gives_an_empty_table_and_a_leaderboard(store, small):
    track.sync(small.folder, store)
    table = track.runs("kd/small", store)
    assert table.empty
    assert leaderboard(table, track.plan("kd/small", store))["n"].sum() == 0


def test_all_pages_of_runs_are_read_and_deleted_runs_are_not(store, small, monkeypatch):
    small.finish()
    track.sync(small.folder, store)
    mlflow_client = track._mlflow().MlflowClient
    search = mlflow_client.search_runs
    monkeypatch.setattr(mlflow_client, "search_runs", lambda *a, **k: search(*a, **k | {"max_results": 1}))
    assert len(track.runs("kd/small", store)) == 3
    client(store).delete_run(one(store, "kd").info.run_id)
    assert set(track.runs("kd/small", store)["method"]) == {"student", "teacher"}


@pytest.mark.parametrize("size", [1, 400])
def test_the_plan_comes_back_from_mlflow_alone_however_long_it_is(store, small, size):
    small.plan["not_applicable"] = {f"a-b/method {number}": "no maps" for number in range(size)}
    small.save()
    track.sync(small.folder, store)
    plan = track.plan("kd/small", store)
    assert plan.not_applicable == small.plan["not_applicable"]
    assert (plan.study, plan.question, plan.select, plan.baseline) == ("small", "Which is best?", "last", "student")
    assert (plan.pairs, plan.methods, plan.seeds) == (("a-b",), ("student", "kd"), (0,))
    assert plan.datasets == {"a-b": "digits"}


def test_the_effort_of_tuning_comes_back_from_mlflow_and_a_plan_without_any_is_packed_as_before(store, small):
    before = track._pack(small.plan)
    small.plan |= {"trials": {}, "search_tmac": {}}
    assert track._pack(small.plan) == before
    small.plan |= {"methods": ["kd", "kd (tuned)"], "trials": {"kd (tuned)": 20}, "baseline": None}
    small.plan["search_tmac"] = {"a-b/kd (tuned)": 0.1 + 0.2}
    small.save()
    track.sync(small.folder, store)
    plan = track.plan("kd/small", store)
    assert plan.trials == {"kd (tuned)": 20}
    assert plan.search_tmac == {"a-b/kd (tuned)": 0.1 + 0.2}
    assert (plan.published("kd (tuned)"), plan.published("kd"), plan.budgets) == ("kd", None, [20])


def test_an_unknown_experiment_is_named_with_its_neighbours(tmp_path, store, small):
    with pytest.raises(InputError, match=r"no experiment 'kd/smal'; it holds no study yet"):
        track.runs("kd/smal", store)
    track.sync(small.folder, store)
    with pytest.raises(InputError, match=r"mlflow\.db: no experiment 'kd/smal'; did you mean 'kd/small'\?"):
        track.runs("kd/smal", store)
    with pytest.raises(InputError, match="there are kd/small"):
        track.plan("zzz", store)
    with pytest.raises(InputError, match="holds no study of kdbench"):
        track.plan("Default", store)
    nowhere = track.store(tmp_path / "nowhere", None)
    with pytest.raises(InputError, match="it holds no study yet"):
        track.runs("kd/small", nowhere)
    assert not (tmp_path / "nowhere").exists()


def test_addresses_open_the_mode_that_shows_runs_and_hold_no_password():
    assert server.addresses(f"http://me:{CANARY}@host:5000/base/", "7") == {
        "start": "http://host:5000/base/#/experiments?workflowType=machine_learning",
        "runs": "http://host:5000/base/#/experiments/7/runs?workflowType=machine_learning",
    }


# A store that does not answer


@pytest.mark.parametrize("host", ["127.0.0.1:9", "127.0.0.1:port", "nohost.invalid"])
def test_an_unreachable_server_is_told_quickly_in_one_line_without_its_password(small, host, capfd, caplog):
    small.train("kd")
    track._mlflow()
    address = f"http://me:{CANARY}@{host}/base?token={CANARY}"
    store, began = track.store(small.folder, address), time.monotonic()
    for ask in (lambda: track.sync(small.folder, store), lambda: track.runs("x", store)):
        with pytest.raises(track.TrackingError) as caught:
            ask()
        assert str(caught.value).startswith(f"http://***@{host}/base?token=***: ")
        assert "\n" not in str(caught.value)
        assert CANARY not in str(caught.value) + repr(caught.value)
    assert time.monotonic() - began < 10
    assert CANARY not in "".join(capfd.readouterr()) + caplog.text


def test_a_file_that_is_no_database_is_told(tmp_path, small):
    (tmp_path / "mlflow.db").write_text("no database at all, whatever its name says")
    with pytest.raises(track.TrackingError, match="file is not a database"):
        track.sync(small.folder, track.store(tmp_path, None))


def test_a_folder_that_cannot_be_made_is_told(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(track.TrackingError, match="cannot be written"):
        track.sync(small.folder, track.store(tmp_path / "file", None))


def test_following_an_unreachable_server_warns_once_and_never_raises(small):
    small.start("kd")
    track._mlflow()
    warnings, looks = [], []

    def stop():
        looks.append(1)
        small.epoch("kd", len(looks))
        return len(looks) == 40

    store, began = track.store(small.folder, f"http://me:{CANARY}@127.0.0.1:9"), time.monotonic()
    assert track.follow(small.folder, store, stop, warn=warnings.append, every=0.01) is False
    assert time.monotonic() - began < 10
    (line,) = warnings
    assert line.startswith("http://***@127.0.0.1:9: the server cannot be reached: [Errno 111] Connection refused; ")
    assert line.endswith("`kdbench sync small` will record these runs later")
    assert "\n" not in line


def test_following_records_during_training_and_asks_mlflow_only_after_a_change(store, small, monkeypatch):
    synced, stopped, warnings = [], threading.Event(), []
    sync = track.sync
    monkeypatch.setattr(track, "sync", lambda *a: synced.append(counts(sync(*a))))
    small.start("kd")
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            track.follow(small.folder, store, stopped.is_set, warn=warnings.append, every=0.05)
        )
    )
    thread.start()
    wait_for(lambda: len(synced) == 1)
    time.sleep(0.5)
    assert synced == [(1, 0, 0)]
    small.epoch("kd", 0)
    wait_for(lambda: len(synced) == 2)
    small.epoch("kd", 1)
    small.final("kd")
    stopped.set()
    thread.join(30)
    assert (results, warnings) == ([True], [])
    assert one(store, "kd").info.status == "FINISHED"


def test_following_recovers_once_the_store_answers(store, small, monkeypatch):
    small.train("kd")
    sync, tries, warnings = track.sync, [], []

    def down_twice(*arguments):
        tries.append(1)
        if len(tries) < 3:
            raise track.TrackingError("down")
        return sync(*arguments)

    monkeypatch.setattr(track, "sync", down_twice)
    assert track.follow(small.folder, store, lambda: len(tries) > 2, warn=warnings.append, every=0.01)
    assert len(warnings) == 1
    assert one(store, "kd").info.status == "FINISHED"


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# MLflow's server


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_mlflows_server_shows_what_was_recorded_and_records_itself(tmp_path, template, monkeypatch):
    workspace, elsewhere = tmp_path / "with space", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    direct = Study(workspace, "direct").finish()
    shutil.copy(template, workspace / "mlflow.db")
    store, port = track.store(workspace, None), free_port()
    track.sync(direct.folder, store)
    process = server.serve(store, port=port)
    try:
        run = one(store, "kd", study="direct").info.run_id
        listed = json.loads(get(port, f"/api/2.0/mlflow/artifacts/list?run_id={run}"))["files"]
        assert {file["path"] for file in listed} == {"config.json", "environment.json", "split.json", "study.yaml"}
        assert json.loads(get(port, f"/get-artifact?path=config.json&run_uuid={run}")) == {"row": "kd"}
        assert b"<title>MLflow</title>" in get(port, "/")

        remote = track.store(tmp_path, f"http://127.0.0.1:{port}")
        through = Study(workspace, "through").finish()
        assert counts(track.sync(through.folder, remote)) == (3, 0, 0)
        assert counts(track.sync(through.folder, remote)) == (0, 0, 3)
        pd.testing.assert_frame_equal(track.runs("kd/through", remote), track.runs("kd/through", store))
        assert track.plan("kd/through", remote) == track.plan("kd/through", store)
        run = one(remote, "kd", study="through").info.run_id
        assert len(client(remote).list_artifacts(run)) == 4
        with pytest.raises(InputError, match="is a server already"):
            server.serve(remote, port=free_port())
        with pytest.raises(InputError, match=f"port {port} on 127.0.0.1 cannot be used .*choose another one"):
            server.serve(store, port=port)
    finally:
        server.end(process)
    with pytest.raises(ConnectionRefusedError):
        get(port, "/health")
    assert list(elsewhere.iterdir()) == []


def test_a_server_that_dies_says_why(tmp_path):
    store = track.store(tmp_path, None)
    store.database.write_text("no database at all, whatever its name says")
    with pytest.raises(track.TrackingError, match=r"died; it said: .*file is not a database"):
        server.serve(store, port=free_port())


def test_there_is_nothing_to_serve_before_the_first_sync(tmp_path):
    with pytest.raises(InputError, match="nothing is recorded there yet"):
        server.serve(track.store(tmp_path, None))


def test_the_packed_plan_is_plain_text():
    plan = {"study": "s", "question": "?" * 6000, "pairs": [], "methods": [], "seeds": [], "select": "last"}
    packed = track._pack({**plan, "baseline": None, "not_applicable": {}, "dataset": "digits"})
    assert len(packed) < 500
    assert base64.b64decode(packed)
    assert track._unpack(packed)["question"] == "?" * 6000
