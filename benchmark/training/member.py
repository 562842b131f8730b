"""One student of a cohort, from its first epoch to its test."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.data import Loaded
from benchmark.records.checkpoints import Checkpoint
from benchmark.training import checkpointing, evaluate, results
from benchmark.training.assembly import assemble
from benchmark.training.checkpointing import Tally
from benchmark.training.conditions import Conditions, Task
from benchmark.training.epoch_log import EpochLog, check_weights
from benchmark.training.losses import Step
from benchmark.training.progress import Progress
from benchmark.training.recorder import Recorder, epoch_record, record_failure
from benchmark.training.stopwatch import Stopwatch
from methods import Output


class Member:
    """A student that trains in a cohort.

    Attributes:
        task: The cell.
        conditions: What it shares with the cohort.
        parts: Student, method, companion, and how they learn.
        student: The student.
        needs: What the method needs.
        length: Epochs of both stages.
        epoch: The present epoch: -n to -1 in the early stage, from 0 in the training.
        left: Whether it has left its cohort, failed or pruned.
    """

    def __init__(self, task: Task, conditions: Conditions, progress: Progress):
        """Build all parts, and resume from the newest checkpoint if there is one.

        Raises:
            InputError: A part cannot be built, or a file can be neither read nor written.
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
        self._log = EpochLog()
        self._tally = Tally()
        self._recorder = Recorder(task, self.length.total, progress)

        self.enter(-self.length.early)
        self._recorder.restore(self._load)
        if self.epoch < self.length.epochs:
            self._recorder.start(self._position, conditions.environment)

    @property
    def taught(self) -> bool:
        """Whether it needs the teacher in the present epoch."""
        return self.parts.method.taught(self.epoch < 0)

    @property
    def done(self) -> bool:
        """Whether all its epochs are over."""
        return not self.left and self.epoch == self.length.epochs

    @property
    def _position(self) -> int:
        """The present epoch, counted from 0 with those of the early stage."""
        return self.epoch + self.length.early

    def active(self, epoch: int) -> bool:
        """Return whether it takes part in an epoch."""
        return not self.left and self.epoch == epoch < self.length.epochs

    def enter(self, epoch: int) -> None:
        """Start a stage with its first epoch: set who learns, with a fresh optimizer."""
        self.epoch = epoch
        self.optimizer = self.parts.enter(early=epoch < 0)

    def step(self, loaded: Loaded, teacher: Output | None, step: int) -> Tensor:
        """Learn from one batch, without waiting for the device.

        Args:
            loaded: The batch.
            teacher: The teacher's output for it.
            step: Its number in the epoch.

        Returns:
            The logged values; see `EpochLog.add`.
        """
        torch.manual_seed(seeds.derive(self.conditions.seed, "step", self.epoch, step))
        self.optimizer.set_rate(self.parts.schedule.rate(self.epoch, step))

        with self._watch.running():
            loss = self.parts.loss(Step(loaded, teacher, self.epoch))
            self.optimizer.step(loss)
        return self._log.add(loss, loaded.labels)

    def end_epoch(self, teacher_seconds: float) -> None:
        """Check, validate and record the epoch. A crash at any point loses nothing but the epoch.

        Args:
            teacher_seconds: Time of the teacher's passes in it.

        Raises:
            FloatingPointError: A value is not finite. The last checkpoint stays as it is.
        """
        metrics = self._log.close(self._position + 1)
        check_weights(self.student.network, self._position + 1)
        metrics["samples_per_second"] = self._measure_speed(teacher_seconds)
        metrics["lr"] = self.optimizer.rate

        if self.epoch >= 0:
            metrics |= self._validate()
        record = epoch_record(self.epoch, self._position, metrics)
        checkpoint = checkpointing.take(
            self.parts.modules(), self.optimizer, self._tally, record, self._position
        )
        self._recorder.epoch(record, checkpoint)
        self.epoch += 1
        if self.epoch == 0:
            self.enter(0)

    def finish(self) -> None:
        """Choose the weights by the study's rule, evaluate them, and record the results."""
        folder = self.task.folder
        epoch = self.length.epochs - 1
        if self.conditions.select == "best_val":
            epoch = self._tally.best_epoch
            self.parts.load_weights(folder.read_best(epoch))

        digest = folder.save_weights(self.parts.weights())
        self._recorder.trained(epoch, digest)
        metrics = results.measure(self.parts, self._tally, self.conditions, folder.path)
        self._recorder.finish(epoch, digest, metrics)

    def fail(self, error: Exception) -> None:
        """Leave the cohort because of an error."""
        self.leave()
        record_failure(self.task, error, self._progress)

    def leave(self) -> None:
        """Leave the cohort without being marked as failed (pruned)."""
        self._log.clear()
        self.left = True

    def _measure_speed(self, teacher_seconds: float) -> float:
        """Add the epoch's times to the tally, and return the samples per second."""
        own = self._watch.read()
        shared = teacher_seconds if self.taught else 0.0
        self._tally.add(own, shared)
        return self.conditions.samples_per_epoch / max(own + shared, 1e-9)

    def _validate(self) -> dict[str, float]:
        """Return the validation metrics, if there are images; keep the best epoch's weights."""
        images = self.conditions.data.val
        if images is None:
            return {}

        scores = evaluate.validate(self.parts.model, images)
        if not math.isfinite(scores["loss"]):
            raise FloatingPointError(f"non-finite validation loss after epoch {self._position + 1}")

        improved = self._tally.improved(self.epoch, scores["acc1"])
        if improved and self.conditions.select == "best_val":
            self.task.folder.save_best(self.epoch, self.parts.weights())
        return {"val/acc1": scores["acc1"], "val/loss": scores["loss"]}

    def _load(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint, and go to the epoch after it."""
        checkpointing.load_modules(checkpoint, self.parts.modules())
        self.enter(checkpoint.epoch + 1 - self.length.early)
        if self.epoch != 0:  # the first epoch of the training has a fresh optimizer
            checkpointing.load_optimizer(checkpoint, self.optimizer)
        self._tally = Tally.from_json(checkpoint.state)
