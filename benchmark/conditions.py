"""What the members of a cohort are given: a task each, and in common data, recipe, seed and teacher."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from benchmark import evaluate
from benchmark.data import Data, Loaded
from benchmark.journal import CellFolder, Finished
from benchmark.models import TappedModel
from benchmark.schema import Network, Recipe
from methods import Needs, Output, Probe, Shapes


class Progress:
    """What a cohort tells while it runs; this one says nothing. A `cell` is a task's label."""

    def planned(self, cells: Mapping[str, int]) -> None:
        """These cells will be trained, for so many epochs each."""

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Training begins at an epoch, counted from 0 with those of a stage before the training."""

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted likewise, is recorded."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """A cell is evaluated and done."""

    def failed(self, cell: str, reason: str) -> None:
        """A cell has left its cohort."""

    def warn(self, text: str) -> None:
        """Something that a person should know of, in one line."""


@dataclass(frozen=True)
class Task:
    """One cell to train.

    label: its name for people. settings: the method's. teacher: the architecture of the pair's teacher, for methods
    that learn from an untrained one. recipe: with a learning rate and weight decay of its own, where it has such.
    """

    folder: CellFolder
    label: str
    configuration: dict[str, Any]
    student: Network
    method: str
    settings: dict[str, Any]
    teacher: Network | None = None
    recipe: Recipe | None = None


class Teacher:
    """A trained network that only looks: in eval mode, without gradients.  sha256: of its weights."""

    def __init__(self, model: TappedModel, sha256: str):
        self.model = model.eval().requires_grad_(False)
        self.sha256 = sha256
        self.macs = model.macs()
        self._test_logits: Tensor | None = None

    def look(self, loaded: Loaded) -> Output:
        """Everything that can be tapped, so that what is asked for changes no bit; both views where there are two."""
        with torch.no_grad():
            output = in_float32(self.model(loaded.images, self.model.taps()))
            if loaded.second is None:
                return output
            return replace(output, second=self.model(loaded.second, Needs()).logits.float())

    def test_logits(self, data: Data, evidence: Finished) -> Tensor:
        """Its logits on the test images, computed once, for a cell whose training is over."""
        images = data.test(evidence)
        if self._test_logits is None:
            self._test_logits = evaluate.predict(self.model, images)
        return self._test_logits


@dataclass(frozen=True)
class Conditions:
    """What the members of a cohort share.

    environment: recorded at the start of each cell. tested: whether finished cells meet the test images; those of a
    search never do.
    """

    data: Data
    recipe: Recipe
    seed: int
    select: str
    teacher: Teacher | None
    environment: dict[str, str] = field(default_factory=dict)
    tested: bool = True

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.data.steps(self.recipe.batch_size)

    def autocast(self) -> torch.autocast:
        """The recipe's precision for the networks; losses are computed outside, in float32."""
        return torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")


def probe(
    student: TappedModel,
    teacher: TappedModel | None,
    needs: Needs,
    samples: int,
    batch_size: int,
    labels: Tensor | None = None,
) -> Probe:
    """What a method may know of a pair before training; stage maps are paired from the deepest on.

    A companion of the student's architecture stands in for the teacher where the method needs one.
    """
    other = student if needs.companion in ("peer", "earlier") else teacher
    beside = Shapes(()) if other is None else other.shapes
    counts = len(student.shapes.maps), len(beside.maps)
    depth = min(counts) or max(counts)  # where one side has none, the other keeps what it has
    notes = {f"student.{what}": why for what, why in student.notes.items()}
    if other is not None:
        notes |= {f"teacher.{what}": why for what, why in other.notes.items()}
    classifier = None if other is None else other.classifier()
    shapes = _deepest(student.shapes, depth), _deepest(beside, depth)
    return Probe(*shapes, samples, batch_size, notes, labels, classifier)


def _deepest(shapes: Shapes, depth: int) -> Shapes:
    return replace(shapes, maps=shapes.maps[-depth:] if depth else ())


def in_float32(output: Output) -> Output:
    """The same numbers for losses, whatever the precision of the network."""
    return replace(
        output,
        logits=output.logits.float(),
        embedding=None if output.embedding is None else output.embedding.float(),
        maps=tuple(one.float() for one in output.maps),
        preactivations=tuple(one.float() for one in output.preactivations),
        pooled=None if output.pooled is None else output.pooled.float(),
    )


def only(output: Output, needs: Needs, depth: int) -> Output:
    """The part of another network's output that a method has asked for, its maps paired with the student's."""
    return Output(
        output.logits if needs.logits else output.logits.new_empty(0),
        output.embedding if needs.embedding else None,
        output.maps[len(output.maps) - depth :] if needs.maps else (),
        output.preactivations[len(output.preactivations) - depth :] if needs.preactivations else (),
        output.pooled if needs.pooled else None,
        output.classifier if needs.classifier else None,
        output.second if needs.views else None,
    )


class Stopwatch:
    """Sums up the time that a device spends on pieces of work, without waiting for a GPU between them."""

    def __init__(self, device: torch.device):
        self.device = device
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what happens inside."""
        if self.device.type != "cuda":
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._events.append((begin, end))

    def read(self) -> float:
        """Seconds since the last reading; waits for the GPU."""
        if self._events:
            torch.cuda.synchronize(self.device)
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
        seconds, self._seconds, self._events = self._seconds, 0.0, []
        return seconds
