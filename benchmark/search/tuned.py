"""The settings that searches found, as a file: `studies/tuned/<study>.yaml`, written by `tune`, read by `run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import Field, ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark.cli.tables import table
from benchmark.errors import InputError, first_line
from benchmark.files import write_atomically
from benchmark.study import yamlfile
from benchmark.study.plan import SUFFIX
from benchmark.study.schema import Row, Strict, TunedSettings
from benchmark.study.study import Study

if TYPE_CHECKING:
    from benchmark.search.hunt import Best
    from benchmark.search.tune import Outcome

HEADER = """\
# Settings that `kdbench tune` found for the study {study}; written by it, read by `kdbench run --settings tuned`.
#
# Every row had {trials} trials, the published settings first, {seeds} seeds each, chosen by {objective} on validation
# images. `value` is the best trial's objective, `published` the first one's; `search` is the search's identity.
"""


class Entry(Strict):
    """What one search found.  trial: its number; 0 is the published settings."""

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
    """The whole file."""

    study: str
    objective: str
    seeds: list[int]
    epochs: int
    searches: Annotated[list[Entry], Field(min_length=1)]


def place(study: Path) -> Path:
    """Where the settings of a study's file lie."""
    return study.parent / "tuned" / study.name


def write(path: Path, study: Study, best: Sequence[Best]) -> None:
    """Writes what searches found. Raises InputError if it cannot be written."""
    assert study.search is not None
    entries = [
        {
            "pair": one.pair,
            "row": one.row,
            "search": one.key,
            "trials": one.trials,
            "trial": one.number,
            "published": one.published,
            "value": one.value,
            "compute_tmac": round(one.compute_tmac, 6),
            "found": one.found.model_dump(exclude_none=True),
        }
        for one in best
    ]
    content = {
        "study": study.name,
        "objective": study.search.objective,
        "seeds": study.search.seeds,
        "epochs": study.recipe.epochs,
        "searches": entries,
    }
    header = HEADER.format(
        study=study.name,
        trials=study.search.trials,
        seeds=len(study.search.seeds),
        objective=study.search.objective,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({error.strerror})") from None
    write_atomically(path, (header + yaml.safe_dump(content, sort_keys=False)).encode())


def read(path: Path) -> Settings:
    """The settings in a file. Raises InputError, naming file and key."""
    if not path.exists():
        raise InputError(f"{path}: no such file; `kdbench tune` writes it")
    try:
        return Settings.model_validate(yamlfile.read(path).data)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise InputError(
            f"{path}: {key}: {first_line(ValueError(problem['msg']))}; run `kdbench tune` again"
        ) from None


def with_tuned_rows(study: Study, path: Path) -> Study:
    """The study with a second row for each that was searched.

    Raises InputError if the file is another study's, does not fit this one, or its rows had unequal budgets.
    """
    settings = read(path)
    if settings.study != study.name:
        raise InputError(f"{path}: study: is {settings.study!r}, not {study.name!r}")
    budgets = sorted({entry.trials for entry in settings.searches})
    if len(budgets) > 1:
        counts = " and ".join(map(str, budgets))
        raise InputError(
            f"{path}: rows had {counts} trials; unequal budgets are not compared, run `kdbench tune` again"
        )
    _check(study, settings, path)
    rows: list[Row] = []
    for row in study.methods:
        own = [entry for entry in settings.searches if entry.row == row.name]
        if own:
            found = {entry.pair: entry.found for entry in own}
            tmac = {entry.pair: entry.compute_tmac for entry in own}
            new = {
                "name": f"{row.name}{SUFFIX}",
                "found": found,
                "trials": budgets[0],
                "search_tmac": tmac,
            }
            rows.append(row.model_copy(update=new))
    return study.model_copy(update={"methods": [*study.methods, *rows]})


def _check(study: Study, settings: Settings, path: Path) -> None:
    """Raises InputError for what a study that changed, or a hand in the file, has made of the settings."""
    again, rows, pairs = "run `kdbench tune` again", {row.name: row for row in study.methods}, []
    for place, entry in enumerate(settings.searches):
        row = rows.get(entry.row)
        if row is None:
            raise InputError(
                f"{path}: holds settings of {entry.row!r}, which is no row of the study; {again}"
            )
        if entry.pair not in [pair.name for pair in study.pairs]:
            raise InputError(
                f"{path}: holds settings for {entry.pair!r}, which is no pair of the study; {again}"
            )
        if f"{entry.row}{SUFFIX}" in rows:
            raise InputError(
                f"{path}: the study has a row {entry.row + SUFFIX!r} already; give it another name"
            )
        try:
            methods.create(row.method, **{**row.settings, **entry.found.settings})
        except methods.SettingError as error:
            raise InputError(
                f"{path}: searches[{place}].found.settings: {error}; {again}"
            ) from None
        pairs.append(entry.pair)
    lacking = [pair.name for pair in study.pairs if pair.name not in pairs]
    if lacking:
        raise InputError(f"{path}: holds no settings for the pair {lacking[0]!r}; {again}")
    both = sorted(set(study.seeds) & set(settings.seeds))
    if both:
        raise InputError(
            f"{path}: seeds: the study's seeds hold {both[0]} too; the comparison is made on fresh ones"
        )


def summary(outcome: Outcome) -> RenderableType:
    """What all searches found, a line each, and what sharing the teacher's passes saved."""
    rows = [
        [
            one.pair,
            one.row,
            "" if one.published is None else f"{one.published:.2f}",
            f"{one.value:.2f}",
            f"trial {one.number} of {one.trials}" if one.number else "as published",
            f"{one.compute_tmac:.2f}",
            ", ".join(f"{name} {value:.4g}" for name, value in _numbers(one.found)),
        ]
        for one in outcome.best
    ]
    headers = ["pair", "method", "published", "best", "where", "TMAC", "settings"]
    ratio = outcome.alone / max(outcome.tmac, 1e-12)
    saved = f"{outcome.tmac:.2f} TMAC in cohorts; {outcome.alone:.2f} as separate trainings, {ratio:.2f} times as much"
    return Group(table("", headers, rows), Text(), Text(saved))


def _numbers(found: TunedSettings) -> Iterator[tuple[str, float]]:
    for key, value in found.model_dump(exclude_none=True).items():
        for name, number in value.items() if isinstance(value, dict) else [(key, value)]:
            parts = number.items() if isinstance(number, dict) else [("", number)]
            for part, one in parts:
                if isinstance(one, int | float) and not isinstance(one, bool):
                    yield f"{name}.{part}" if part else name, float(one)
