"""Describes the current state of searches, for the records that are copied to MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from benchmark.records.journal import EarlyEpoch, Epoch, read_journal
from benchmark.records.layout import CellFiles
from benchmark.records.search import SearchRecord, TrialRecord
from benchmark.search.row_search import RowSearch
from benchmark.search.samplers import sampler_name
from benchmark.search.spaces import nested
from benchmark.search.trial_cells import TrialCells
from benchmark.study.schema import Search, TunedSettings
from benchmark.training import cost
from benchmark.wording import counted


@dataclass(frozen=True)
class BestTrial:
    """The best trial of a search.

    Attributes:
        pair: Name of the pair.
        row: Name of the row.
        key: Identity of the search.
        trials: Number of trials of the search.
        settings: The settings of the best trial.
        published: Objective of trial 0; None if that trial is not complete.
        value: Objective of the best trial.
        number: Number of the best trial.
        compute_tmac: Compute of all trials, in 10^12 multiply-accumulates.
    """

    pair: str
    row: str
    key: str
    trials: int
    settings: TunedSettings
    published: float | None
    value: float
    number: int
    compute_tmac: float


def search_record(row_search: RowSearch, cells: TrialCells) -> SearchRecord:
    """Describe the current state of a search.

    Args:
        row_search: The search.
        cells: The training runs of all trials.
    """
    study, search = cells.prepared.study, cells.search
    pair, row = row_search.pair, row_search.row
    trials = [_trial_record(row_search, trial, cells) for trial in row_search.trials()]
    best = _best(trials, search)

    pictures = sorted(cells.folder.figures(row_search.key).glob("*.png"))
    return SearchRecord(
        key=row_search.key,
        definition=row_search.definition,
        code=row_search.code,
        optuna_study=row_search.study.study_name,
        study=study.name,
        experiment=f"{study.experiment}/search/{pair.name}/{row.name}",
        pair=pair.name,
        row=row.name,
        method=row.method,
        teacher=pair.teacher.model,
        student=pair.student.model,
        dataset=study.dataset.name,
        objective=search.objective,
        maximise=search.maximise,
        seeds=search.seeds,
        budget=search.trials,
        sampler=sampler_name(search, row_search.space),
        published=row_search.published,
        space={name: str(setting.search) for name, setting in row_search.space.items()},
        trials=trials,
        best=None if best is None else best.number,
        figures=[path.relative_to(cells.folder.path).as_posix() for path in pictures],
        gained=_sentence(trials, best, search),
    )


def best_trial(row_search: RowSearch, record: SearchRecord) -> BestTrial | None:
    """Return the best trial of a search; None if no trial is complete.

    Args:
        row_search: The search.
        record: The record of that search.
    """
    if record.best is None:
        return None

    best = record.trials[record.best]
    assert best.value is not None
    return BestTrial(
        pair=record.pair,
        row=record.row,
        key=record.key,
        trials=len(record.trials),
        settings=nested(best.params, row_search.row),
        published=record.trials[0].value,
        value=best.value,
        number=best.number,
        compute_tmac=sum(trial.compute_tmac for trial in record.trials),
    )


def _trial_record(row_search: RowSearch, trial: FrozenTrial, cells: TrialCells) -> TrialRecord:
    started: dict[int, CellFiles] = {}
    for seed in cells.search.seeds:
        files = cells.cell(row_search, trial, seed).files
        if files.journal.exists():
            started[seed] = files

    values = {
        str(seed): value
        for seed, value in cells.values(row_search, trial).items()
        if value is not None
    }
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        values=values,
        params=trial.params,
        source=trial.user_attrs.get("source", "search"),
        cells={str(seed): cells.folder.relative(files) for seed, files in started.items()},
        compute_tmac=_compute(row_search, trial, cells, list(started.values())),
    )


def _compute(
    row_search: RowSearch, trial: FrozenTrial, cells: TrialCells, started: Sequence[CellFiles]
) -> float:
    """Return the compute of a trial so far, in 10^12 multiply-accumulates."""
    prepared = cells.prepared
    recipe, pair = prepared.study.recipe_of(row_search.row), row_search.pair.name
    method = row_search.method(trial.params)

    images = prepared.data.steps(recipe.batch_size) * recipe.batch_size
    student, teacher = prepared.macs[pair, "student"], prepared.macs[pair, "teacher"]

    macs = 0.0
    for files in started:
        records = read_journal(files.journal)
        early = sum(isinstance(record, EarlyEpoch) for record in records)
        epochs = sum(isinstance(record, Epoch) for record in records)
        trained = cost.Length(early, epochs)
        macs += cost.compute(method, trained, images, student, teacher, recipe.teacher_cache)
    return macs / 1e12


def _best(trials: Sequence[TrialRecord], search: Search) -> TrialRecord | None:
    """Return the best complete trial, or the first of them if several are equally good."""
    best: TrialRecord | None = None
    for trial in trials:
        if trial.state != "COMPLETE" or trial.value is None:
            continue
        if best is None or best.value is None or _is_better(trial.value, best.value, search):
            best = trial
    return best


def _is_better(value: float, other: float, search: Search) -> bool:
    return value > other if search.maximise else value < other


def _sentence(trials: Sequence[TrialRecord], best: TrialRecord | None, search: Search) -> str:
    """Describe the result of a search in one sentence."""
    ended = sum(trial.state in ("COMPLETE", "PRUNED", "FAIL") for trial in trials)
    if best is None:
        return f"{ended} of {counted(search.trials, 'trial')}, none complete."

    first = trials[0].value
    before = "" if first is None else f", {first:.4g} as published"
    which = f"trial {best.number}" if best.number else "the published settings"
    return (
        f"Best {search.objective} of {counted(ended, 'trial')}: {best.value:.4g} "
        f"({which}{before}), mean of {counted(len(search.seeds), 'seed')}."
    )
