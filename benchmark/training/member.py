"""Trains one student of a cohort, from its first epoch to its test."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from benchmark.data import Loaded
from benchmark.training import evaluate, results
from benchmark.training.assembly import assemble
from benchmark.training.checkpointing import Partial
from benchmark.training.conditions import Conditions, Task
from benchmark.training.epoch_log import check_weights, has_finite_weights
from benchmark.training.losses import Step
from benchmark.training.progress import Progress
from benchmark.training.recorder import Recorder, epoch_record, record_failure
from benchmark.training.state import State
from benchmark.training.stopwatch import Stopwatch, TeacherTime
from benchmark.training.work import Runner, at_once
from benchmark.training.writing import Writer
from methods import Output


class Member:
    """A student that trains in a cohort.

    Attributes:
        task: The cell.
        conditions: Data and settings shared with the rest of the cohort.
        parts: Student, method and companion, and how they are trained.
        student: The student.
        needs: The taps that the method needs.
        length: Number of epochs in each of the two stages.
        state: What changes during the training, such as the current epoch.
        left: Whether the member has left its cohort, because it failed or was pruned.
        note: How the device runs the steps, for the journal; None if as they are written.
    """

    def __init__(self, task: Task, conditions: Conditions, progress: Progress, writer: Writer):
        """Build all parts, and resume from the newest checkpoint if there is one.

        Args:
            task: The cell.
            conditions: Data and settings shared with the rest of the cohort.
            progress: Receives the events of the cell.
            writer: Writes the checkpoints and the records of epochs.

        Raises:
            InputError: A part cannot be built, or a file cannot be read or written.
        """
        self.task = task
        self.conditions = conditions
        self._progress = progress
        self._writer = writer

        task.folder.begin(task.configuration)
        self.parts = assemble(task, conditions)
        self.student = self.parts.student
        self.needs = self.parts.method.tapped()
        self.length = self.parts.length
        self.left = False
        self.note: str | None = None
        self.state = State(self.parts, conditions.data.device)
        self._watch = Stopwatch(conditions.data.device)
        self._recorder = Recorder(task, self.length.total, progress, partial(writer.submit, self))

        self._recorder.restore(self.state.load)
        if not self.state.complete:
            self._recorder.start(self.state.position, conditions.environment)

    @property
    def taught(self) -> bool:
        """Whether the member needs the teacher in the current epoch."""
        return self.parts.method.taught(self.state.epoch < 0)

    @property
    def done(self) -> bool:
        """Whether the member has completed its training and is still in its cohort."""
        return not self.left and self.state.complete

    def active(self, epoch: int) -> bool:
        """Return whether the member trains in the given epoch."""
        return not self.left and not self.state.complete and self.state.epoch == epoch

    def step(
        self, loaded: Loaded, teacher: Output | None, step: int, run: Runner = at_once
    ) -> Tensor:
        """Train on one batch; only loss scaling waits for the device.

        Args:
            loaded: The batch.
            teacher: The teacher's output for the batch; None if no member needs it.
            step: Index of the batch in the epoch.
            run: Has the device do the work.

        Returns:
            The values to log; see `EpochLog.row`.
        """
        batch = Step(loaded, teacher, self.state.epoch)
        with self._watch.running():
            row = run(self.state.work(batch, self.conditions.seed, step))
        self.state.partial.add(row, step)
        return row

    def save_inside_epoch(self, teacher: TeacherTime) -> None:
        """Save the state between two batches, unless it is worth nothing.

        The end of the epoch then tells what is not finite. For `teacher`, see `end_epoch`.
        """
        self._count_seconds(teacher)
        partial = self.state.partial
        if partial.log.finite and has_finite_weights(self.student.network):
            self._recorder.inside_epoch(self.state.checkpoint(partial))

    def end_epoch(self, teacher: TeacherTime) -> None:
        """Check, validate and record the epoch.

        Args:
            teacher: Time of the teacher's forward passes in this epoch, since the last checkpoint
                inside it.

        Raises:
            FloatingPointError: A value is not finite. The previous checkpoint is kept.
        """
        state = self.state
        metrics = state.partial.log.close(state.position + 1)
        check_weights(self.student.network, state.position + 1)

        self._count_seconds(teacher)
        metrics |= state.tally.add_epoch(state.partial.tally, self.conditions.samples_per_epoch)
        metrics["lr"] = state.stage.optimizer.rate

        if self.state.epoch >= 0:
            metrics |= self._validate()
        state.record = record = epoch_record(state.epoch, state.position, metrics, self.note)
        self._recorder.epoch(record, state.checkpoint())
        state.next_epoch()

    def finish(self) -> None:
        """Select weights by the study's rule, evaluate them, and record the results."""
        folder, state = self.task.folder, self.state
        epoch = state.epoch - 1
        if self.conditions.select == "best_val":
            epoch = state.tally.best_epoch
            self.parts.load_weights(folder.read_best(epoch))
        else:
            state.stage.finish()

        digest = folder.save_weights(self.parts.weights())
        self._recorder.trained(epoch, digest, self.length.stopped(state.epoch))
        path = folder.path
        metrics = results.measure(self.parts, state.tally, state.epoch, self.conditions, path)
        self._recorder.finish(epoch, digest, metrics)

    def fail(self, error: BaseException) -> None:
        """Leave the cohort because of an error, unless an earlier epoch is a reason to leave."""
        self._writer.settle()
        if not self.left:
            self.leave()
            record_failure(self.task, error, self._progress)

    def leave(self) -> None:
        """Leave the cohort without recording a failure, as when the member was pruned."""
        self.state.partial = Partial()
        self.left = True

    def _count_seconds(self, teacher: TeacherTime) -> None:
        counted = teacher if self.taught else TeacherTime()
        self.state.partial.tally.add(self._watch.read(), counted.seconds, counted.saved)

    def _validate(self) -> dict[str, float]:
        """Return the validation metrics, if any; under `best_val`, save new best weights."""
        images = self.conditions.data.val
        if images is None:
            return {}

        with self.state.stage.averaged():
            scores = evaluate.validate(self.parts.model, images, self.state.position + 1)
            improved = self.state.tally.improved(self.state.epoch, scores["val/acc1"])
            if improved and self.conditions.select == "best_val":
                self._recorder.best(self.state.epoch, self.parts.weights())
        return scores
