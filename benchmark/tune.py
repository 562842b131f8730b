"""Searches for settings, the same budget for every method, on validation images alone. No other file imports Optuna.

Optuna chooses, the cohort engine trains: the trials of one round, of all methods of a pair, share one data stream and
one teacher pass. A trial's networks are cells with journals like any others, except that they never meet test images.
One process asks and tells. What it asks depends on the trials told before and on a seed per trial alone, so a search
that was killed goes on to the same trials, settings and values as one that never was.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection as Direction
from optuna.trial import FrozenTrial, TrialState, create_trial

import methods
from benchmark import RULES, execute, streams, work
from benchmark.cohort import train
from benchmark.conditions import Conditions, Progress, Task
from benchmark.errors import InputError, Leave, first_line
from benchmark.execute import Prepared
from benchmark.failpoint import failpoint
from benchmark.identity import identity
from benchmark.journal import CellFolder, read_journal, write_json
from benchmark.locks import locked
from benchmark.schema import Found, Pair, Row, Search
from benchmark.spaces import is_continuous, is_logarithmic, nested, published, space
from benchmark.study import Cell
from benchmark.track import shown
from methods import Choice, Method, Setting

GP_LIMIT = 6
"""So many continuous settings does a Gaussian process search at most."""
STARTUP = 8
"""Trials before a sampler makes a model of them."""


@dataclass
class Hunt:
    """The search for one row's settings on one pair.  space: by flat name; published: what the first trial takes."""

    pair: Pair
    row: Row
    key: str
    space: dict[str, Setting]
    published: dict[str, Any]
    study: optuna.Study
    storage: optuna.storages.BaseStorage

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"{self.pair.name} / {self.row.name}"

    def asked(self) -> list[FrozenTrial]:
        """The trials whose settings are chosen, by number."""
        return self.study.get_trials(deepcopy=False)


@dataclass(frozen=True)
class Best:
    """What a search came to.  published, value: the objective of the first and of the best trial."""

    pair: str
    row: str
    key: str
    trials: int
    found: Found
    published: float | None
    value: float
    number: int
    compute_tmac: float


@dataclass
class Outcome:
    """What all searches of a study came to.

    failed: labels of those without a complete trial. tmac: what was computed; alone: the same without sharing.
    """

    best: list[Best] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tmac: float = 0.0
    alone: float = 0.0


def _distribution(setting: Setting) -> BaseDistribution:
    search = setting.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.options)
    assert search is not None
    log = is_logarithmic(setting)
    if setting.kind is int:
        return IntDistribution(int(search.low), int(search.high), log=log)
    return FloatDistribution(search.low, search.high, log=log)


def sampler_name(search: Search, spaces: Mapping[str, Setting]) -> str:
    """The sampler for a space: see `Search`."""
    if search.sampler != "auto":
        return search.sampler
    continuous = all(map(is_continuous, spaces.values()))
    return "gp" if continuous and len(spaces) <= GP_LIMIT and search.pruner == "none" else "tpe"


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP, deterministic_objective=False)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(search: Search, epochs: int) -> optuna.pruners.BasePruner:
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 3)
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=epochs)
    return optuna.pruners.NopPruner()


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own lines about trials stay out of ours."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Optuna's storage at an address of SQLAlchemy's. Raises InputError, without passwords, if it cannot be reached."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        local = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True}
        logging.getLogger("alembic").setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"):  # of options that a driver does not know
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, RuntimeError, ImportError, OSError, ValueError) as error:
        raise InputError(
            f"--storage: {shown(url)}: cannot be used ({_without_password(error, url)}); give a database as SQLAlchemy "
            "names it, such as postgresql+psycopg2://user@host/name, or leave it out for a file of the study's own"
        ) from None


@contextmanager
def _answering(url: str) -> Iterator[None]:
    """Raises InputError, without passwords, for a storage that refuses what it is asked later."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = _without_password(error.__cause__ or error, url)
        raise InputError(
            f"--storage: {shown(url)}: refuses ({reason}); once it answers, the same command goes on from here"
        ) from None


def _without_password(error: BaseException, url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    text = shown(first_line(error))
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):  # of a port that is no number
        return "not an address"
    return text.replace(str(password), "***") if password else text


def tune(
    prepared: Prepared,
    workspace: Path,
    source: str,
    environment: dict[str, str],
    progress: Progress,
    storage: str | None = None,
    cohort_size: int | None = None,
    told: Callable[[Path], None] = lambda _: None,
) -> Outcome:
    """Makes all trials that are not made.

    source: the study's file, for messages. storage: an address for Optuna. told: is called after every round, with the
    folder that has the records.

    Raises InputError if the study asks for no search, a row has nothing to search, or the storage cannot be used.
    """
    study, folder = prepared.study, workspace / prepared.study.name / "search"
    with execute.named(source):
        search = _asked_for(prepared)
    address = storage or default_storage(folder)
    with locked(folder), _quiet(), _answering(address):
        opened = open_storage(address)
        lent = execute.lend(prepared, workspace, folder, source, environment, progress)
        hashes = {key: teacher.sha256 for key, teacher in lent.items()}
        with execute.named(source):
            hunts = _hunts(prepared, search, hashes, opened)
        progress.planned(dict(_labels(prepared, search, hunts)))
        outcome = Outcome()
        for pair in study.pairs:
            own = [hunt for hunt in hunts if hunt.pair.name == pair.name]
            want = next(one for one in prepared.wanted if pair.name in one.pairs)
            conditions = Conditions(prepared.data, study.recipe, 0, study.select, lent[want.key], environment, False)
            trials = _Trials(prepared, search, folder, hashes, conditions, progress)
            for start in range(0, search.trials, search.together):
                numbers = range(start, min(start + search.together, search.trials))
                trials.make(own, numbers, cohort_size)
                told(folder)
            if own:
                _count(prepared, search, own, outcome)
            for hunt in own:
                best = trials.best(hunt)
                if best is None:
                    outcome.failed.append(hunt.label)
                else:
                    outcome.best.append(best)
        return outcome


def default_storage(folder: Path) -> str:
    """Of a study's search folder."""
    return f"sqlite:///{(folder / 'optuna.db').absolute()}"


def _asked_for(prepared: Prepared) -> Search:
    search = prepared.study.search
    if search is None:
        raise InputError("search: missing; `kdbench tune` needs it, for instance `search: {trials: 20}`")
    for place, row in enumerate(prepared.study.methods):
        if not space(row, search):
            raise InputError(
                f"methods[{place}]: {row.name} has no setting that is searched; give search.lr or search.weight_decay, "
                "which are searched for all methods, or leave it out"
            )
    return search


def _hunts(
    prepared: Prepared, search: Search, hashes: Mapping[str, str], storage: optuna.storages.BaseStorage
) -> list[Hunt]:
    """The searches of a study, each an Optuna study. Raises InputError if one has more trials than are asked for."""
    found = []
    for pair in prepared.study.pairs:
        for place, row in enumerate(prepared.study.methods):
            if f"{pair.name}/{row.name}" in prepared.not_applicable:
                continue
            spaces = space(row, search)
            first = published(row, spaces, prepared.study.recipe, f"methods[{place}]")
            key = identity(_definition(prepared, search, pair, row, spaces, hashes))
            made = optuna.create_study(
                storage=storage,
                study_name=f"{prepared.study.name} / {pair.name} / {row.name} / {key}",
                direction=Direction.MAXIMIZE if search.maximise else Direction.MINIMIZE,
                load_if_exists=True,
                pruner=_pruner(search, prepared.study.recipe.epochs),
            )
            hunt = Hunt(pair, row, key, spaces, first, made, storage)
            if (count := len(hunt.asked())) > search.trials:
                raise InputError(
                    f"search.trials: is {search.trials}, and {hunt.label} has had {count}; give {count} or more, or "
                    "another search.seed, with which all begin anew"
                )
            found.append(hunt)
    return found


def _definition(
    prepared: Prepared, search: Search, pair: Pair, row: Row, spaces: Mapping[str, Setting], hashes: Mapping[str, str]
) -> dict[str, Any]:
    """All that decides a search, but how many trials it makes: more can be added later."""
    study = prepared.study
    want = next(one for one in prepared.wanted if pair.name in one.pairs)
    return {
        "rules": RULES,
        "role": "search",
        "data": study.data(prepared.data.fingerprint),
        "teacher": {**want.network.identity, "sha256": hashes[want.key]},
        "student": pair.student.identity,
        "method": {"name": row.method, "settings": row.settings},
        "space": {name: str(setting.search) for name, setting in spaces.items()},
        "recipe": study.recipe.identity,
        "select": study.select,
        "search": search.model_dump(exclude={"trials"}, exclude_none=True),
    }


def _labels(prepared: Prepared, search: Search, hunts: Sequence[Hunt]) -> Iterator[tuple[str, int]]:
    """All trainings of trials that are not told, and their epochs."""
    for hunt in hunts:
        told = sum(trial.state.is_finished() for trial in hunt.study.get_trials(deepcopy=False))
        epochs = work.length(_method(hunt.row, hunt.published), prepared.study.recipe).total
        for number in range(told, search.trials):
            yield from ((_label(hunt, number, seed), epochs) for seed in search.seeds)


def _label(hunt: Hunt, number: int, seed: int) -> str:
    return f"{hunt.pair.name} / {hunt.row.name} / trial {number} / seed {seed}"


def _method(row: Row, params: Mapping[str, Any]) -> Method:
    return methods.create(row.method, **nested(params, row).settings)


class _Trials:
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
            judge = _Judge(self, self._open(hunts, numbers), seed) if place == 0 else None
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
        spaces = {name: _distribution(setting) for name, setting in hunt.space.items()}
        for number in range(len(hunt.asked()), count):
            failpoint("tune.ask")
            params = self._choice(hunt, number, spaces) if number else hunt.published
            source = {} if number else {"source": "published"}
            hunt.study.add_trial(
                create_trial(state=TrialState.RUNNING, params=params, distributions=spaces, user_attrs=source)
            )

    def _choice(self, hunt: Hunt, number: int, spaces: dict[str, BaseDistribution]) -> dict[str, Any]:
        """The sampler's, made on a copy: Optuna stores a trial before its settings, and those one by one."""
        seed = streams.derive(self.search.seed, "search", hunt.key, number) % 2**32
        copy = optuna.create_study(
            study_name=hunt.study.study_name,
            direction=hunt.study.direction,
            sampler=_sampler(sampler_name(self.search, hunt.space), seed),
            pruner=hunt.study.pruner,
        )
        copy.add_trials(hunt.asked())
        return copy.ask(spaces).params

    @staticmethod
    def _open(hunts: Sequence[Hunt], numbers: range) -> list[tuple[Hunt, FrozenTrial]]:
        """The trials of a round that are not told."""
        found = [(hunt, trial) for hunt in hunts for trial in hunt.asked()]
        return [(h, trial) for h, trial in found if trial.number in numbers and trial.state == TrialState.RUNNING]

    def cell(self, hunt: Hunt, trial: FrozenTrial, seed: int) -> tuple[Cell, str, dict[str, Any]]:
        """A trial's training with a seed: the cell, its folder, and its configuration."""
        row = hunt.row.model_copy(update={"found": {hunt.pair.name: nested(trial.params, hunt.row)}})
        cell = Cell(self.prepared.study, hunt.pair, row, seed)
        configuration = {**execute.configuration(self.prepared, cell, self.hashes), "role": "trial"}
        return cell, f"cells/{identity(configuration)}", configuration

    def _tasks(self, trials: Sequence[tuple[Hunt, FrozenTrial]], seed: int) -> list[Task]:
        """What a seed leaves to train; two trials with the same settings share a cell."""
        tasks: dict[str, Task] = {}
        for hunt, trial in trials:
            cell, place, configuration = self.cell(hunt, trial, seed)
            folder = CellFolder(self.folder / place)
            if not folder.done:
                label = _label(hunt, trial.number, seed)
                teacher = self.prepared.teacher_of(cell).network
                tasks.setdefault(place, execute.task(cell, folder, configuration, teacher, label))
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
        return {seed: self._value(self.folder / self.cell(hunt, trial, seed)[1]) for seed in self.search.seeds}

    def _value(self, folder: Path) -> float | None:
        records = read_journal(folder / "journal.jsonl")
        trained = [record["epoch"] for record in records if record["kind"] == "trained"]
        if not trained:
            return None
        (chosen,) = (r for r in records if r["kind"] == "epoch" and r["epoch"] == trained[-1])
        return float(chosen["metrics"][self.search.objective])

    def record(self, hunt: Hunt) -> dict[str, Any]:
        """All that is known of a search, as a file that MLflow is fed from."""
        study, trials = self.prepared.study, [self._entry(hunt, trial) for trial in hunt.asked()]
        complete = [entry for entry in trials if entry["state"] == "COMPLETE"]
        sign = 1 if self.search.maximise else -1
        best = max(complete, key=lambda entry: (sign * entry["value"], -entry["number"]), default=None)
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
        begun = {seed: place for seed, place in places.items() if (self.folder / place / "journal.jsonl").exists()}
        method, study = _method(hunt.row, trial.params), self.prepared.study
        images = self.prepared.data.steps(study.recipe.batch_size) * study.recipe.batch_size
        macs = (self.prepared.macs[hunt.pair.name, side] for side in ("student", "teacher"))
        whole = work.compute(method, study.recipe, images, *macs)
        total = work.length(method, study.recipe).total
        epochs = sum(
            record["kind"] in ("early", "epoch")
            for place in begun.values()
            for record in read_journal(self.folder / place / "journal.jsonl")
        )
        return {
            "number": trial.number,
            "state": trial.state.name,
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "values": {str(seed): value for seed, value in self._values(hunt, trial).items() if value is not None},
            "params": trial.params,
            "source": trial.user_attrs.get("source", "search"),
            "cells": {str(seed): place for seed, place in begun.items()},
            "compute_tmac": whole * epochs / total / 1e12,
        }

    def best(self, hunt: Hunt) -> Best | None:
        """What a search came to, None where no trial is complete; its pictures and its record are written."""
        _draw(hunt, self.folder / hunt.key, self.search)
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


def _gained(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None, search: Search) -> str:
    """The result of a search in a sentence."""
    told = sum(entry["state"] in ("COMPLETE", "PRUNED", "FAIL") for entry in trials)
    if best is None:
        return f"{told} of {search.trials} trials, none complete."
    first = trials[0]["value"]
    before = "" if first is None else f", {first:.4g} as published"
    where = f"trial {best['number']}" if best["number"] else "the published settings"
    value, seeds = f"{best['value']:.4g}", len(search.seeds)
    return f"Best {search.objective} of {told} trials: {value} ({where}{before}), mean of {seeds} seeds."


class _Judge(Progress):
    """Reports the epochs of the first seed's trainings to Optuna, and takes those that its pruner stops out."""

    def __init__(self, trials: _Trials, running: Sequence[tuple[Hunt, FrozenTrial]], seed: int):
        self.trials, self.seed = trials, seed
        cells: dict[str, list[tuple[Hunt, FrozenTrial]]] = {}
        for hunt, trial in running:
            cells.setdefault(trials.cell(hunt, trial, seed)[1], []).append((hunt, trial))
        self._cells = cells
        self._by_label = {_label(hunt, trial.number, seed): own for own in cells.values() for hunt, trial in own}
        recipe = trials.prepared.study.recipe
        self._early = {hunt.key: work.length(_method(hunt.row, hunt.published), recipe).early for hunt, _ in running}
        for name in ("planned", "started", "finished", "failed", "warn"):
            setattr(self, name, getattr(trials.progress, name))

    def catch_up(self) -> None:
        """Reports what a journal holds and Optuna has not heard of, since a stop came between."""
        if self.trials.search.pruner == "none":
            return
        for place, own in self._cells.items():
            records = read_journal(self.trials.folder / place / "journal.jsonl")
            epochs = [record for record in records if record["kind"] == "epoch"]
            over = any(record["kind"] in ("trained", "failed") for record in records)
            for hunt, trial in own:
                known = hunt.storage.get_trial(trial._trial_id).intermediate_values
                for record in epochs:
                    if record["epoch"] not in known:
                        self._report(hunt, trial, record["epoch"], record["metrics"])
                if epochs and not over:  # else it was judged, maybe before others of its round were told
                    self._judge(hunt, trial)

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Passes it on, reports it, and raises Leave where the pruner says so."""
        self.trials.progress.epoch(cell, epoch, epochs, metrics)
        if self.trials.search.pruner == "none" or cell not in self._by_label:
            return
        if self.trials.search.objective not in metrics:
            return
        own = [(hunt, trial) for hunt, trial in self._by_label[cell] if self._runs(hunt, trial)]
        for hunt, trial in own:
            self._report(hunt, trial, epoch - self._early[hunt.key], metrics)
            self._judge(hunt, trial)
        if not any(self._runs(hunt, trial) for hunt, trial in own):
            raise Leave(f"pruned after epoch {epoch + 1}")

    def _report(self, hunt: Hunt, trial: FrozenTrial, epoch: int, metrics: Mapping[str, float]) -> None:
        value = metrics[self.trials.search.objective]
        hunt.storage.set_trial_intermediate_value(trial._trial_id, epoch, value)

    @staticmethod
    def _judge(hunt: Hunt, trial: FrozenTrial) -> None:
        if hunt.study.pruner.prune(hunt.study, hunt.storage.get_trial(trial._trial_id)):
            hunt.study.tell(trial.number, state=TrialState.PRUNED)

    @staticmethod
    def _runs(hunt: Hunt, trial: FrozenTrial) -> bool:
        return hunt.storage.get_trial(trial._trial_id).state == TrialState.RUNNING


def _count(prepared: Prepared, search: Search, hunts: Sequence[Hunt], outcome: Outcome) -> None:
    """Adds what a pair's trials compute, sharing teacher passes and not."""
    study = prepared.study
    images = prepared.data.steps(study.recipe.batch_size) * study.recipe.batch_size
    rows = [_method(hunt.row, hunt.published) for hunt in hunts]
    for start in range(0, search.trials, search.together):
        count = len(search.seeds) * min(search.together, search.trials - start)
        for hunt, method in zip(hunts, rows, strict=True):
            student, look = (prepared.macs[hunt.pair.name, side] for side in ("student", "teacher"))
            whole = work.compute(method, study.recipe, images, student, look)
            taught = method.tapped().teacher
            outcome.alone += count * whole / 1e12
            outcome.tmac += count * (work.compute(method, study.recipe, images, student, 0) if taught else whole) / 1e12
        shared = prepared.macs[hunts[0].pair.name, "teacher"] * work.looks(rows, study.recipe) * images
        outcome.tmac += len(search.seeds) * shared / 1e12


def _draw(hunt: Hunt, folder: Path, search: Search) -> None:
    """History, importance and slices of a search as pictures; those that too few trials allow are left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as pictures

    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[], Any]] = {
        "history": lambda: pictures.plot_optimization_history(hunt.study, target_name=search.objective),
        "importance": lambda: pictures.plot_param_importances(hunt.study, target_name=search.objective),
        "slice": lambda: pictures.plot_slice(hunt.study, target_name=search.objective),
    }
    for name, draw in drawings.items():
        try:
            with warnings.catch_warnings(action="ignore"):  # of importances that are all equal
                drawn = draw()
        except (RuntimeError, ValueError):  # Optuna has too few trials for it, or all are alike
            continue
        figure = drawn.figure if hasattr(drawn, "figure") else drawn.flat[0].figure
        figure.savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
        pyplot.close(figure)
