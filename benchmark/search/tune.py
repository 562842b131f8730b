"""Searches for settings, the same budget for every method, on validation images alone.

Optuna chooses, the cohort engine trains: the trials of one round, of all methods of a pair, share one data stream and
one teacher pass. A trial's networks are cells with journals like any others, except that they never meet test images.
One process asks and tells. What it asks depends on the trials told before and on a seed per trial alone, so a search
that was killed goes on to the same trials, settings and values as one that never was. Besides this file only `trials`,
`sampling` and `storage` import Optuna.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection as Direction

from benchmark import RULES
from benchmark.errors import InputError
from benchmark.execution import prepare, run
from benchmark.execution.prepare import Prepared
from benchmark.hashing import identity
from benchmark.locks import locked
from benchmark.search.database import answering, default_storage, open_storage
from benchmark.search.hunt import Best, Hunt, trial_label, trial_method
from benchmark.search.samplers import pruner
from benchmark.search.spaces import published, space
from benchmark.search.trials import Trials
from benchmark.study.schema import Pair, Row, Search
from benchmark.training import cost
from benchmark.training.conditions import Conditions
from benchmark.training.progress import Progress
from methods import Setting


@dataclass
class Outcome:
    """What all searches of a study came to.

    failed: labels of those without a complete trial. tmac: what was computed; alone: the same without sharing.
    """

    best: list[Best] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    tmac: float = 0.0
    alone: float = 0.0


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
    with prepare.named(source):
        search = _asked_for(prepared)
    address = storage or default_storage(folder)
    with locked(folder), _quiet(), answering(address):
        opened = open_storage(address)
        lent = run.lend(prepared, workspace, folder, source, environment, progress)
        hashes = {key: teacher.sha256 for key, teacher in lent.items()}
        with prepare.named(source):
            hunts = _hunts(prepared, search, hashes, opened)
        progress.planned(dict(_labels(prepared, search, hunts)))
        outcome = Outcome()
        for pair in study.pairs:
            own = [hunt for hunt in hunts if hunt.pair.name == pair.name]
            want = next(one for one in prepared.wanted if pair.name in one.pairs)
            conditions = Conditions(
                prepared.data, study.recipe, 0, study.select, lent[want.key], environment, False
            )
            trials = Trials(prepared, search, folder, hashes, conditions, progress)
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


def _asked_for(prepared: Prepared) -> Search:
    search = prepared.study.search
    if search is None:
        raise InputError(
            "search: missing; `kdbench tune` needs it, for instance `search: {trials: 20}`"
        )
    for place, row in enumerate(prepared.study.methods):
        if not space(row, search):
            raise InputError(
                f"methods[{place}]: {row.name} has no setting that is searched; give search.lr or search.weight_decay, "
                "which are searched for all methods, or leave it out"
            )
    return search


def _hunts(
    prepared: Prepared,
    search: Search,
    hashes: Mapping[str, str],
    storage: optuna.storages.BaseStorage,
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
                pruner=pruner(search, prepared.study.recipe.epochs),
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
    prepared: Prepared,
    search: Search,
    pair: Pair,
    row: Row,
    spaces: Mapping[str, Setting],
    hashes: Mapping[str, str],
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
        epochs = cost.length(trial_method(hunt.row, hunt.published), prepared.study.recipe).total
        for number in range(told, search.trials):
            yield from ((trial_label(hunt, number, seed), epochs) for seed in search.seeds)


def _count(prepared: Prepared, search: Search, hunts: Sequence[Hunt], outcome: Outcome) -> None:
    """Adds what a pair's trials compute, sharing teacher passes and not."""
    study = prepared.study
    images = prepared.data.steps(study.recipe.batch_size) * study.recipe.batch_size
    rows = [trial_method(hunt.row, hunt.published) for hunt in hunts]
    for start in range(0, search.trials, search.together):
        count = len(search.seeds) * min(search.together, search.trials - start)
        for hunt, method in zip(hunts, rows, strict=True):
            student, look = (prepared.macs[hunt.pair.name, side] for side in ("student", "teacher"))
            whole = cost.compute(method, study.recipe, images, student, look)
            taught = method.tapped().teacher
            outcome.alone += count * whole / 1e12
            outcome.tmac += (
                count
                * (cost.compute(method, study.recipe, images, student, 0) if taught else whole)
                / 1e12
            )
        shared = (
            prepared.macs[hunts[0].pair.name, "teacher"] * cost.teacher_passes(rows, study.recipe) * images
        )
        outcome.tmac += len(search.seeds) * shared / 1e12
