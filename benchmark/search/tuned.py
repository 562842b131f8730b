"""The file of tuned settings, `studies/tuned/<study>.yaml`: written by `tune` and read by `run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError

import methods
from benchmark.errors import InputError, first_line
from benchmark.files import write_atomically
from benchmark.study import yamlfile
from benchmark.study.plan import SUFFIX
from benchmark.study.schema import Row, Strict, TunedSettings
from benchmark.study.study import Study
from benchmark.wording import counted

if TYPE_CHECKING:
    from benchmark.search.recording import BestTrial

HEADER = """\
# Settings that `kdbench tune` found for the study {study}. `kdbench run --settings tuned` reads this file.
#
# Each row was tuned with {trials} of {seeds}, starting with the published settings, for {objective} on
# validation images. `value` is the objective of the best trial, `published` that of the first;
# `search` identifies the search.
"""  # noqa: E501

AGAIN = "run `kdbench tune` again"


class Entry(Strict):
    """The result of one search.

    Attributes:
        pair: Name of the pair.
        row: Name of the row.
        search: Identity of the search.
        trials: Number of trials of the search.
        trial: Number of the best trial; trial 0 has the published settings.
        published: Objective of trial 0; None if that trial is not complete.
        value: Objective of the best trial.
        compute_tmac: Compute of all trials, in 10^12 multiply-accumulates.
        found: Settings of the best trial.
    """

    pair: str
    row: str
    search: str
    trials: Annotated[int, Field(ge=1)]
    trial: Annotated[int, Field(ge=0)]
    published: float | None
    value: float
    compute_tmac: float
    found: TunedSettings


class Settings(Strict):
    """The content of the file.

    Attributes:
        study: Name of the study.
        objective: The metric that the searches optimised.
        seeds: Seeds of every trial.
        epochs: Epochs of the study's recipe.
        searches: The results, one entry per search.
    """

    study: str
    objective: str
    seeds: list[int]
    epochs: int
    searches: Annotated[list[Entry], Field(min_length=1)]


def settings_file(study: Path) -> Path:
    """Return the file of tuned settings that belongs to a study's file."""
    return study.parent / "tuned" / study.name


def write(path: Path, study: Study, best: Sequence[BestTrial]) -> None:
    """Write the settings that searches found.

    Args:
        path: The file.
        study: The study.
        best: The best trial of every search that has one.

    Raises:
        InputError: The file cannot be written.
    """
    search = study.search
    assert search is not None
    content = {
        "study": study.name,
        "objective": search.objective,
        "seeds": search.seeds,
        "epochs": study.recipe.epochs,
        "searches": [_entry(trial) for trial in best],
    }
    header = HEADER.format(
        study=study.name,
        trials=counted(search.trials, "trial"),
        seeds=counted(len(search.seeds), "seed"),
        objective=search.objective,
    )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be created ({error.strerror})") from None
    write_atomically(path, (header + yamlfile.dump(content)).encode())


def read(path: Path) -> Settings:
    """Read tuned settings.

    Raises:
        InputError: There is no such file, or its content is invalid.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; run `kdbench tune` to create it")

    try:
        return Settings.model_validate(yamlfile.read(path).data)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        reason = first_line(ValueError(problem["msg"]))
        raise InputError(f"{path}: {key}: {reason}; {AGAIN}") from None


def with_tuned_rows(study: Study, path: Path) -> Study:
    """Return a study with an additional tuned row for each row that was searched.

    Args:
        study: The study.
        path: The file of tuned settings.

    Raises:
        InputError: The file belongs to another study, no longer fits this one, or its rows
            had different numbers of trials.
    """
    settings = read(path)
    budgets = sorted({entry.trials for entry in settings.searches})
    if settings.study != study.name:
        raise InputError(f"{path}: study: is {settings.study!r}, not {study.name!r}; {AGAIN}")
    if len(budgets) > 1:
        counts = " and ".join(map(str, budgets))
        raise InputError(f"{path}: rows had {counts} trials, but must have equal budgets; {AGAIN}")

    for index, entry in enumerate(settings.searches):
        _check_entry(study, entry, index, path)
    _check_pairs_and_seeds(study, settings, path)

    tuned: list[Row] = []
    for row in study.methods:
        entries = [entry for entry in settings.searches if entry.row == row.name]
        if entries:
            tuned.append(_tuned_row(row, entries))
    return study.model_copy(update={"methods": [*study.methods, *tuned]})


def _entry(trial: BestTrial) -> dict[str, object]:
    return {
        "pair": trial.pair,
        "row": trial.row,
        "search": trial.key,
        "trials": trial.trials,
        "trial": trial.number,
        "published": trial.published,
        "value": trial.value,
        "compute_tmac": round(trial.compute_tmac, 6),
        "found": trial.settings.model_dump(exclude_none=True),
    }


def _tuned_row(row: Row, entries: Sequence[Entry]) -> Row:
    changes = {
        "name": f"{row.name}{SUFFIX}",
        "found": {entry.pair: entry.found for entry in entries},
        "trials": entries[0].trials,
        "search_tmac": {entry.pair: entry.compute_tmac for entry in entries},
    }
    return row.model_copy(update=changes)


def _check_entry(study: Study, entry: Entry, index: int, path: Path) -> None:
    """Raise InputError if a result no longer fits the study."""
    rows = {row.name: row for row in study.methods}
    if entry.row not in rows:
        raise InputError(
            f"{path}: contains settings for {entry.row!r}, which is not a row of the study; {AGAIN}"
        )
    if entry.pair not in [pair.name for pair in study.pairs]:
        raise InputError(
            f"{path}: contains settings for {entry.pair!r}, which is not a pair of the "
            f"study; {AGAIN}"
        )

    tuned_name = f"{entry.row}{SUFFIX}"
    if tuned_name in rows:
        raise InputError(f"{path}: the study already has a row {tuned_name!r}; rename that row")

    row = rows[entry.row]
    try:
        methods.create(row.method, **{**row.settings, **entry.found.settings})
    except methods.SettingError as error:
        raise InputError(f"{path}: searches[{index}].found.settings: {error}; {AGAIN}") from None


def _check_pairs_and_seeds(study: Study, settings: Settings, path: Path) -> None:
    """Raise InputError if a pair has no settings, or if the study uses a seed of the search."""
    searched = {entry.pair for entry in settings.searches}
    for pair in study.pairs:
        if pair.name not in searched:
            raise InputError(f"{path}: contains no settings for the pair {pair.name!r}; {AGAIN}")

    shared = sorted(set(study.seeds) & set(settings.seeds))
    if shared:
        raise InputError(
            f"{path}: seeds: the settings were chosen with seed {shared[0]}, which the study "
            "also uses; choose other seeds for the study"
        )
