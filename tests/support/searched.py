"""Writes a search's record and journals as `kdbench tune` does, and reads its runs in MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.files import write_json
from benchmark.records.done import Done, write_done
from benchmark.records.journal import Journal
from benchmark.records.layout import SearchFolder
from benchmark.records.search import SearchRecord, read_search
from benchmark.tracking import views
from benchmark.tracking.projection import Synced
from benchmark.tracking.store import Store
from tests.support import journalled
from tests.support.journalled import START, file_names, history, mlflow_client
from tests.support.records import append

KEY = "a1b2c3d4e5f6"
EXPERIMENT = "kd/small/search/a-b/ls(kd)+at"
SEEDS = (1000, 1001)
PUBLISHED = {"ls(kd).temperature": 4.0, "ls(kd).weight": 0.9, "at.variant": "mean"}
PNG = b"\x89PNG\r\n\x1a\n"


class Search:
    """A search's record and journals, written step by step."""

    def __init__(self, folder: Path, key: str = KEY, **changes: Any):
        self.files = SearchFolder(folder)
        self.key = key
        self.trials: list[dict[str, Any]] = []
        self.record: dict[str, Any] = {
            "key": key,
            "study": "small",
            "experiment": EXPERIMENT,
            "pair": "a-b",
            "row": "ls(kd)+at",
            "method": "ls(kd)+at",
            "teacher": "resnet18",
            "student": "test_byobnet",
            "dataset": "digits",
            "objective": "val/acc1",
            "maximise": True,
            "seeds": list(SEEDS),
            "budget": 5,
            "sampler": "tpe",
            "published": PUBLISHED,
            "trials": self.trials,
            "best": None,
            "space": {
                "ls(kd).temperature": "log-uniform 1 to 20",
                "ls(kd).weight": "uniform 0.1 to 10",
                "at.variant": "one of mean, sum",
            },
            "figures": [f"{key}/history.png", f"{key}/never.png"],
            "gained": "Best of so many\ntrials.",
            **changes,
        }
        self.files.figures(key).mkdir(parents=True)
        (self.files.figures(key) / "history.png").write_bytes(PNG)

    @property
    def folder(self) -> Path:
        """The folder of the study's searches."""
        return self.files.path

    @property
    def record_path(self) -> Path:
        """The file of the record."""
        return self.files.record(self.key)

    def save(self) -> Search:
        """Write the record."""
        write_json(self.record_path, self.record)
        return self

    def read(self) -> SearchRecord:
        """Write the record, and read it as a sync does."""
        return read_search(self.save().record_path)

    def ask(self, **params: Any) -> int:
        """Choose the settings of a new trial; return its number."""
        number = len(self.trials)
        self.trials.append(
            {
                "number": number,
                "state": "RUNNING",
                "value": None,
                "values": {},
                "params": {**PUBLISHED, **params},
                "source": "search" if number else "published",
                "cells": {},
                "compute_tmac": 0.25,
            }
        )
        return number

    def journal(self, number: int, seed: int) -> Path:
        """Return the journal of a trial's seed, and mark the seed as started."""
        relative = f"cells/{self.key[:3]}{number}-{seed}"
        self.trials[number]["cells"][str(seed)] = relative
        files = self.files.files(relative)
        files.path.mkdir(parents=True, exist_ok=True)
        return files.journal

    def start(self, number: int, seed: int, at: int = START) -> None:
        """Start the training of a seed."""
        append(self.journal(number, seed), "start", time=at, epoch=0, environment={})

    def epoch(self, number: int, seed: int, epoch: int, at: int = START, **metrics: float) -> None:
        """Finish an epoch."""
        accuracy = validation_accuracy(number, seed, epoch)
        append(
            self.journal(number, seed),
            "epoch",
            time=at + 1000 * (epoch + 1) + seed,
            epoch=epoch,
            metrics={"loss/total": 1.0 / (epoch + 1), "val/acc1": accuracy, **metrics},
        )

    def end(self, number: int, seed: int, epochs: int = 2) -> None:
        """Finish the training of a seed."""
        self._end(number, seed, "trained", sha256="0" * 64, epoch=epochs - 1)

    def finished(self, number: int, seed: int) -> None:
        """Mark a seed whose training has ended as finished."""
        path = self.journal(number, seed)
        done = Done(sha256="0" * 64, epoch=1, metrics={}, journal=Journal(path).extent)
        write_done(path.with_name("done.json"), done)

    def fail(self, number: int, seed: int) -> None:
        """End the training of a seed with a failure."""
        self._end(number, seed, "failed", reason="loss kd is nan")

    def _end(self, number: int, seed: int, kind: str, **content: Any) -> None:
        append(self.journal(number, seed), kind, time=START + 9000 + seed, **content)

    def train(self, number: int, epochs: int = 2, seeds: Sequence[int] = SEEDS) -> None:
        """Train the seeds of a trial for some epochs, without finishing."""
        for seed in seeds:
            self.start(number, seed)
            for epoch in range(epochs):
                self.epoch(number, seed, epoch)

    def tell(self, number: int, state: str = "COMPLETE") -> None:
        """End a trial with a state, with the accuracies of its second epoch if it is complete."""
        trial = self.trials[number] | {"state": state}
        if state == "COMPLETE":
            trial["values"] = {str(seed): validation_accuracy(number, seed, 1) for seed in SEEDS}
            trial["value"] = sum(trial["values"].values()) / len(SEEDS)
        self.trials[number] = trial

        complete = [trial for trial in self.trials if trial["value"] is not None]
        best = max(complete, key=lambda trial: trial["value"], default={"number": None})
        self.record["best"] = best["number"]

    def finish(self) -> Search:
        """Add two complete trials, a failed, a pruned, an interrupted and an unstarted one."""
        for number in range(2):
            self.train(self.ask(**{"ls(kd).temperature": 4.0 + number}))
            for seed in SEEDS:
                self.end(number, seed)
            self.tell(number)

        failed = self.ask(**{"at.variant": "sum"})
        self.train(failed, epochs=1)
        for seed in SEEDS:
            self.fail(failed, seed)
        self.tell(failed, "FAIL")

        pruned = self.ask()
        self.train(pruned, epochs=1, seeds=SEEDS[:1])
        self.tell(pruned, "PRUNED")

        self.train(self.ask(), epochs=1)
        self.ask()
        return self.save()


def validation_accuracy(number: int, seed: int, epoch: int) -> float:
    """Return the accuracy of a trial's seed after an epoch."""
    return 50.0 + number / 3 + epoch * 7 + (seed - 1000) / 7


def find_experiment(store: Store) -> Any:
    """Return the experiment of the search."""
    return mlflow_client(store).get_experiment_by_name(EXPERIMENT)


def find_runs(store: Store, kind: str) -> list[Any]:
    """Return the runs of a kind, sorted by trial number."""
    identity = find_experiment(store).experiment_id
    runs = mlflow_client(store).search_runs([identity], f"tags.`kdbench.kind` = '{kind}'")
    return sorted(runs, key=lambda run: int(run.data.tags.get("trial", -1)))


def saved_view(store: Store, key: str) -> dict[str, Any]:
    """Return a saved view of the search."""
    return views.unpack(find_experiment(store).tags[views.PREFIX + key])


def snapshot(store: Store) -> tuple[list[Any], dict[str, Any]]:
    """Return all that MLflow stores about a search, except run ids and times of views."""
    runs = [
        {
            "name": run.info.run_name,
            "status": run.info.status,
            "start": run.info.start_time,
            "end": run.info.end_time,
            "tags": dict(run.data.tags),
            "params": dict(run.data.params),
            "metrics": {key: history(store, run, key) for key in run.data.metrics},
            "files": file_names(store, run),
        }
        for kind in ("trial", "report", "superseded")
        for run in find_runs(store, kind)
    ]
    tags = {
        key: views.unpack(value)["state"] if key.startswith(views.PREFIX) else value
        for key, value in find_experiment(store).tags.items()
    }
    return runs, tags


def counts(results: dict[str, Synced]) -> tuple[int, int, int]:
    """Return the numbers of runs created, updated and unchanged in the only experiment."""
    (synced,) = results.values()
    return journalled.counts(synced)
