"""The cells of trials: the training run of each trial and seed, and its objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from benchmark.execution.identities import identify, plain_configuration
from benchmark.execution.prepare import Prepared
from benchmark.execution.recorded_code import record_code
from benchmark.records.journal import Epoch, Trained, read_journal
from benchmark.records.layout import CellFiles, SearchFolder
from benchmark.search.row_search import RowSearch
from benchmark.search.spaces import nested
from benchmark.study.schema import Search
from benchmark.study.study import Cell


@dataclass(frozen=True)
class TrialCell:
    """One training run of a trial.

    Attributes:
        files: Its files; two trials with the same settings share them.
        configuration: Everything that determines its results.
    """

    files: CellFiles
    configuration: dict[str, Any]


@dataclass(frozen=True)
class TrialCells:
    """The training runs of all trials of a study.

    Attributes:
        prepared: The prepared study.
        search: Its search settings.
        folder: Folder of its searches.
        hashes: SHA-256 of each teacher's weights, by teacher key.
    """

    prepared: Prepared
    search: Search
    folder: SearchFolder
    hashes: Mapping[str, str]

    def cell(self, row_search: RowSearch, trial: FrozenTrial, seed: int) -> TrialCell:
        """Return the training run of a trial with a seed."""
        pair = row_search.pair
        chosen = {pair.name: nested(trial.params, row_search.row)}
        row = row_search.row.model_copy(update={"found": chosen})
        cell = Cell(self.prepared.study, pair, row, seed)

        plain, code = plain_configuration(self.prepared, cell, self.hashes)
        identified = identify({**plain, "role": "trial"}, code, self.folder)
        files = self.folder.cell(identified.id)
        record_code(identified.configuration, code, files)
        return TrialCell(files, identified.configuration)

    def values(self, row_search: RowSearch, trial: FrozenTrial) -> dict[int, float | None]:
        """Return the objective by seed; None for a training run that has not finished."""
        return {
            seed: self._value(self.cell(row_search, trial, seed).files)
            for seed in self.search.seeds
        }

    def _value(self, files: CellFiles) -> float | None:
        """Return the objective after the selected epoch; None if training has not finished."""
        records = read_journal(files.journal)
        selected = [record.epoch for record in records if isinstance(record, Trained)]
        if not selected:
            return None

        epochs = [record for record in records if isinstance(record, Epoch)]
        (epoch,) = (record for record in epochs if record.epoch == selected[-1])
        return float(epoch.metrics[self.search.objective])
