"""The training loop: one data stream and one teacher pass for a list of students, each with a method of its own.

A member's numbers depend on its own configuration alone. Every random draw comes from a stream named by the study's
seed and a role, the teacher always runs the same way whatever is asked of it, and members share no state; so a cell
trained in company, alone, or in pieces with crashes between them gives the same bits on one CPU.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import methods
from benchmark import evaluate, models, streams
from benchmark.data import Data, Loaded
from benchmark.errors import InputError, SealedError, first_line
from benchmark.journal import CellFolder, Checkpoint, Finished, Record
from benchmark.models import TappedModel
from benchmark.study import Network, Recipe
from methods import Batch, Needs, Output, Probe, Shapes


class Progress:
    """What a cohort tells while it runs; this one says nothing. A `cell` is a task's label."""

    def planned(self, cells: Sequence[str], epochs: int) -> None:
        """These cells will be trained, for so many epochs each."""

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        """Training begins at an epoch, counted from 0."""

    def epoch(self, cell: str, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """An epoch, counted from 0, is recorded."""

    def finished(self, cell: str, metrics: Mapping[str, float]) -> None:
        """A cell is evaluated and done."""

    def failed(self, cell: str, reason: str) -> None:
        """A cell has left its cohort."""

    def warn(self, text: str) -> None:
        """Something that a person should know of, in one line."""


@dataclass(frozen=True)
class Task:
    """One cell to train.  label: its name for people; settings: the method's."""

    folder: CellFolder
    label: str
    configuration: dict[str, Any]
    student: Network
    method: str
    settings: dict[str, Any]


class Teacher:
    """A trained network that only looks: in eval mode, without gradients.  sha256: of its weights."""

    def __init__(self, model: TappedModel, sha256: str):
        self.model = model.eval().requires_grad_(False)
        self.sha256 = sha256
        self.macs = model.macs()
        self._test_logits: Tensor | None = None

    def look(self, images: Tensor) -> Output:
        """Everything that can be tapped, so that what is asked for changes no bit.  images: [N, C, H, W] in [0, 1]."""
        with torch.no_grad():
            return _in_float32(self.model(images, self.model.taps()))

    def test_logits(self, data: Data, evidence: Finished) -> Tensor:
        """Its logits on the test images, computed once, for a cell whose training is over."""
        images = data.test(evidence)
        if self._test_logits is None:
            self._test_logits = evaluate.predict(self.model, images)
        return self._test_logits


@dataclass(frozen=True)
class Conditions:
    """What the members of a cohort share.  environment: recorded at the start of each cell."""

    data: Data
    recipe: Recipe
    seed: int
    select: str
    teacher: Teacher | None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.data.steps(self.recipe.batch_size)

    def autocast(self) -> torch.autocast:
        """The recipe's precision for the networks; losses are computed outside, in float32."""
        return torch.autocast(self.data.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")


def learning_rate(recipe: Recipe, epoch: int, step: int, steps: int) -> float:
    """The rate for one step of an epoch of `steps`: linear warm-up from above zero, then the schedule."""
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    now, warm, total = epoch * steps + step, schedule.warmup_epochs * steps, recipe.epochs * steps
    if now < warm:
        return peak * (now + 1) / warm
    if schedule.name == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (now - warm) / (total - warm)))
    return peak * schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)


def probe(student: TappedModel, teacher: TappedModel | None, samples: int, batch_size: int) -> Probe:
    """What a method may know of a pair before training; stage maps are paired from the deepest on."""
    beside = Shapes(()) if teacher is None else teacher.shapes
    counts = len(student.shapes.maps), len(beside.maps)
    depth = min(counts) or max(counts)  # where one side has none, the other keeps what it has
    notes = {f"student.{what}": why for what, why in student.notes.items()}
    if teacher is not None:
        notes |= {f"teacher.{what}": why for what, why in teacher.notes.items()}
    return Probe(_deepest(student.shapes, depth), _deepest(beside, depth), samples, batch_size, notes)


def _deepest(shapes: Shapes, depth: int) -> Shapes:
    return Shapes(shapes.logits, shapes.embedding, shapes.maps[-depth:] if depth else ())


def _in_float32(output: Output) -> Output:
    embedding = None if output.embedding is None else output.embedding.float()
    return Output(output.logits.float(), embedding, tuple(one.float() for one in output.maps))


def _only(output: Output, needs: Needs, depth: int) -> Output:
    """The part of a teacher's output that a method has asked for, its maps paired with the student's."""
    return Output(
        output.logits if needs.logits else output.logits.new_empty(0),
        output.embedding if needs.embedding else None,
        output.maps[len(output.maps) - depth :] if needs.maps else (),
    )


def _optimizer(recipe: Recipe, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    chosen = recipe.optimizer
    if chosen.name == "adamw":
        return torch.optim.AdamW(parameters, lr=chosen.lr, weight_decay=chosen.weight_decay)
    return torch.optim.SGD(
        parameters, chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay, nesterov=chosen.nesterov
    )


class _Stopwatch:
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


class Member:
    """One student of a cohort, with its method, optimizer, journal and checkpoints."""

    def __init__(self, task: Task, conditions: Conditions, progress: Progress):
        self.task, self.conditions, self.progress = task, conditions, progress
        data, recipe, teacher = conditions.data, conditions.recipe, conditions.teacher
        task.folder.begin(task.configuration)
        with streams.seeded(conditions.seed, "student"):
            self.student = models.tapped(task.student, task.label, data.size, data.classes, data.mean, data.std)
        pair = probe(self.student, None if teacher is None else teacher.model, data.samples, recipe.batch_size)
        self.method = methods.create(task.method, **task.settings)
        with streams.seeded(conditions.seed, "adapters"):
            self.method.build(pair)
        self.needs = self.method.tapped()
        self.depth = len(pair.student.maps)
        self.student.to(data.device).train()
        self.method.to(data.device).train()
        self.optimizer = _optimizer(recipe, [*self.student.parameters(), *self.method.parameters()])
        self.watch = _Stopwatch(data.device)
        self.epoch = 0
        self.failed = False
        self.seconds = {"own": 0.0, "teacher": 0.0}
        self.best = {"epoch": -1, "val/acc1": -math.inf}
        self.journal = task.folder.journal()
        self._rows: list[Tensor] = []
        self._names: list[str] = []
        self._weights: dict[str, float] = {}
        self._restore()
        if self.epoch < recipe.epochs:
            self._start()

    def active(self, epoch: int) -> bool:
        """Whether this member takes part in an epoch."""
        return not self.failed and self.epoch == epoch

    def step(self, loaded: Loaded, teacher: Output | None, step: int) -> None:
        """One batch: forward, loss, backward, update. Nothing is read back from the device."""
        conditions, recipe = self.conditions, self.conditions.recipe
        torch.manual_seed(streams.derive(conditions.seed, "step", self.epoch, step))
        rate = learning_rate(recipe, self.epoch, step, conditions.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.watch.running():
            with conditions.autocast():
                output = _in_float32(
                    self.student(loaded.images, Needs(embedding=self.needs.embedding, maps=self.needs.maps))
                )
            output = Output(output.logits, output.embedding, output.maps[len(output.maps) - self.depth :])
            seen = Output(loaded.images.new_empty(0)) if teacher is None else _only(teacher, self.needs, self.depth)
            terms = self.method(output, seen, Batch(loaded.labels, loaded.index, self.epoch, recipe.epochs))
            target = loaded.labels if loaded.targets is None else loaded.targets
            cross_entropy = F.cross_entropy(output.logits, target)
            total = self.method.ce * cross_entropy
            for weight, value in terms.values():
                total = total + weight * value
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            self.optimizer.step()
        correct = (output.logits.detach().argmax(dim=1) == loaded.labels).float().mean()
        values = [total, cross_entropy, *(value for _, value in terms.values()), correct]
        self._rows.append(torch.stack([value.detach().float() for value in values]))
        self._names = ["total", "ce", *terms]
        self._weights = {"ce": float(self.method.ce)} | {name: float(weight) for name, (weight, _) in terms.items()}

    def end_epoch(self, teacher_seconds: float) -> None:
        """Checks, validates, checkpoints and records the epoch, in this order; any crash between loses nothing."""
        table = torch.stack(self._rows).double().cpu()
        self._rows = []
        self._check_finite(table)
        own = self.watch.read()
        shared = teacher_seconds if self.needs.teacher else 0.0
        self.seconds = {"own": self.seconds["own"] + own, "teacher": self.seconds["teacher"] + shared}
        means = table.mean(dim=0).tolist()
        metrics = {f"loss/{name}": value for name, value in zip(self._names, means[:-1], strict=True)}
        metrics |= {f"weight/{name}": weight for name, weight in self._weights.items()}
        metrics["train/acc1"] = 100 * means[-1]
        metrics |= self._validation()
        metrics["lr"] = float(self.optimizer.param_groups[0]["lr"])
        metrics["samples_per_second"] = len(table) * self.conditions.recipe.batch_size / max(own + shared, 1e-9)
        record = {"epoch": self.epoch, "time": time.time_ns() // 1_000_000, "metrics": metrics}
        self.task.folder.save(self._checkpoint(record))
        self._record(record)
        self.progress.epoch(self.task.label, self.epoch, self.conditions.recipe.epochs, metrics)
        self.epoch += 1

    def _validation(self) -> dict[str, float]:
        """The metrics of the validation images, if there are any; keeps the weights of the best epoch."""
        images = self.conditions.data.val
        if images is None:
            return {}
        found = evaluate.validate(self.student, images)
        if not math.isfinite(found["loss"]):
            raise FloatingPointError(f"non-finite validation loss after epoch {self.epoch + 1}")
        if found["acc1"] > self.best["val/acc1"]:
            self.best = {"epoch": self.epoch, "val/acc1": found["acc1"]}
            if self.conditions.select == "best_val":
                self.task.folder.save_best(self.epoch, self.student.network.state_dict())
        return {"val/acc1": found["acc1"], "val/loss": found["loss"]}

    def finish(self) -> None:
        """Chooses the weights by the study's rule, stores them, opens the test data, and marks the cell as done."""
        folder, data = self.task.folder, self.conditions.data
        if self.conditions.select == "best_val":
            self.student.network.load_state_dict(folder.best(int(self.best["epoch"])))
        epoch = self.conditions.recipe.epochs - 1 if self.conditions.select == "last" else int(self.best["epoch"])
        sha256 = folder.save_student(self.student.network.state_dict())
        if self.journal.last("trained") is None:
            self.journal.append("trained", epoch=epoch, sha256=sha256)
        evidence = Finished(folder.path)
        test = data.test(evidence)
        teacher = self.conditions.teacher
        against = None if teacher is None else teacher.test_logits(data, evidence)
        scores = evaluate.quality(evaluate.predict(self.student, test), test.labels, against)
        metrics = {f"test/{name}": value for name, value in scores.items()} | self._costs()
        final = self.journal.last("final")
        if final is None:
            self.journal.append("final", metrics=metrics)
        else:
            metrics = final["metrics"]
        folder.finish({"sha256": sha256, "epoch": epoch, "metrics": metrics})
        self.progress.finished(self.task.label, metrics)

    def fail(self, error: Exception) -> None:
        """Takes this member out of its cohort."""
        self._rows = []
        self.failed = True
        _record_failure(self.task, error, self.progress)

    def _start(self) -> None:
        """Records that training begins or goes on, and where; warns if it began under other versions."""
        environment, before = self.conditions.environment, self.journal.last("start")
        if before is not None and self.epoch > 0:
            old = before["environment"]
            changed = [f"{k} {old.get(k)} -> {v}" for k, v in environment.items() if old.get(k) != v]
            if changed:
                self.progress.warn(f"{self.task.label}: goes on in another environment ({', '.join(changed)})")
        self.journal.append("start", epoch=self.epoch, environment=environment)
        self.progress.started(self.task.label, self.epoch, self.conditions.recipe.epochs)

    def _check_finite(self, table: Tensor) -> None:
        """Raises FloatingPointError naming the first step and term, before a good checkpoint is replaced."""
        broken = (~table.isfinite()).nonzero()
        if len(broken):
            step, column = broken[0].tolist()
            term = next((n for n, v in zip(self._names[1:], table[step, 1:], strict=False) if not v.isfinite()), None)
            term = term or self._names[column]
            raise FloatingPointError(f"non-finite loss at epoch {self.epoch + 1}, step {step + 1} (term {term})")
        for name, value in self.student.network.state_dict().items():
            if not bool(value.isfinite().all()):
                raise FloatingPointError(f"non-finite weights after epoch {self.epoch + 1} ({name})")

    def _costs(self) -> dict[str, float]:
        recipe, teacher = self.conditions.recipe, self.conditions.teacher
        samples = recipe.epochs * self.conditions.steps * recipe.batch_size
        costs = evaluate.costs(self.student)
        shared = teacher.macs if teacher is not None and self.needs.teacher else 0
        return costs | {
            "cost/compute_tmac": samples * (3 * costs["cost/macs"] + shared) / 1e12,
            "cost/train_seconds": self.seconds["own"],
            "cost/teacher_seconds": self.seconds["teacher"],
        }

    def _checkpoint(self, record: Record) -> Checkpoint:
        tensors = {f"student/{name}": value for name, value in self.student.network.state_dict().items()}
        tensors |= {f"method/{name}": value for name, value in self.method.state_dict().items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{place}/{k}": value for k, value in state.items() if isinstance(value, Tensor)}
        return Checkpoint(self.epoch, tensors, {"record": record, "seconds": self.seconds, "best": self.best})

    def _restore(self) -> None:
        """Goes back to the newest whole checkpoint, if there is one, and completes the journal from it."""
        checkpoint, warnings = self.task.folder.restore()
        for warning in warnings:
            self.progress.warn(warning)
        if checkpoint is None:
            return
        try:
            self._load(checkpoint)
        except (KeyError, ValueError, RuntimeError) as error:
            place = self.task.folder.path
            raise InputError(
                f"{place}: its checkpoint does not fit this program; delete the folder ({error})"
            ) from error
        self._record(checkpoint.state["record"])

    def _load(self, checkpoint: Checkpoint) -> None:
        parts: dict[str, dict[str, Tensor]] = {"student": {}, "method": {}, "optimizer": {}}
        for name, value in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        self.student.network.load_state_dict(parts["student"])
        self.method.load_state_dict(parts["method"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in parts["optimizer"].items():
            place, _, key = name.partition("/")
            state.setdefault(int(place), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.seconds, self.best = checkpoint.state["seconds"], checkpoint.state["best"]
        self.epoch = checkpoint.epoch + 1

    def _record(self, record: Record) -> None:
        """An epoch's journal record, unless the journal has it: its checkpoint may have been damaged or come first."""
        if self.journal.epochs <= record["epoch"]:
            self.journal.append("epoch", **record)


def train(tasks: Sequence[Task], conditions: Conditions, progress: Progress) -> None:
    """Trains, evaluates and records all tasks side by side, each from where its folder says it was.

    A task that raises, or whose loss is not finite, is recorded as failed and leaves; the others go on. Raises
    InputError where nothing can be written, or a file to go on from cannot be read.
    """
    members = []
    for task in tasks:
        try:
            members.append(Member(task, conditions, progress))
        except (InputError, SealedError):
            raise
        except Exception as error:
            _record_failure(task, error, progress)
    for epoch in range(conditions.recipe.epochs):
        active = [member for member in members if member.active(epoch)]
        if active:
            _train_epoch(active, epoch, conditions)
    for member in members:
        if not member.failed:
            with _isolated(member):
                member.finish()


def _train_epoch(members: Sequence[Member], epoch: int, conditions: Conditions) -> None:
    data, teacher = conditions.data, conditions.teacher
    watch = _Stopwatch(data.device)
    for step, loaded in enumerate(data.epoch(conditions.seed, epoch, conditions.recipe)):
        active = [member for member in members if member.active(epoch)]
        if not active:
            return
        seen = None
        if teacher is not None and any(member.needs.teacher for member in active):
            with watch.running(), conditions.autocast():
                seen = teacher.look(loaded.images)
        for member in active:
            with _isolated(member):
                member.step(loaded, seen, step)
    seconds = watch.read()
    for member in members:
        if member.active(epoch):
            with _isolated(member):
                member.end_epoch(seconds)


@contextmanager
def _isolated(member: Member) -> Iterator[None]:
    """One member's error does not end the cohort; what concerns them all (the disk, the seal) does."""
    try:
        yield
    except (InputError, SealedError):
        raise
    except Exception as error:
        member.fail(error)


def _record_failure(task: Task, error: Exception, progress: Progress) -> None:
    """Says in the journal why a task failed; the trace lies beside it."""
    reason = (
        first_line(error) if isinstance(error, FloatingPointError) else f"{type(error).__name__}: {first_line(error)}"
    )
    (task.folder.path / "error.txt").write_text("".join(traceback.format_exception(error)))
    task.folder.journal().append("failed", reason=reason)
    progress.failed(task.label, reason)
