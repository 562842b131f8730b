"""A small study's folder as the engine leaves it, an empty store, and what MLflow holds in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmark.files import write_json
from benchmark.tracking import client as tracking_client
from benchmark.tracking import store as tracking_store
from tests.support.records import append

ROOT = Path(__file__).parents[2]
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
        append(self.path(row, seed) / "journal.jsonl", kind, **content)

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


def make_template(folder):
    """A database without experiments: MLflow needs seconds to make one."""
    made = tracking_store.open_store(folder, None)
    tracking_client.mlflow().MlflowClient(made.uri).search_experiments()
    return made.database


def store_from(template, folder):
    """A store of its own for a test, copied from the template."""
    shutil.copy(template, folder / "mlflow.db")
    return tracking_store.open_store(folder, None)


def client(store):
    return tracking_client.mlflow().MlflowClient(store.uri)


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
from benchmark import recorded, track, tracking_store
for folder in map(Path, sys.argv[1:]):
    track.sync(folder, tracking_store.store(folder.parent, None))
"""


def output(process):
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return text
