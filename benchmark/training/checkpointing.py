"""Converts the state of a member to named tensors and JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmark.records.checkpoints import Checkpoint, Tensors
from benchmark.records.journal import EarlyEpoch, Epoch, parse_record
from benchmark.training.epoch_log import EpochLog
from benchmark.training.progress import SAVED

PARTIAL = "partial"
"""Key of the state of an incomplete epoch in a checkpoint."""

LOG = "log/rows"
"""Name of the tensor with the values of the batches of an incomplete epoch."""


class Stateful(Protocol):
    """State besides the modules: the optimizer, or the average of the weights."""

    def state(self) -> Tensors:
        """Return the state."""

    def load(self, tensors: Tensors) -> None:
        """Restore a state that `state` returned.

        Raises:
            KeyError: A part is missing.
            ValueError: The state belongs to something else.
        """


@dataclass
class Tally:
    """The training time of a member and its best epoch so far.

    Attributes:
        own_seconds: Time of the member's own steps, in seconds.
        teacher_seconds: Time of the teacher's forward passes in the epochs in which the member
            needed them, in seconds.
        best_epoch: The first epoch with the highest validation accuracy so far; -1 if there is
            none yet.
        best_accuracy: Validation accuracy of that epoch, in percent.
        saved_seconds: The part of `teacher_seconds` that other members of the cohort paid.
    """

    own_seconds: float = 0.0
    teacher_seconds: float = 0.0
    best_epoch: int = -1
    best_accuracy: float = -math.inf
    saved_seconds: float = 0.0

    def add(self, own_seconds: float, teacher_seconds: float, saved_seconds: float = 0.0) -> float:
        """Add the times of an epoch, and return the sum of the member's and the teacher's time."""
        self.own_seconds += own_seconds
        self.teacher_seconds += teacher_seconds
        self.saved_seconds += saved_seconds
        return own_seconds + teacher_seconds

    def add_epoch(self, spent: Tally, samples: int) -> dict[str, float]:
        """Add what an epoch took, and return its metrics of time.

        Args:
            spent: The times of the epoch.
            samples: Number of samples in it.
        """
        seconds = self.add(spent.own_seconds, spent.teacher_seconds, spent.saved_seconds)
        return {**spent.teacher_metrics(), "samples_per_second": samples / max(seconds, 1e-9)}

    def teacher_metrics(self) -> dict[str, float]:
        """Return what the teacher's passes took, by metric; empty if there were none.

        The share of the training time is in percent.
        """
        if self.teacher_seconds == 0:
            return {}

        share = 100 * self.teacher_seconds / (self.own_seconds + self.teacher_seconds)
        return {"teacher_share": share, SAVED: self.saved_seconds}

    def exceeds(self, hours: float | None) -> bool:
        """Return whether the training time exceeds a limit, if there is one."""
        return hours is not None and self.own_seconds + self.teacher_seconds > 3600 * hours

    def improved(self, epoch: int, accuracy: float) -> bool:
        """Return whether a validation accuracy is the best so far, and if so, record it."""
        if accuracy <= self.best_accuracy:
            return False

        self.best_epoch = epoch
        self.best_accuracy = accuracy
        return True

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Tally:
        """Read the tally from the state of a checkpoint.

        Raises:
            KeyError: The state contains no tally.
        """
        seconds = state["seconds"]
        best = state["best"]
        saved = seconds.get("saved", 0.0)  # earlier versions did not count it
        return cls(seconds["own"], seconds["teacher"], best["epoch"], best["val/acc1"], saved)

    def to_json(self) -> dict[str, Any]:
        """Return the tally in the form that `from_json` reads."""
        return {
            "seconds": {
                "own": self.own_seconds,
                "teacher": self.teacher_seconds,
                "saved": self.saved_seconds,
            },
            "best": {"epoch": self.best_epoch, "val/acc1": self.best_accuracy},
        }


@dataclass
class Partial:
    """What a member has of an epoch that is not complete.

    Attributes:
        log: The values of each batch.
        tally: The times of the epoch so far.
        step: Number of batches that are trained.
    """

    log: EpochLog = field(default_factory=EpochLog)
    tally: Tally = field(default_factory=Tally)
    step: int = 0

    def add(self, row: Tensor, step: int) -> None:
        """Add a batch.

        Args:
            row: Its values, as `EpochLog.row` returned them.
            step: Its index in the epoch.
        """
        self.log.add(row)
        self.step = step + 1

    def to_json(self) -> dict[str, Any]:
        """Return all that is not in tensors, for `load`."""
        return {"log": self.log.names(), **self.tally.to_json()}

    def load(self, checkpoint: Checkpoint, device: torch.device) -> None:
        """Restore the state in a checkpoint that was taken inside an epoch.

        Args:
            checkpoint: The checkpoint.
            device: The device of the training.

        Raises:
            KeyError: A part is missing.
        """
        content = checkpoint.state[PARTIAL]
        self.step = checkpoint.step
        self.tally = Tally.from_json(content)
        self.log.load(checkpoint.tensors[LOG], content["log"], device)


def tensors_of(modules: Mapping[str, nn.Module], states: Mapping[str, Stateful]) -> Tensors:
    """Return all tensors of a member's state, by `<part>/<name>`.

    Args:
        modules: All modules that learn or hold state, by the prefix of their tensors' names.
        states: All other state in tensors, by the prefix of their names.
    """
    tensors: Tensors = {}
    for part, module in modules.items():
        for name, value in module.state_dict().items():
            tensors[f"{part}/{name}"] = value

    for part, state in states.items():
        for name, value in state.state().items():
            tensors[f"{part}/{name}"] = value
    return tensors


def take(
    modules: Mapping[str, nn.Module],
    states: Mapping[str, Stateful],
    tally: Tally,
    record: EarlyEpoch | Epoch | None,
    epoch: int,
    partial: Partial | None = None,
) -> Checkpoint:
    """Return the checkpoint of a member after an epoch, or inside one.

    Args:
        modules: All modules that learn or hold state, by the prefix of their tensors' names.
        states: All other state in tensors, by the prefix of their names.
        tally: The member's training time and best epoch so far.
        record: The journal record of the last whole epoch; None if there is none yet.
        epoch: Index of the epoch, counted from 0 at the start of the early stage.
        partial: What the member has of the epoch; None for the whole epoch.
    """
    tensors = tensors_of(modules, states)
    marker = tally.to_json()
    if record is not None:
        marker |= {
            "record": record.model_dump(exclude={"kind"}, exclude_none=True),
            "kind": record.kind,
        }
    if partial is None:
        return Checkpoint(epoch, tensors, marker)

    tensors[LOG] = partial.log.rows()
    return Checkpoint(epoch, tensors, marker | {PARTIAL: partial.to_json()}, partial.step)


def load_modules(checkpoint: Checkpoint, modules: Mapping[str, nn.Module]) -> None:
    """Load the modules' weights from a checkpoint.

    Raises:
        RuntimeError: The weights don't fit the modules.
    """
    for part, module in modules.items():
        module.load_state_dict(_part(checkpoint, part))


def load_states(checkpoint: Checkpoint, states: Mapping[str, Stateful]) -> None:
    """Load all other state from a checkpoint.

    Raises:
        KeyError: A part is missing.
        ValueError: A state doesn't fit.
    """
    for part, state in states.items():
        state.load(_part(checkpoint, part))


def record_of(checkpoint: Checkpoint) -> EarlyEpoch | Epoch | None:
    """Return the journal record of the last whole epoch before a checkpoint, if there is one."""
    if checkpoint.step and "record" not in checkpoint.state:
        return None

    # Checkpoints of the first versions lack a kind, because these versions had no early stage.
    kind = checkpoint.state.get("kind", "epoch")
    record = parse_record({"kind": kind, **checkpoint.state["record"]})
    assert isinstance(record, EarlyEpoch | Epoch)
    return record


def _part(checkpoint: Checkpoint, part: str) -> Tensors:
    """Return the tensors of a part, with the part's prefix removed from their names."""
    prefix = f"{part}/"

    return {
        name.removeprefix(prefix): value
        for name, value in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
