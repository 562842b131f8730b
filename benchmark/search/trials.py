"""Runs a pair's trials in rounds: chooses settings, trains cells side by side, reports results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from benchmark.execution.executors import CellSpec, CohortSpec, Resources
from benchmark.execution.session import Session
from benchmark.execution.specs import cell_spec, cohort_spec
from benchmark.failpoint import failpoint
from benchmark.records.layout import CellFiles
from benchmark.records.search import write_search
from benchmark.search.asking import ask
from benchmark.search.pruning import PruningListener
from benchmark.search.recording import search_record
from benchmark.search.rounds import cohorts, in_order, search_workers
from benchmark.search.row_search import RowSearch
from benchmark.search.trial_cells import TrialCells
from benchmark.study.study import Cell


@dataclass(frozen=True)
class Trials:
    """Runs the trials of all rows of a pair.

    Attributes:
        cells: The training runs of all trials.
        row_searches: The searches of the pair.
        session: The context of the command, including its executor.
        resources: Data and teachers in this process's memory.
        cohort_size: Maximum number of cells trained side by side; None for the best size.
    """

    cells: TrialCells
    row_searches: Sequence[RowSearch]
    session: Session
    resources: Resources
    cohort_size: int | None

    def make(self, numbers: range) -> None:
        """Run the trials of one round.

        Trials that were chosen before an interruption are trained to the end. Results are reported
        to Optuna in the same order as without an interruption.

        Args:
            numbers: The trial numbers of the round.
        """
        search = self.cells.search
        for row_search in self.row_searches:
            ask(row_search, numbers.stop, search)

        first, *others = search.seeds
        progress, executor = self.session.progress, self.session.executor
        listener = PruningListener(progress, self.cells, list(self._running(numbers)), first)
        listener.catch_up()

        cohorts = self._cohorts(numbers, first)
        if in_order(search):
            for cohort in cohorts:
                executor.run([cohort], self.resources, listener)
        else:
            executor.run(cohorts, self.resources, listener)

        later = [cohort for seed in others for cohort in self._cohorts(numbers, seed)]
        executor.run(later, self.resources, progress)

        for row_search, trial in self._running(numbers):
            self._tell(row_search, trial)
        for row_search in self.row_searches:
            record = search_record(row_search, self.cells)
            write_search(self.cells.folder.record(row_search.key), record)

    def _running(self, numbers: range) -> Iterator[tuple[RowSearch, FrozenTrial]]:
        """Yield the trials of a round whose results have not been reported to Optuna."""
        for row_search in self.row_searches:
            for trial in row_search.running(numbers):
                yield row_search, trial

    def _complete(self, numbers: range) -> Iterator[tuple[RowSearch, FrozenTrial]]:
        """Yield the trials of a round that are complete in Optuna."""
        for row_search in self.row_searches:
            for trial in row_search.trials():
                if trial.number in numbers and trial.state == TrialState.COMPLETE:
                    yield row_search, trial

    def _cohorts(self, numbers: range, seed: int) -> list[CohortSpec]:
        """Return the cohorts that remain to be trained with a seed.

        Among them are those of complete trials whose files were damaged and set aside.
        """
        prepared = self.cells.prepared
        pending: dict[CellFiles, tuple[Cell, CellSpec]] = {}
        for row_search, trial in (*self._running(numbers), *self._complete(numbers)):
            cell = self.cells.cell(row_search, trial, seed)
            if cell.files.done.exists() or cell.files in pending:
                continue  # finished, or shared with a trial that has the same settings
            label = row_search.trial_label(trial.number, seed)
            spec = cell_spec(self.session, label, cell.files, cell.configuration)
            published = Cell(prepared.study, row_search.pair, row_search.row, seed)
            pending[cell.files] = published, spec

        workers = search_workers(self.cells.search, self.session.workers)
        found = cohorts(prepared, [*pending.values()], self.cohort_size, workers)
        return [self._cohort(cohort) for cohort in found]

    def _cohort(self, members: Sequence[tuple[Cell, CellSpec]]) -> CohortSpec:
        """Describe a cohort."""
        prepared = self.cells.prepared
        first = members[0][0]
        specs = [spec for _, spec in members]
        return cohort_spec(
            prepared,
            self.session,
            prepared.teacher_of(first.pair.name),
            prepared.study.recipe_of(first.row),
            first.seed,
            specs,
            tested=False,
        )

    def _tell(self, row_search: RowSearch, trial: FrozenTrial) -> None:
        """Report to Optuna the mean objective over the seeds, or that a training run failed."""
        values = self.cells.values(row_search, trial).values()
        complete = [value for value in values if value is not None]

        failpoint("tune.tell")
        if len(complete) < len(values):
            row_search.study.tell(trial.number, state=TrialState.FAIL)
        else:
            row_search.study.tell(trial.number, sum(complete) / len(complete))
