"""The state of a member between two batches, and how a checkpoint keeps it."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import seeds
from benchmark.records.checkpoints import Checkpoint, Tensors
from benchmark.records.journal import EarlyEpoch, Epoch
from benchmark.training import checkpointing
from benchmark.training.assembly import Assembly
from benchmark.training.checkpointing import Partial, Tally
from benchmark.training.losses import Step
from benchmark.training.work import Work


class State:
    """What changes while a member trains.

    Attributes:
        epoch: Current epoch: -n to -1 in an early stage of n epochs, then counted from 0.
        stage: What learns in the current stage, with its optimizer.
        tally: Training time and best epoch, up to the last whole epoch.
        partial: What the member has of the current epoch.
        record: The journal record of the last whole epoch, if there is one.
    """

    def __init__(self, parts: Assembly, device: torch.device):
        """Start at the first epoch.

        Args:
            parts: The parts that the member trains.
            device: The device of the batches.
        """
        self._parts = parts
        self._device = device
        self.tally = Tally()
        self.partial = Partial()
        self.record: EarlyEpoch | Epoch | None = None
        self.enter(-parts.length.early)

    @property
    def position(self) -> int:
        """The current epoch, counted from 0 at the start of the early stage."""
        return self.epoch + self._parts.length.early

    @property
    def complete(self) -> bool:
        """Whether all epochs are trained, or the time is up after one epoch or more."""
        out_of_time = self.epoch > 0 and self.tally.exceeds(self._parts.recipe.max_hours)
        return out_of_time or self.epoch == self._parts.length.epochs

    def work(self, batch: Step, seed: int, step: int) -> Work:
        """Return the work of a training step.

        Args:
            batch: The batch and its context.
            seed: The seed that the step's random streams derive from.
            step: Index of the batch in the epoch.
        """

        def begin() -> None:
            seeds.reseed(self._device, seed, "step", self.epoch, step)
            self.stage.begin(self.epoch, step)

        def train() -> Tensor:
            loss = self._parts.loss(batch)
            self.stage.step(loss, step)
            return self.partial.log.row(loss, batch.loaded.labels)

        return Work(begin, train, self.tensors)

    def enter(self, epoch: int) -> None:
        """Enter a stage at an epoch: choose which networks train, with a fresh optimizer."""
        self.epoch = epoch
        self.stage = self._parts.enter(early=epoch < 0)

    def next_epoch(self) -> None:
        """Go on to the next epoch, which may begin the main training."""
        self.partial = Partial()
        self.epoch += 1
        if self.epoch == 0:
            self.enter(0)

    def tensors(self) -> Tensors:
        """Return the weights and all other state in tensors, by name, as they are in memory."""
        return checkpointing.tensors_of(self._parts.modules(), self.stage.states())

    def checkpoint(self, *partial: Partial) -> Checkpoint:
        """Return a checkpoint of the current epoch, or of the part of it that is given."""
        modules, states = self._parts.modules(), self.stage.states()
        return checkpointing.take(modules, states, self.tally, self.record, self.position, *partial)

    def load(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint, and move to the epoch that follows it or that it lies in."""
        checkpointing.load_modules(checkpoint, self._parts.modules())
        is_whole = checkpoint.step == 0
        self.enter(checkpoint.epoch + is_whole - self._parts.length.early)
        if self.epoch != 0 or not is_whole:  # epoch 0 starts with a fresh optimizer
            checkpointing.load_states(checkpoint, self.stage.states())

        self.tally = Tally.from_json(checkpoint.state)
        self.record = checkpointing.record_of(checkpoint)
        if not is_whole:
            self.partial.load(checkpoint, self._device)
