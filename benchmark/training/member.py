"""One student of a cohort: its method, optimizer, journal and checkpoints, from its first epoch to its test."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

import methods
from benchmark import seeds
from benchmark.data import Loaded
from benchmark.errors import InputError, first_line
from benchmark.models import create
from benchmark.models.pairing import in_float32, only, probe
from benchmark.models.deployed import DeployedModel, Evaluated
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import Checkpoint, Tensors
from benchmark.records.journal import EarlyEpoch, Epoch, Failed, Final, Start, Trained, parse_record
from benchmark.records.layout import CellFiles
from benchmark.records.seal import Finished
from benchmark.study.schema import Network
from benchmark.training import cost, evaluate, schedule
from benchmark.training.conditions import Conditions, Task
from benchmark.training.optimizers import optimizer_of
from benchmark.training.progress import Progress
from benchmark.training.stopwatch import Stopwatch
from methods import Batch, Dot, Needs, Output, Terms

HEAD = "deployed."
"""Before the names of the weights that a method's own head adds to a student's."""


@dataclass(frozen=True)
class Loss:
    """Of one batch.  task: cross-entropy, weighted; parts: the terms, weighted; raw, weights: what is logged."""

    logits: Tensor
    task: Tensor | None
    parts: list[Tensor]
    raw: dict[str, Tensor]
    weights: dict[str, float]

    @property
    def total(self) -> Tensor:
        """The whole loss."""
        first, *rest = ([] if self.task is None else [self.task]) + self.parts
        for part in rest:
            first = first + part
        return first


def _normalise_by_batch(network: torch.nn.Module) -> None:
    """Lets a network that was never trained take each batch's own statistics: it has none, and would explode."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = 0.0  # so that what it has stays as it is


class Member:
    """One student of a cohort, with its method, optimizer, journal and checkpoints.

    Epochs of a stage before the training count from -n to -1, those of the training from 0.
    """

    def __init__(self, task: Task, conditions: Conditions, progress: Progress):
        self.task, self.conditions, self.progress = task, conditions, progress
        data, teacher = conditions.data, conditions.teacher
        task.folder.begin(task.configuration)
        self.method = methods.create(task.method, **task.settings)
        self.needs = self.method.tapped()
        self.length = cost.length(self.method, conditions.recipe)
        self.recipe = (task.recipe or conditions.recipe).stretched(self.method.length)
        self.student = self._network(task.student, "student")
        self.companion = self._made_companion()
        other = self.companion or (None if teacher is None else teacher.model)
        pair = probe(
            self.student, other, self.needs, data.samples, self.recipe.batch_size, data.labels
        )
        with seeds.seeded(conditions.seed, "adapters"):
            self.method.build(pair)
        self.depth = len(pair.student.maps)
        self.student.to(data.device).train()
        self.method.to(data.device).train()
        head = self.method.deployed()
        self.model: Evaluated = (
            self.student if head is None else DeployedModel(self.student, head, self._own_needs())
        )
        self.watch = Stopwatch(data.device)
        self.out = False
        self.seconds = {"own": 0.0, "teacher": 0.0}
        self.best = {"epoch": -1, "val/acc1": -math.inf}
        self.journal = task.folder.journal()
        self._rows: list[Tensor] = []
        self._names: list[str] = []
        self._weights: dict[str, float] = {}
        self.enter(-self.length.early)
        self._restore()
        if self.epoch < self.length.epochs:
            self._start()

    def _network(self, network: Network, role: str) -> TappedModel:
        data = self.conditions.data
        with seeds.seeded(self.conditions.seed, role):
            return create.tapped(
                network, self.task.label, data.size, data.classes, data.mean, data.std
            )

    def _made_companion(self) -> TappedModel | None:
        """The network that stands in for the teacher, where the method wants one."""
        if not self.needs.companion:
            return None
        network = self.task.student
        if self.needs.companion == "untrained":
            if self.task.teacher is None:
                raise InputError(
                    f"{self.task.label}: there is no teacher whose architecture could be taken"
                )
            network = self.task.teacher.untrained
        return self._network(network, "companion").to(self.conditions.data.device)

    def enter(self, epoch: int) -> None:
        """Begins an epoch's stage, if it is the first of one: who learns, and with a fresh optimizer."""
        self.epoch = epoch
        which, early = self.needs.companion, epoch < 0
        learners: list[torch.nn.Module] = [self.student, self.method]
        if self.companion is not None:
            learns = which == "peer" or (which == "earlier" and early)
            self.companion.train(learns).requires_grad_(learns)
            if which == "untrained":
                _normalise_by_batch(self.companion)
            learners = (
                [self.companion] if which == "earlier" and early else [*learners, self.companion]
            )
        parameters = [
            one
            for one in chain(*(learner.parameters() for learner in learners))
            if one.requires_grad
        ]
        self.optimizer = optimizer_of(self.recipe, parameters)

    @property
    def taught(self) -> bool:
        """Whether it needs the teacher in its present epoch."""
        return self.method.taught(self.epoch < 0)

    @property
    def done(self) -> bool:
        """Whether all its epochs are over."""
        return not self.out and self.epoch == self.length.epochs

    def active(self, epoch: int) -> bool:
        """Whether this member takes part in an epoch."""
        return not self.out and self.epoch == epoch < self.length.epochs

    def step(self, loaded: Loaded, teacher: Output | None, step: int) -> Tensor:
        """One batch: forward, loss, backward, update; returns what is logged. Nothing is read back from the device."""
        torch.manual_seed(seeds.derive(self.conditions.seed, "step", self.epoch, step))
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self.watch.running():
            loss = (
                self._loss(loaded, teacher)
                if self.epoch >= 0
                else self._early_loss(loaded, teacher)
            )
            total = loss.total
            self._learn(loss, total)
        correct = (loss.logits.detach().argmax(dim=1) == loaded.labels).float().mean()
        values = [total, *loss.raw.values(), correct]
        self._rows.append(torch.stack([value.detach().float() for value in values]))
        self._names, self._weights = ["total", *loss.raw], loss.weights
        return self._rows[-1]

    def _rate(self, step: int) -> float:
        """The schedule's, and the unstretched one's for an earlier network; in a method's own early stage, the peak."""
        steps = self.conditions.steps
        if self.epoch >= 0:
            return schedule.learning_rate(self.recipe, self.epoch, step, steps)
        if self.needs.companion == "earlier":
            alone = self.task.recipe or self.conditions.recipe
            return schedule.learning_rate(alone, self.epoch + self.length.early, step, steps)
        return self.recipe.optimizer.lr

    def _own_needs(self) -> Needs:
        """What is tapped of the student."""
        return replace(self.needs, logits=False, views=False, companion="")

    def _look(self, model: TappedModel, loaded: Loaded) -> Output:
        """What a network of the student's kind gives for a batch, in float32, its maps paired with the teacher's."""
        with self.conditions.autocast():
            output = in_float32(model(loaded.inputs, self._own_needs()))
            second = model(loaded.second, Needs()).logits.float() if self.needs.views else None
        maps, early = (one[len(one) - self.depth :] for one in (output.maps, output.preactivations))
        return replace(output, maps=maps, preactivations=early, second=second)

    def _other(self, loaded: Loaded, teacher: Output | None) -> Output:
        """What the teacher, or the companion in its place, gives for a batch."""
        if self.companion is not None and self.needs.companion == "untrained":
            with torch.no_grad(), self.conditions.autocast():
                teacher = in_float32(self.companion(loaded.inputs, self.companion.taps()))
        elif self.companion is not None:
            with torch.set_grad_enabled(self.needs.companion == "peer"):
                teacher = self._look(self.companion, loaded)
        return Output(loaded.inputs.new_empty(0)) if teacher is None else teacher

    def _loss(self, loaded: Loaded, teacher: Output | None) -> Loss:
        own, other = self._look(self.student, loaded), self._other(loaded, teacher)
        batch = Batch(loaded.labels, loaded.index, self.epoch, self.recipe.epochs)
        terms = self.method(own, only(other, self.needs, self.depth), batch)
        cross_entropy = self._cross_entropy(own, loaded)
        task, parts = (
            self.method.ce * cross_entropy,
            [weight * value for weight, value in terms.values()],
        )
        raw = {"ce": cross_entropy} | {name: value for name, (_, value) in terms.items()}
        weights = {"ce": float(self.method.ce)} | {
            name: float(weight) for name, (weight, _) in terms.items()
        }
        if (
            self.needs.companion == "peer"
        ):  # which learns from the student as the student learns from it
            theirs = self.method(other, only(own, self.needs, self.depth), batch)
            mutual, alone = (
                [w * v for w, v in theirs.values()],
                self.method.ce * self._cross_entropy(other, loaded),
            )
            raw["peer"], weights["peer"] = sum(mutual, alone).detach(), 1.0
            task, parts = task + alone, [*parts, *mutual]
        return Loss(own.logits, task, parts, raw, weights)

    def _early_loss(self, loaded: Loaded, teacher: Output | None) -> Loss:
        """Of the stage before the training: cross-entropy of the earlier network, or what the method wants."""
        if self.companion is not None and self.needs.companion == "earlier":
            output = self._look(self.companion, loaded)
            cross_entropy = self._cross_entropy(output, loaded)
            return Loss(output.logits, cross_entropy, [], {"ce": cross_entropy}, {"ce": 1.0})
        own, other = self._look(self.student, loaded), self._other(loaded, teacher)
        batch = Batch(
            loaded.labels, loaded.index, self.epoch + self.length.early, self.length.early
        )
        terms: Terms = self.method.pre_train(own, only(other, self.needs, self.depth), batch)
        weighted = [weight * value for weight, value in terms.values()]
        weights = {name: float(weight) for name, (weight, _) in terms.items()}
        return Loss(
            own.logits, None, weighted, {name: value for name, (_, value) in terms.items()}, weights
        )

    @staticmethod
    def _cross_entropy(output: Output, loaded: Loaded) -> Tensor:
        return F.cross_entropy(
            output.logits, loaded.labels if loaded.targets is None else loaded.targets
        )

    def _learn(self, loss: Loss, total: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if not isinstance(self.optimizer, Dot):
            total.backward()
            self.optimizer.step()
            return
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        distilled: Sequence[Tensor | None] = [None] * len(parameters)
        if loss.parts:
            whole = torch.stack(loss.parts).sum()
            distilled = torch.autograd.grad(
                whole, parameters, retain_graph=loss.task is not None, allow_unused=True
            )
        if loss.task is not None:
            loss.task.backward()
        self.optimizer.step(distilled)

    def end_epoch(self, teacher_seconds: float) -> None:
        """Checks, validates, checkpoints and records the epoch, in this order; any crash between loses nothing."""
        table = torch.stack(self._rows).double().cpu()
        self._rows = []
        self._check_finite(table)
        own = self.watch.read()
        shared = teacher_seconds if self.taught else 0.0
        self.seconds = {
            "own": self.seconds["own"] + own,
            "teacher": self.seconds["teacher"] + shared,
        }
        means = table.mean(dim=0).tolist()
        metrics = {
            f"loss/{name}": value for name, value in zip(self._names, means[:-1], strict=True)
        }
        metrics |= {f"weight/{name}": weight for name, weight in self._weights.items()}
        metrics["train/acc1"] = 100 * means[-1]
        place = self.epoch + self.length.early
        if self.epoch >= 0:
            metrics |= self._validation()
        metrics["lr"] = float(self.optimizer.param_groups[0]["lr"])
        metrics["samples_per_second"] = (
            len(table) * self.recipe.batch_size / max(own + shared, 1e-9)
        )
        if self.epoch < 0:
            metrics = {f"early/{name}": value for name, value in metrics.items()}
        record = (
            Epoch(epoch=self.epoch, metrics=metrics)
            if self.epoch >= 0
            else EarlyEpoch(epoch=place, metrics=metrics)
        )
        self.task.folder.save(self._checkpoint(place, record))
        self._record(record)
        self.progress.epoch(self.task.label, place, self.length.total, metrics)
        self.epoch += 1
        if self.epoch == 0:
            self.enter(0)

    def _validation(self) -> dict[str, float]:
        """The metrics of the validation images, if there are any; keeps the weights of the best epoch."""
        images = self.conditions.data.val
        if images is None:
            return {}
        found = evaluate.validate(self.model, images)
        if not math.isfinite(found["loss"]):
            place = self.epoch + self.length.early + 1
            raise FloatingPointError(f"non-finite validation loss after epoch {place}")
        if found["acc1"] > self.best["val/acc1"]:
            self.best = {"epoch": self.epoch, "val/acc1": found["acc1"]}
            if self.conditions.select == "best_val":
                self.task.folder.save_best(self.epoch, self._deployed_weights())
        return {"val/acc1": found["acc1"], "val/loss": found["loss"]}

    def _deployed_weights(self) -> Tensors:
        """All that is needed for inference: the student's network, and the method's head if it has one."""
        head = self.method.deployed()
        extra = (
            {}
            if head is None
            else {f"{HEAD}{key}": value for key, value in head.state_dict().items()}
        )
        return {**self.student.network.state_dict(), **extra}

    def _deploy(self, weights: Tensors) -> None:
        head = self.method.deployed()
        if head is not None:
            extra = {
                key.removeprefix(HEAD): value
                for key, value in weights.items()
                if key.startswith(HEAD)
            }
            head.load_state_dict(extra)
        own = {
            key: value for key, value in weights.items() if head is None or not key.startswith(HEAD)
        }
        self.student.network.load_state_dict(own)

    def finish(self) -> None:
        """Chooses the weights by the study's rule, stores them, opens the test data, and marks the cell as done."""
        folder = self.task.folder
        if self.conditions.select == "best_val":
            self._deploy(folder.best(int(self.best["epoch"])))
        epoch = (
            self.length.epochs - 1 if self.conditions.select == "last" else int(self.best["epoch"])
        )
        sha256 = folder.save_student(self._deployed_weights())
        if self.journal.last(Trained) is None:
            self.journal.append(Trained(epoch=epoch, sha256=sha256))
        metrics = {**self._tested(), **evaluate.costs(self.model)} if self.conditions.tested else {}
        metrics |= self._costs()
        final = self.journal.last(Final)
        if final is None:
            self.journal.append(Final(metrics=metrics))
        else:
            metrics = final.metrics
        folder.finish({"sha256": sha256, "epoch": epoch, "metrics": metrics})
        self.progress.finished(self.task.label, metrics)

    def _tested(self) -> dict[str, float]:
        """What the test images say."""
        data, evidence = self.conditions.data, Finished(self.task.folder.path)
        test, teacher = data.test(evidence), self.conditions.teacher
        against = None if teacher is None else teacher.test_logits(data, evidence)
        scores = evaluate.quality(evaluate.predict(self.model, test), test.labels, against)
        return {f"test/{name}": value for name, value in scores.items()}

    def fail(self, error: Exception) -> None:
        """Takes this member out of its cohort."""
        self._rows = []
        self.out = True
        record_failure(self.task, error, self.progress)

    def leave(self) -> None:
        """Goes out of its cohort without having failed."""
        self._rows = []
        self.out = True

    def _start(self) -> None:
        """Records that training begins or goes on, and where; warns if it began under other versions."""
        environment, before = self.conditions.environment, self.journal.last(Start)
        place = self.epoch + self.length.early
        if before is not None and place > 0:
            old = before.environment
            changed = [
                f"{k} {old.get(k)} -> {v}" for k, v in environment.items() if old.get(k) != v
            ]
            if changed:
                self.progress.warn(
                    f"{self.task.label}: goes on in another environment ({', '.join(changed)})"
                )
        self.journal.append(Start(epoch=place, environment=environment))
        self.progress.started(self.task.label, place, self.length.total)

    def _check_finite(self, table: Tensor) -> None:
        """Raises FloatingPointError naming the first step and term, before a good checkpoint is replaced."""
        place = self.epoch + self.length.early + 1
        broken = (~table.isfinite()).nonzero()
        if len(broken):
            step, column = broken[0].tolist()
            term = next(
                (
                    n
                    for n, v in zip(self._names[1:], table[step, 1:], strict=False)
                    if not v.isfinite()
                ),
                None,
            )
            term = term or self._names[column]
            raise FloatingPointError(
                f"non-finite loss at epoch {place}, step {step + 1} (term {term})"
            )
        for name, value in self.student.network.state_dict().items():
            if not bool(value.isfinite().all()):
                raise FloatingPointError(f"non-finite weights after epoch {place} ({name})")

    def _costs(self) -> dict[str, float]:
        recipe, teacher = self.conditions.recipe, self.conditions.teacher
        look = (
            self.companion.macs()
            if self.companion is not None
            else 0
            if teacher is None
            else teacher.macs
        )
        images = self.conditions.steps * recipe.batch_size
        return {
            "cost/compute_tmac": cost.compute(
                self.method, recipe, images, self.student.macs(), look
            )
            / 1e12,
            "cost/train_seconds": self.seconds["own"],
            "cost/teacher_seconds": self.seconds["teacher"],
        }

    def _checkpoint(self, place: int, record: EarlyEpoch | Epoch) -> Checkpoint:
        tensors = {
            f"student/{name}": value for name, value in self.student.network.state_dict().items()
        }
        tensors |= {f"method/{name}": value for name, value in self.method.state_dict().items()}
        if self.companion is not None and self.needs.companion != "untrained":
            tensors |= {
                f"companion/{name}": value
                for name, value in self.companion.network.state_dict().items()
            }
        for parameter, state in self.optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer/{parameter}/{k}": value
                for k, value in state.items()
                if isinstance(value, Tensor)
            }
        content = record.model_dump(exclude={"kind"})
        state = {"record": content, "kind": record.kind, "seconds": self.seconds, "best": self.best}
        return Checkpoint(place, tensors, state)

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
        kind = checkpoint.state.get("kind", "epoch")  # checkpoints once were of no other
        record = parse_record({"kind": kind, **checkpoint.state["record"]})
        assert isinstance(record, EarlyEpoch | Epoch)
        self._record(record)

    def _load(self, checkpoint: Checkpoint) -> None:
        parts: dict[str, dict[str, Tensor]] = {
            "student": {},
            "method": {},
            "companion": {},
            "optimizer": {},
        }
        for name, value in checkpoint.tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        self.student.network.load_state_dict(parts["student"])
        self.method.load_state_dict(parts["method"])
        if self.companion is not None and self.needs.companion != "untrained":
            self.companion.network.load_state_dict(parts["companion"])
        self.enter(checkpoint.epoch + 1 - self.length.early)
        if (
            self.epoch != 0
        ):  # where the training begins, the optimizer of the stage before it has had its day
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in parts["optimizer"].items():
                place, _, key = name.partition("/")
                state.setdefault(int(place), {})[key] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.seconds, self.best = checkpoint.state["seconds"], checkpoint.state["best"]

    def _record(self, record: EarlyEpoch | Epoch) -> None:
        """An epoch's journal record, unless the journal has it: its checkpoint may have been damaged or come first."""
        if self.journal.count(type(record)) <= record.epoch:
            self.journal.append(record)


def record_failure(task: Task, error: Exception, progress: Progress) -> None:
    """Says in the journal why a task failed; the trace lies beside it."""
    reason = (
        first_line(error)
        if isinstance(error, FloatingPointError)
        else f"{type(error).__name__}: {first_line(error)}"
    )
    CellFiles(task.folder.path).error.write_text("".join(traceback.format_exception(error)))
    task.folder.journal().append(Failed(reason=reason))
    progress.failed(task.label, reason)
