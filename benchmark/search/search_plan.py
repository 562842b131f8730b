"""What `kdbench tune` would do: the trials of every search, and the cohorts that they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.execution.prepare import Prepared
from benchmark.records.layout import SearchFolder
from benchmark.records.search import read_search
from benchmark.search.rounds import cohorts, rounds, search_workers
from benchmark.search.row_search import identify_search
from benchmark.search.spaces import published, space
from benchmark.study.schema import Pair, Search
from benchmark.study.study import Cell

ENDED = ("COMPLETE", "PRUNED", "FAIL")
"""States of trials that need no more training."""


@dataclass(frozen=True)
class PlannedSearch:
    """The search for one row's settings on one pair.

    Attributes:
        pair: Name of the pair.
        row: Name of the row.
        settings: Names of the searched settings.
        ended: Number of trials that have ended.
    """

    pair: str
    row: str
    settings: tuple[str, ...]
    ended: int


@dataclass(frozen=True)
class SearchPlan:
    """The searches of a study, and what remains to be trained.

    Attributes:
        searches: All searches.
        cohorts: The cohorts of the trials that have not ended, with the published settings in place
            of those that the search will choose.
    """

    searches: list[PlannedSearch]
    cohorts: list[list[Cell]]


def search_plan(
    prepared: Prepared,
    search: Search,
    hashes: Mapping[str, str],
    folder: SearchFolder,
    cohort_size: int | None,
    workers: int,
) -> SearchPlan:
    """Plan the trials of a study without opening the database of trials.

    Args:
        prepared: The study.
        search: Its search settings.
        hashes: SHA-256 of the weights of the stored teachers, by key.
        folder: Folder of the study's searches, whose records count the trials that have ended.
        cohort_size: Maximum number of cells trained side by side; None for the best size.
        workers: Number of cohorts that are trained at once.

    Raises:
        InputError: A published setting is outside its search space, or a record is damaged.
    """
    searches: list[PlannedSearch] = []
    to_train: list[list[Cell]] = []
    for pair in prepared.study.pairs:
        planned = _of_pair(prepared, search, pair, hashes, folder)
        at_once = search_workers(search, workers)
        to_train += _cohorts(prepared, search, pair, planned, cohort_size, at_once)
        searches += planned
    return SearchPlan(searches, to_train)


def _of_pair(
    prepared: Prepared,
    search: Search,
    pair: Pair,
    hashes: Mapping[str, str],
    folder: SearchFolder,
) -> list[PlannedSearch]:
    """Return the searches of a pair, in the order of the rows."""
    study = prepared.study
    known = prepared.teacher_of(pair.name).key in hashes

    planned = []
    for index, row in enumerate(study.methods):
        if f"{pair.name}/{row.name}" in prepared.not_applicable:
            continue

        settings = space(row, search)
        published(row, settings, study.recipe_of(row), f"methods[{index}]")
        ended = 0
        if known:
            identified = identify_search(prepared, search, pair, row, settings, hashes, folder)
            ended = _ended(folder, identified.key)
        planned.append(PlannedSearch(pair.name, row.name, tuple(settings), ended))
    return planned


def _ended(folder: SearchFolder, key: str) -> int:
    """Return the number of trials of a search that have ended."""
    path = folder.record(key)
    if not path.exists():
        return 0
    return sum(trial.state in ENDED for trial in read_search(path).trials)


def _cohorts(
    prepared: Prepared,
    search: Search,
    pair: Pair,
    planned: list[PlannedSearch],
    cohort_size: int | None,
    workers: int,
) -> list[list[Cell]]:
    """Return the cohorts of a pair's remaining trials, in the order of their training."""
    rows = {row.name: row for row in prepared.study.methods}
    to_train = []
    for numbers in rounds(search):
        for seed in search.seeds:
            cells = [
                (Cell(prepared.study, pair, rows[own.row], seed), number)
                for own in planned
                for number in numbers
                if number >= own.ended
            ]
            for cohort in cohorts(prepared, cells, cohort_size, workers):
                to_train.append([cell for cell, _ in cohort])
    return to_train
