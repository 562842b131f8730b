"""The search for one row's settings on one pair, as an Optuna study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

import methods
from benchmark import RULES
from benchmark.code import Code
from benchmark.errors import InputError
from benchmark.execution.cell_code import code_of_cell
from benchmark.execution.prepare import Prepared
from benchmark.execution.recorded_code import CODE
from benchmark.hashing import identity
from benchmark.records.layout import SearchFolder
from benchmark.records.search import read_search
from benchmark.search.samplers import pruner
from benchmark.search.spaces import nested, published, space
from benchmark.study.schema import Pair, Row, Search
from benchmark.study.study import Cell
from methods import Method, Setting


@dataclass(frozen=True)
class RowSearch:
    """The search for one row's settings on one pair.

    Attributes:
        pair: The pair.
        row: The row.
        key: Identity of the search: the hash of everything that determines it.
        definition: The same hash without the code.
        code: The code that the trials are trained with.
        space: The searched settings by flat name.
        published: The settings of trial 0, by flat name.
        study: The Optuna study.
        storage: The storage that contains the Optuna study.
    """

    pair: Pair
    row: Row
    key: str
    definition: str
    code: Code
    space: dict[str, Setting]
    published: dict[str, Any]
    study: optuna.Study
    storage: optuna.storages.BaseStorage

    @property
    def label(self) -> str:
        """Name of the search in messages."""
        return f"{self.pair.name} / {self.row.name}"

    def trial_label(self, number: int, seed: int) -> str:
        """Return the name of one training run of a trial, for messages and progress events."""
        return f"{self.label} / trial {number} / seed {seed}"

    def trials(self) -> list[FrozenTrial]:
        """Return the trials whose settings have been chosen, by number."""
        return self.study.get_trials(deepcopy=False)

    def running(self, numbers: range) -> list[FrozenTrial]:
        """Return the trials with these numbers whose results have not been reported to Optuna."""
        return [
            trial
            for trial in self.trials()
            if trial.number in numbers and trial.state == TrialState.RUNNING
        ]

    def stored(self, trial: FrozenTrial) -> FrozenTrial:
        """Return the current state of a trial in the storage."""
        return self.storage.get_trial(trial._trial_id)

    def method(self, params: Mapping[str, Any]) -> Method:
        """Create the row's method with settings by flat name."""
        settings = nested(params, self.row).settings
        return methods.create(self.row.method, **settings)


def open_searches(
    prepared: Prepared,
    search: Search,
    hashes: Mapping[str, str],
    storage: optuna.storages.BaseStorage,
    folder: SearchFolder,
) -> list[RowSearch]:
    """Open the searches of a study: one for every row that can run, on every pair with a teacher.

    Args:
        prepared: The prepared study.
        search: Its search settings.
        hashes: SHA-256 of the weights of the teachers that are known, by teacher key.
        storage: The storage for the trials.
        folder: The folder of the study's searches.

    Raises:
        InputError: A search already has more trials than the study requests, or a published
            setting is outside its search space.
    """
    searches: list[RowSearch] = []
    for pair in prepared.study.pairs:
        if prepared.teacher_of(pair.name).key not in hashes:
            continue
        for index, row in enumerate(prepared.study.methods):
            if f"{pair.name}/{row.name}" in prepared.not_applicable:
                continue

            row_search = _open(prepared, search, pair, index, hashes, storage, folder)
            count = len(row_search.trials())
            if count > search.trials:
                raise InputError(
                    f"search.trials: is {search.trials}, but {row_search.label} already has "
                    f"{count} trials; set it to {count} or more, or start a new search with "
                    "another search.seed"
                )
            searches.append(row_search)
    return searches


def _open(
    prepared: Prepared,
    search: Search,
    pair: Pair,
    index: int,
    hashes: Mapping[str, str],
    storage: optuna.storages.BaseStorage,
    folder: SearchFolder,
) -> RowSearch:
    """Open the search for one row, given by its index, on one pair."""
    study = prepared.study
    row = study.methods[index]
    recipe = study.recipe_of(row)
    settings = space(row, search)
    first = published(row, settings, recipe, f"methods[{index}]")
    identified = identify_search(prepared, search, pair, row, settings, hashes, folder)

    optuna_study = optuna.create_study(
        storage=storage,
        study_name=f"{study.name} / {pair.name} / {row.name} / {identified.key}",
        direction=StudyDirection.MAXIMIZE if search.maximise else StudyDirection.MINIMIZE,
        load_if_exists=True,
        pruner=pruner(search, recipe.epochs),
    )
    return RowSearch(
        pair=pair,
        row=row,
        key=identified.key,
        definition=identified.definition,
        code=identified.code,
        space=settings,
        published=first,
        study=optuna_study,
        storage=storage,
    )


@dataclass(frozen=True)
class SearchIdentity:
    """What tells one search from another.

    Attributes:
        key: Its identity.
        definition: Its identity without the code.
        code: The code that its cells are trained with.
    """

    key: str
    definition: str
    code: Code


def identify_search(
    prepared: Prepared,
    search: Search,
    pair: Pair,
    row: Row,
    settings: Mapping[str, Setting],
    hashes: Mapping[str, str],
    folder: SearchFolder,
) -> SearchIdentity:
    """Return the identity of a search.

    Its key is a hash of everything that determines the search, except its number of trials, which
    may grow.

    Args:
        prepared: The prepared study.
        search: Its search settings.
        pair: The pair.
        row: The row.
        settings: The searched settings by flat name.
        hashes: SHA-256 of each teacher's weights, by teacher key.
        folder: The folder of the study's searches.
    """
    study = prepared.study
    teacher = prepared.teacher_of(pair.name)
    definition = {
        "rules": RULES,
        "role": "search",
        "data": study.data(prepared.data.fingerprint),
        "teacher": {**teacher.network.identity, "sha256": hashes[teacher.key]},
        "student": pair.student.identity,
        "method": {"name": row.method, "settings": row.settings},
        "space": {name: str(setting.search) for name, setting in settings.items()},
        "recipe": study.recipe_of(row).identity,
        "select": study.select,
        "search": search.model_dump(exclude={"trials"}, exclude_none=True),
    }
    code = code_of_cell(Cell(study, pair, row, search.seeds[0]), teacher.network)
    return SearchIdentity(_key(definition, code, folder), identity(definition), code)


def _key(definition: dict[str, Any], code: Code, folder: SearchFolder) -> str:
    """Return the identity of a search, which a version that recorded no code may have started."""
    current = identity({**definition, CODE: code})
    earlier = folder.record(identity(definition))

    if folder.record(current).exists() or not earlier.exists():
        return current
    return identity(definition) if read_search(earlier).code in (None, code) else current
