"""Trains one student of a cohort, from its first epoch to its test."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.data import Loaded
from benchmark.records.checkpoints import Checkpoint
from benchmark.records.journal import EarlyEpoch, Epoch
from benchmark.training import checkpointing, evaluate, results
from benchmark.training.assembly import assemble
from benchmark.training.checkpointing import Partial, Tally
from benchmark.training.conditions import Conditions, Task
from benchmark.training.epoch_log import check_weights, has_finite_weights
from benchmark.training.losses import Step
from benchmark.training.progress import Progress
from benchmark.training.recorder import Recorder, epoch_record, record_failure
from benchmark.training.stopwatch import Stopwatch
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
        epoch: Current epoch: -n to -1 in an early stage of n epochs, then counted from 0.
        record: The journal record of the last whole epoch, if there is one.
        partial: What the member has of the current epoch.
        left: Whether the member has left its cohort, because it failed or was pruned.
    """

    def __init__(self, task: Task, conditions: Conditions, progress: Progress):
        """Build all parts, and resume from the newest checkpoint if there is one.

        Raises:
            InputError: A part cannot be built, or a file cannot be read or written.
        """
        self.task = task
        self.conditions = conditions
        self._progress = progress

        task.folder.begin(task.configuration)
        self.parts = assemble(task, conditions)
        self.student = self.parts.student
        self.needs = self.parts.method.tapped()
        self.length = self.parts.length
        self.left = False
        self._watch = Stopwatch(conditions.data.device)
        self._tally = Tally()
        self.partial = Partial()
        self.record: EarlyEpoch | Epoch | None = None
        self._recorder = Recorder(task, self.length.total, progress)

        self.enter(-self.length.early)
        self._recorder.restore(self._load)
        if not self._complete:
            self._recorder.start(self.position, conditions.environment)

    @property
    def taught(self) -> bool:
        """Whether the member needs the teacher in the current epoch."""
        return self.parts.method.taught(self.epoch < 0)

    @property
    def done(self) -> bool:
        """Whether the member has completed its training and is still in its cohort."""
        return not self.left and self._complete

    @property
    def _complete(self) -> bool:
        """Whether all epochs are trained, or the time is up after one epoch or more."""
        out_of_time = self.epoch > 0 and self._tally.exceeds(self.parts.recipe.max_hours)
        return out_of_time or self.epoch == self.length.epochs

    @property
    def position(self) -> int:
        """The current epoch, counted from 0 at the start of the early stage."""
        return self.epoch + self.length.early

    def active(self, epoch: int) -> bool:
        """Return whether the member trains in the given epoch."""
        return not self.left and not self._complete and self.epoch == epoch

    def enter(self, epoch: int) -> None:
        """Enter a stage at an epoch: choose which networks train, with a fresh optimizer."""
        self.epoch = epoch
        self.stage = self.parts.enter(early=epoch < 0)

    def step(self, loaded: Loaded, teacher: Output | None, step: int) -> Tensor:
        """Train on one batch; only loss scaling waits for the device.

        Args:
            loaded: The batch.
            teacher: The teacher's output for the batch; None if no member needs it.
            step: Index of the batch in the epoch.

        Returns:
            The values to log; see `EpochLog.add`.
        """
        torch.manual_seed(seeds.derive(self.conditions.seed, "step", self.epoch, step))

        with self._watch.running():
            loss = self.parts.loss(Step(loaded, teacher, self.epoch))
            self.stage.step(loss, self.epoch, step)
        self.partial.step = step + 1
        return self.partial.log.add(loss, loaded.labels)

    def save_inside_epoch(self, teacher_seconds: float) -> None:
        """Save the state between two batches, unless it is worth nothing.

        The end of the epoch then tells what is not finite.

        Args:
            teacher_seconds: As for `end_epoch`.
        """
        self._count_seconds(teacher_seconds)
        if self.partial.log.finite and has_finite_weights(self.student.network):
            self._recorder.inside_epoch(self._checkpoint(self.partial))

    def end_epoch(self, teacher_seconds: float) -> None:
        """Check, validate and record the epoch. A crash at any point loses at most this epoch.

        Args:
            teacher_seconds: Time of the teacher's forward passes in this epoch, since the last
                checkpoint inside it.

        Raises:
            FloatingPointError: A value is not finite. The previous checkpoint is kept.
        """
        metrics = self.partial.log.close(self.position + 1)
        check_weights(self.student.network, self.position + 1)

        self._count_seconds(teacher_seconds)
        spent = self.partial.tally
        seconds = self._tally.add(spent.own_seconds, spent.teacher_seconds)
        metrics["samples_per_second"] = self.conditions.samples_per_epoch / max(seconds, 1e-9)
        metrics["lr"] = self.stage.optimizer.rate

        if self.epoch >= 0:
            metrics |= self._validate()
        self.record = record = epoch_record(self.epoch, self.position, metrics)
        self._recorder.epoch(record, self._checkpoint())
        self.epoch += 1
        self.partial = Partial()
        if self.epoch == 0:
            self.enter(0)

    def finish(self) -> None:
        """Select weights by the study's rule, evaluate them, and record the results."""
        folder = self.task.folder
        epoch = self.epoch - 1
        if self.conditions.select == "best_val":
            epoch = self._tally.best_epoch
            self.parts.load_weights(folder.read_best(epoch))
        else:
            self.stage.finish()

        digest = folder.save_weights(self.parts.weights())
        self._recorder.trained(epoch, digest, self.length.stopped(self.epoch))
        metrics = results.measure(self.parts, self._tally, self.epoch, self.conditions, folder.path)
        self._recorder.finish(epoch, digest, metrics)

    def fail(self, error: BaseException) -> None:
        """Leave the cohort because of an error."""
        self.leave()
        record_failure(self.task, error, self._progress)

    def leave(self) -> None:
        """Leave the cohort without recording a failure, as when the member was pruned."""
        self.partial = Partial()
        self.left = True

    def _count_seconds(self, teacher_seconds: float) -> None:
        self.partial.tally.add(self._watch.read(), teacher_seconds if self.taught else 0.0)

    def _checkpoint(self, *partial: Partial) -> Checkpoint:
        """Take a checkpoint of a whole epoch, or of a part of one."""
        modules, states = self.parts.modules(), self.stage.states()
        return checkpointing.take(
            modules, states, self._tally, self.record, self.position, *partial
        )

    def _validate(self) -> dict[str, float]:
        """Return the validation metrics, if any; under `best_val`, save new best weights."""
        images = self.conditions.data.val
        if images is None:
            return {}

        with self.stage.averaged():
            scores = evaluate.validate(self.parts.model, images, self.position + 1)
            improved = self._tally.improved(self.epoch, scores["val/acc1"])
            if improved and self.conditions.select == "best_val":
                self.task.folder.save_best(self.epoch, self.parts.weights())
        return scores

    def _load(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint, and move to the epoch that follows it or that it lies in."""
        checkpointing.load_modules(checkpoint, self.parts.modules())
        is_whole = checkpoint.step == 0
        self.enter(checkpoint.epoch + is_whole - self.length.early)
        if self.epoch != 0 or not is_whole:  # epoch 0 starts with a fresh optimizer
            checkpointing.load_states(checkpoint, self.stage.states())

        self._tally = Tally.from_json(checkpoint.state)
        self.record = checkpointing.record_of(checkpoint)
        if not is_whole:
            self.partial.load(checkpoint, self.conditions.data.device)
