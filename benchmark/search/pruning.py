"""Reports trials to Optuna's pruner during training, and stops those that the pruner rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from benchmark.errors import LeaveCohort
from benchmark.records.journal import Epoch, Failed, Trained, read_journal
from benchmark.records.layout import CellFiles
from benchmark.search.row_search import RowSearch
from benchmark.search.trial_cells import TrialCells
from benchmark.training import cost
from benchmark.training.progress import Progress

Running = list[tuple[RowSearch, FrozenTrial]]
"""Trials that share a training run, because they have the same settings."""


class PruningListener(Progress):
    """Reports the epochs of one seed's training runs, and removes pruned trials from their cohort.

    All events, including epochs, are passed on to the session's own listener.
    """

    def __init__(
        self,
        progress: Progress,
        cells: TrialCells,
        running: Sequence[tuple[RowSearch, FrozenTrial]],
        seed: int,
    ):
        """Listen to the training runs of running trials.

        Args:
            progress: Receives every event.
            cells: The training runs of all trials.
            running: The trials of this round.
            seed: The seed whose training runs are reported.
        """
        self._progress = progress
        self._search = cells.search
        self._by_folder: dict[CellFiles, Running] = {}
        self._by_label: dict[str, Running] = {}
        self._early_epochs: dict[str, int] = {}

        for row_search, trial in running:
            files = cells.cell(row_search, trial, seed).files
            sharing = self._by_folder.setdefault(files, [])
            sharing.append((row_search, trial))
            self._by_label[row_search.trial_label(trial.number, seed)] = sharing

            method = row_search.method(row_search.published)
            length = cost.length(method, cells.prepared.study.recipe_of(row_search.row))
            self._early_epochs[row_search.key] = length.early

    def catch_up(self) -> None:
        """Report epochs that a crash left in the journals but not in Optuna.

        A training run that has ended is reported, but not considered for pruning again: the first
        decision was based on fewer trials of its round than are available now.
        """
        if self._search.pruner == "none":
            return

        for files, sharing in self._by_folder.items():
            records = read_journal(files.journal)
            epochs = [record for record in records if isinstance(record, Epoch)]
            ended = any(isinstance(record, Trained | Failed) for record in records)

            for row_search, trial in sharing:
                reported = row_search.stored(trial).intermediate_values
                for record in epochs:
                    if record.epoch not in reported:
                        self._report(row_search, trial, record.epoch, record.metrics)
                if epochs and not ended:
                    _prune_if_behind(row_search, trial)

    def planned(self, cells: Mapping[str, int]) -> None:
        """Pass the event on."""
        self._progress.planned(cells)

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Pass the event on."""
        self._progress.started(cell, epoch, epochs)

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Pass the event on, and report the epoch's objective to Optuna.

        Raises:
            LeaveCohort: Every trial that shares this training run has been pruned.
        """
        self._progress.epoch(cell, epoch, epochs, metrics)
        if self._search.pruner == "none" or self._search.objective not in metrics:
            return
        if cell not in self._by_label:
            return

        running = [
            (row_search, trial)
            for row_search, trial in self._by_label[cell]
            if _is_running(row_search, trial)
        ]
        for row_search, trial in running:
            early_epochs = self._early_epochs[row_search.key]
            self._report(row_search, trial, epoch - early_epochs, metrics)
            _prune_if_behind(row_search, trial)

        if not any(_is_running(row_search, trial) for row_search, trial in running):
            reason = f"pruned after epoch {epoch + 1}"
            self._progress.left_cohort(cell, reason)
            raise LeaveCohort(reason)

    def busy(self, cell: str, activity: str) -> None:
        """Pass the event on."""
        self._progress.busy(cell, activity)

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """Pass the event on."""
        self._progress.finished(cell, metrics)

    def failed(self, cell: str, reason: str) -> None:
        """Pass the event on."""
        self._progress.failed(cell, reason)

    def warn(self, text: str) -> None:
        """Pass the event on."""
        self._progress.warn(text)

    def _report(
        self, row_search: RowSearch, trial: FrozenTrial, epoch: int, metrics: Mapping[str, float]
    ) -> None:
        value = metrics[self._search.objective]
        row_search.storage.set_trial_intermediate_value(trial._trial_id, epoch, value)


def _prune_if_behind(row_search: RowSearch, trial: FrozenTrial) -> None:
    study = row_search.study
    if study.pruner.prune(study, row_search.stored(trial)):
        study.tell(trial.number, state=TrialState.PRUNED)


def _is_running(row_search: RowSearch, trial: FrozenTrial) -> bool:
    return row_search.stored(trial).state == TrialState.RUNNING
