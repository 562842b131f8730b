"""Records a member in its folder, and reports its progress to the listener."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

from benchmark.errors import DamageError, first_line
from benchmark.files import write_error
from benchmark.records.checkpoints import CellFolder, Checkpoint, Tensors
from benchmark.records.done import Done
from benchmark.records.integrity import check_unfinished, configuration_digest
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final, Start, Stopped, Trained
from benchmark.records.reading import RETRAIN
from benchmark.records.tensor_files import pack
from benchmark.redact import shown
from benchmark.training import checkpointing
from benchmark.training.conditions import Task
from benchmark.training.progress import Progress

Submit = Callable[[Callable[[], None], Callable[[], None]], None]
"""Takes a function that writes files and one that reports them, to be called in this order."""


class Recorder:
    """Writes the checkpoints, journal and results of one cell, and reports progress.

    Everything is on disk before it is reported, and a checkpoint is written before the record of
    its epoch. If a crash leaves the journal one record short, `restore` adds the missing record.

    The checkpoints and records of epochs are written later, by another thread. They must have been
    reported before any other method is called.

    Attributes:
        task: The cell.
        epochs: Total number of epochs in both stages.
    """

    def __init__(self, task: Task, epochs: int, progress: Progress, submit: Submit):
        self.task = task
        self.epochs = epochs
        self._progress = progress
        self._submit = submit
        self._best: tuple[int, memoryview] | None = None
        self._journal = task.folder.journal()

    def restore(self, load: Callable[[Checkpoint], None]) -> None:
        """Load the newest intact checkpoint, if there is one.

        Args:
            load: Function that loads a checkpoint.

        Raises:
            DamageError: Training cannot resume from these files, because the journal is damaged or
                has lost records, the best weights so far are damaged, or the checkpoint is intact
                but incompatible with the cell.
        """
        check_unfinished(self.task.folder.files)
        checkpoint, warnings = self.task.folder.restore()
        for warning in warnings:
            self._progress.warn(warning)

        if checkpoint is None:
            return

        try:
            load(checkpoint)
            record = checkpointing.record_of(checkpoint)
        except (KeyError, ValueError, RuntimeError) as error:
            problem = f"the checkpoint is incompatible with this version of kdbench ({error})"
            raise DamageError(f"{self.task.folder.path}: {problem}") from error

        if record is not None:
            self._append_epoch(record)

    def start(self, epoch: int, environment: dict[str, str]) -> None:
        """Record that training starts or resumes, and warn if the environment has changed.

        Args:
            epoch: The next epoch, counted from 0 at the start of the early stage.
            environment: Versions and machine.
        """
        before = self._journal.last(Start)
        if before is not None and epoch > 0:
            changes = _changes(before.environment, environment)
            if changes:
                self._progress.warn(
                    f"{self.task.label}: resuming in a different environment ({', '.join(changes)})"
                )

        configuration = configuration_digest(self.task.folder.files)
        start = Start(epoch=epoch, environment=environment, configuration=configuration)
        self._journal.append(start)
        self._progress.started(self.task.label, epoch, self.epochs)

    def inside_epoch(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint that was taken inside an epoch, which has no record yet."""
        snapshot = checkpoint.snapshot()
        self._submit(
            lambda: self.task.folder.save(snapshot, self._journal.extent),
            lambda: None,
        )

    def best(self, epoch: int, tensors: Tensors) -> None:
        """Copy the best weights so far, which are saved along with the checkpoint of the epoch.

        Args:
            epoch: Index of the epoch in the main training.
            tensors: The weights.
        """
        self._best = epoch, pack(tensors)

    def epoch(self, record: EarlyEpoch | Epoch, checkpoint: Checkpoint) -> None:
        """Save the checkpoint of an epoch, and record the epoch."""
        position, snapshot = checkpoint.epoch, checkpoint.snapshot()
        best, self._best = self._best, None

        def write() -> None:
            folder = self.task.folder
            if best is not None:
                folder.save_best(*best)
            folder.save(snapshot, self._journal.extent)
            self._append_epoch(record)

        def report() -> None:
            self._progress.epoch(self.task.label, position, self.epochs, record.metrics)

        self._submit(write, report)

    def trained(self, epoch: int, digest: str, stopped: Stopped | None) -> None:
        """Record that training has finished, which unseals the test data; the evaluation follows.

        Args:
            epoch: The epoch whose weights are evaluated.
            digest: SHA-256 of the weights file.
            stopped: When the time limit ended the training; None if all epochs were trained.

        Raises:
            DamageError: The journal says so already, of other weights.
        """
        before = self._journal.last(Trained)
        if before is None:
            self._journal.append(Trained(epoch=epoch, sha256=digest, stopped=stopped))
        elif (before.epoch, before.sha256) != (epoch, digest):
            raise DamageError(
                f"{self._journal.path}: states other weights than were trained", RETRAIN
            )
        self._progress.busy(self.task.label, "evaluating")

    def finish(self, epoch: int, digest: str, metrics: dict[str, float]) -> None:
        """Record the results, and mark the cell as finished.

        Results that are already in the journal are kept.

        Args:
            epoch: The epoch whose weights were evaluated.
            digest: SHA-256 of the weights file.
            metrics: The results.
        """
        final = self._journal.last(Final)
        if final is None:
            final = Final(metrics=metrics)
            self._journal.append(final)

        folder = self.task.folder
        done = Done(
            sha256=digest,
            epoch=epoch,
            metrics=final.metrics,
            size=folder.size_of_weights(),
            time=final.time,
            journal=self._journal.extent,
            configuration=configuration_digest(folder.files),
        )
        folder.finish(done)
        self._progress.finished(self.task.label, final.metrics)

    def _append_epoch(self, record: EarlyEpoch | Epoch) -> None:
        """Append the record of an epoch, unless the journal already contains it.

        It already contains the record if a damaged checkpoint forced a restore from an older one.
        """
        if self._journal.count(type(record)) <= record.epoch:
            self._journal.append(record)


def epoch_record(
    epoch: int, position: int, metrics: dict[str, float], note: str | None = None
) -> EarlyEpoch | Epoch:
    """Return the journal record of an epoch.

    Args:
        epoch: Index of the epoch, negative in the early stage.
        position: Index of the same epoch, counted from 0 at the start of the early stage.
        metrics: Metrics of the epoch; in the early stage, their names get a prefix.
        note: How the device ran the steps; None if as they are written.
    """
    if epoch >= 0:
        return Epoch(epoch=epoch, metrics=metrics, note=note)
    early = {f"early/{name}": value for name, value in metrics.items()}
    return EarlyEpoch(epoch=position, metrics=early, note=note)


def record_failure(task: Task, error: BaseException, progress: Progress) -> None:
    """Record why a task failed: the reason in its journal, and the traceback in a file.

    If one of its files is damaged, the task is first set aside.
    """
    reason = first_line(error)
    if isinstance(error, DamageError):
        reason = f"{set_aside(task, error)}; run the study again to train it again"
    elif not isinstance(error, FloatingPointError):
        reason = f"{type(error).__name__}: {reason}"

    record_reason(task.folder, reason, "".join(traceback.format_exception(error)))
    progress.failed(task.label, reason)


def record_reason(folder: CellFolder, reason: str, details: str) -> None:
    """Record that a cell failed.

    Args:
        folder: The cell's folder.
        reason: Why, in one line, for its journal.
        details: All that is known about it, for a file.

    Raises:
        InputError: One of the two cannot be written.
    """
    path = folder.files.error
    try:
        path.write_text(shown(details), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise write_error(path, error) from error
    folder.journal().append(Failed(reason=reason))


def set_aside(task: Task, error: DamageError) -> str:
    """Set a damaged cell aside, and begin it anew, untrained.

    Returns:
        What was damaged, and where its files are now.

    Raises:
        InputError: The folder cannot be moved.
    """
    place = task.folder.set_aside()
    task.folder.begin(task.configuration)
    return f"{error.problem}; set aside in {place.parent.name}/{place.name}"


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe the differences between two environments."""
    return [
        f"{name} {before.get(name)} -> {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
