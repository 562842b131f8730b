"""Reports trials to Optuna's pruner while they train, and stops those that it prunes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from benchmark.errors import LeaveCohort
from benchmark.records.journal import Epoch, Failed, Trained, read_journal
from benchmark.records.layout import CellFiles
from benchmark.search.hunt import Hunt, trial_label, trial_method
from benchmark.search.trials import Trials
from benchmark.training import cost
from benchmark.training.progress import Progress


class Judge(Progress):
    """Reports the epochs of the first seed's trainings to Optuna, and takes those that its pruner stops out."""

    def __init__(self, trials: Trials, running: Sequence[tuple[Hunt, FrozenTrial]], seed: int):
        self.trials, self.seed = trials, seed
        cells: dict[str, list[tuple[Hunt, FrozenTrial]]] = {}
        for hunt, trial in running:
            cells.setdefault(trials.cell(hunt, trial, seed)[1], []).append((hunt, trial))
        self._cells = cells
        self._by_label = {
            trial_label(hunt, trial.number, seed): own
            for own in cells.values()
            for hunt, trial in own
        }
        recipe = trials.prepared.study.recipe
        self._early = {
            hunt.key: cost.length(trial_method(hunt.row, hunt.published), recipe).early
            for hunt, _ in running
        }
        for name in ("planned", "started", "finished", "failed", "warn"):
            setattr(self, name, getattr(trials.progress, name))

    def catch_up(self) -> None:
        """Reports what a journal holds and Optuna has not heard of, since a stop came between."""
        if self.trials.search.pruner == "none":
            return
        for place, own in self._cells.items():
            records = read_journal(CellFiles(self.trials.folder / place).journal)
            epochs = [record for record in records if isinstance(record, Epoch)]
            over = any(isinstance(record, Trained | Failed) for record in records)
            for hunt, trial in own:
                known = hunt.storage.get_trial(trial._trial_id).intermediate_values
                for record in epochs:
                    if record.epoch not in known:
                        self._report(hunt, trial, record.epoch, record.metrics)
                if (
                    epochs and not over
                ):  # else it was judged, maybe before others of its round were told
                    self._judge(hunt, trial)

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Passes it on, reports it, and raises LeaveCohort where the pruner says so."""
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
            raise LeaveCohort(f"pruned after epoch {epoch + 1}")

    def _report(
        self, hunt: Hunt, trial: FrozenTrial, epoch: int, metrics: Mapping[str, float]
    ) -> None:
        value = metrics[self.trials.search.objective]
        hunt.storage.set_trial_intermediate_value(trial._trial_id, epoch, value)

    @staticmethod
    def _judge(hunt: Hunt, trial: FrozenTrial) -> None:
        if hunt.study.pruner.prune(hunt.study, hunt.storage.get_trial(trial._trial_id)):
            hunt.study.tell(trial.number, state=TrialState.PRUNED)

    @staticmethod
    def _runs(hunt: Hunt, trial: FrozenTrial) -> bool:
        return hunt.storage.get_trial(trial._trial_id).state == TrialState.RUNNING
