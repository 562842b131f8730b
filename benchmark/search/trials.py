"""The trials of searches: asked of Optuna, trained side by side, stopped early, told, and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmark import seeds as benchmark_seeds
from benchmark.execution import plan_file
from benchmark.execution.prepare import Prepared
from benchmark.failpoint import failpoint
from benchmark.files import write_json
from benchmark.hashing import identity
from benchmark.records.checkpoints import CellFolder
from benchmark.records.journal import EarlyEpoch, Epoch, Trained, read_journal
from benchmark.records.layout import CellFiles
from benchmark.search.hunt import Best, Hunt, trial_label, trial_method
from benchmark.search.pictures import draw
from benchmark.search.pruning import Judge
from benchmark.search.samplers import distribution, sampler, sampler_name
from benchmark.search.spaces import nested
from benchmark.study.schema import Search
from benchmark.study.study import Cell
from benchmark.training import cost
from benchmark.training.cohort import train
from benchmark.training.conditions import Conditions, Task
from benchmark.training.progress import Progress


class Trials:
    """The trials of all rows of a pair: asked, trained side by side, and told, some numbers at a time."""

    def __init__(
        self,
        prepared: Prepared,
        search: Search,
        folder: Path,
        hashes: dict[str, str],
        conditions: Conditions,
        progress: Progress,
    ):
        self.prepared, self.search, self.folder, self.hashes = prepared, search, folder, hashes
        self.conditions, self.progress = conditions, progress

    def make(self, hunts: Sequence[Hunt], numbers: range, cohort_size: int | None) -> None:
        """One round: what was not told before a stop is trained on, and told in the same order."""
        for hunt in hunts:
            self._ask(hunt, numbers.stop)
        for place, seed in enumerate(self.search.seeds):
            judge = Judge(self, self._open(hunts, numbers), seed) if place == 0 else None
            if judge is not None:
                judge.catch_up()
            tasks = self._tasks(self._open(hunts, numbers), seed)
            size = cohort_size or max(1, len(tasks))
            for start in range(0, len(tasks), size):
                conditions = replace(self.conditions, seed=seed)
                train(tasks[start : start + size], conditions, judge or self.progress)
        for hunt, trial in self._open(hunts, numbers):
            self._tell(hunt, trial)
        for hunt in hunts:
            write_json(self.folder / f"{hunt.key}.json", self.record(hunt))

    def _ask(self, hunt: Hunt, count: int) -> None:
        """Chooses settings until so many trials have some. Each choice has a seed of its own, and is stored whole."""
        spaces = {name: distribution(setting) for name, setting in hunt.space.items()}
        for number in range(len(hunt.asked()), count):
            failpoint("tune.ask")
            params = self._choice(hunt, number, spaces) if number else hunt.published
            source = {} if number else {"source": "published"}
            hunt.study.add_trial(
                create_trial(
                    state=TrialState.RUNNING, params=params, distributions=spaces, user_attrs=source
                )
            )

    def _choice(
        self, hunt: Hunt, number: int, spaces: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The sampler's, made on a copy: Optuna stores a trial before its settings, and those one by one."""
        seed = benchmark_seeds.derive(self.search.seed, "search", hunt.key, number) % 2**32
        copy = optuna.create_study(
            study_name=hunt.study.study_name,
            direction=hunt.study.direction,
            sampler=sampler(sampler_name(self.search, hunt.space), seed),
            pruner=hunt.study.pruner,
        )
        copy.add_trials(hunt.asked())
        return copy.ask(spaces).params

    @staticmethod
    def _open(hunts: Sequence[Hunt], numbers: range) -> list[tuple[Hunt, FrozenTrial]]:
        """The trials of a round that are not told."""
        found = [(hunt, trial) for hunt in hunts for trial in hunt.asked()]
        return [
            (h, trial)
            for h, trial in found
            if trial.number in numbers and trial.state == TrialState.RUNNING
        ]

    def cell(self, hunt: Hunt, trial: FrozenTrial, seed: int) -> tuple[Cell, str, dict[str, Any]]:
        """A trial's training with a seed: the cell, its folder, and its configuration."""
        row = hunt.row.model_copy(
            update={"found": {hunt.pair.name: nested(trial.params, hunt.row)}}
        )
        cell = Cell(self.prepared.study, hunt.pair, row, seed)
        configuration = {
            **plan_file.configuration(self.prepared, cell, self.hashes),
            "role": "trial",
        }
        return cell, f"cells/{identity(configuration)}", configuration

    def _tasks(self, trials: Sequence[tuple[Hunt, FrozenTrial]], seed: int) -> list[Task]:
        """What a seed leaves to train; two trials with the same settings share a cell."""
        tasks: dict[str, Task] = {}
        for hunt, trial in trials:
            cell, place, configuration = self.cell(hunt, trial, seed)
            folder = CellFolder(self.folder / place)
            if not folder.done:
                label = trial_label(hunt, trial.number, seed)
                teacher = self.prepared.teacher_of(cell).network
                tasks.setdefault(place, plan_file.task(cell, folder, configuration, teacher, label))
        return list(tasks.values())

    def _tell(self, hunt: Hunt, trial: FrozenTrial) -> None:
        values = list(self._values(hunt, trial).values())
        failpoint("tune.tell")
        if any(value is None for value in values):
            hunt.study.tell(trial.number, state=TrialState.FAIL)
        else:
            hunt.study.tell(trial.number, sum(filter(None, values)) / len(values))

    def _values(self, hunt: Hunt, trial: FrozenTrial) -> dict[int, float | None]:
        """The objective by seed; None for a training that has not come to its end."""
        return {
            seed: self._value(self.folder / self.cell(hunt, trial, seed)[1])
            for seed in self.search.seeds
        }

    def _value(self, folder: Path) -> float | None:
        records = read_journal(CellFiles(folder).journal)
        trained = [record.epoch for record in records if isinstance(record, Trained)]
        if not trained:
            return None
        (chosen,) = (r for r in records if isinstance(r, Epoch) and r.epoch == trained[-1])
        return float(chosen.metrics[self.search.objective])

    def record(self, hunt: Hunt) -> dict[str, Any]:
        """All that is known of a search, as a file that MLflow is fed from."""
        study, trials = self.prepared.study, [self._entry(hunt, trial) for trial in hunt.asked()]
        complete = [entry for entry in trials if entry["state"] == "COMPLETE"]
        sign = 1 if self.search.maximise else -1
        best = max(
            complete, key=lambda entry: (sign * entry["value"], -entry["number"]), default=None
        )
        figures = sorted((self.folder / hunt.key).glob("*.png"))
        return {
            "key": hunt.key,
            "optuna_study": hunt.study.study_name,
            "study": study.name,
            "experiment": f"{study.experiment}/search/{hunt.pair.name}/{hunt.row.name}",
            "pair": hunt.pair.name,
            "row": hunt.row.name,
            "method": hunt.row.method,
            "teacher": hunt.pair.teacher.model,
            "student": hunt.pair.student.model,
            "dataset": study.dataset.name,
            "objective": self.search.objective,
            "maximise": self.search.maximise,
            "seeds": self.search.seeds,
            "budget": self.search.trials,
            "sampler": sampler_name(self.search, hunt.space),
            "published": hunt.published,
            "space": {name: str(setting.search) for name, setting in hunt.space.items()},
            "trials": trials,
            "best": None if best is None else best["number"],
            "figures": [f"{hunt.key}/{path.name}" for path in figures],
            "gained": _gained(trials, best, self.search),
        }

    def _entry(self, hunt: Hunt, trial: FrozenTrial) -> dict[str, Any]:
        places = {seed: self.cell(hunt, trial, seed)[1] for seed in self.search.seeds}
        begun = {
            seed: place
            for seed, place in places.items()
            if CellFiles(self.folder / place).journal.exists()
        }
        method, study = trial_method(hunt.row, trial.params), self.prepared.study
        images = self.prepared.data.steps(study.recipe.batch_size) * study.recipe.batch_size
        macs = (self.prepared.macs[hunt.pair.name, side] for side in ("student", "teacher"))
        whole = cost.compute(method, study.recipe, images, *macs)
        total = cost.length(method, study.recipe).total
        epochs = sum(
            isinstance(record, EarlyEpoch | Epoch)
            for place in begun.values()
            for record in read_journal(CellFiles(self.folder / place).journal)
        )
        return {
            "number": trial.number,
            "state": trial.state.name,
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "values": {
                str(seed): value
                for seed, value in self._values(hunt, trial).items()
                if value is not None
            },
            "params": trial.params,
            "source": trial.user_attrs.get("source", "search"),
            "cells": {str(seed): place for seed, place in begun.items()},
            "compute_tmac": whole * epochs / total / 1e12,
        }

    def best(self, hunt: Hunt) -> Best | None:
        """What a search came to, None where no trial is complete; its pictures and its record are written."""
        draw(hunt, self.folder / hunt.key, self.search)
        known = self.record(hunt)
        write_json(self.folder / f"{hunt.key}.json", known)
        if known["best"] is None:
            return None
        chosen, first = known["trials"][known["best"]], known["trials"][0]
        compute = sum(entry["compute_tmac"] for entry in known["trials"])
        found = nested(chosen["params"], hunt.row)
        return Best(
            hunt.pair.name, hunt.row.name, hunt.key, len(known["trials"]), found, first["value"], chosen["value"],
            chosen["number"], compute,
        )  # fmt: skip


def _gained(
    trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, search: Search
) -> str:
    """The result of a search in a sentence."""
    told = sum(entry["state"] in ("COMPLETE", "PRUNED", "FAIL") for entry in trials)
    if best is None:
        return f"{told} of {search.trials} trials, none complete."
    first = trials[0]["value"]
    before = "" if first is None else f", {first:.4g} as published"
    where = f"trial {best['number']}" if best["number"] else "the published settings"
    value, seeds = f"{best['value']:.4g}", len(search.seeds)
    return f"Best {search.objective} of {told} trials: {value} ({where}{before}), mean of {seeds} seeds."
