"""The loss of one batch: weighted cross-entropy plus the weighted terms of a method."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor

from benchmark.data import Loaded
from benchmark.models.pairing import in_float32, only
from benchmark.models.tapped import TappedModel
from methods import Batch, Method, Needs, Output, Terms


@dataclass(frozen=True)
class Loss:
    """The loss of one batch, split into parts that an optimizer may treat differently.

    Attributes:
        logits: Logits for the training accuracy, [N, classes].
        task: Weighted cross-entropy; None if the loss has only the method's terms.
        parts: Weighted terms of the method.
        raw: Unweighted values to log, by name.
        weights: Weights to log, by name.
    """

    logits: Tensor
    task: Tensor | None
    parts: list[Tensor]
    raw: dict[str, Tensor]
    weights: dict[str, float]

    @cached_property
    def total(self) -> Tensor:
        """The value to minimise."""
        first, *rest = self.parts if self.task is None else [self.task, *self.parts]
        for part in rest:
            first = first + part
        return first

    def joined(self, other: Loss, name: str) -> Loss:
        """Return the combined loss of two networks that learn together.

        Args:
            other: The loss of the second network; its total is logged as one value.
            name: Name of that value.
        """
        assert self.task is not None
        assert other.task is not None

        return Loss(
            self.logits,
            self.task + other.task,
            [*self.parts, *other.parts],
            self.raw | {name: other.total.detach()},
            self.weights | {name: 1.0},
        )


@dataclass(frozen=True)
class Step:
    """One training batch and its context.

    Attributes:
        loaded: The batch.
        teacher: Output of the study's teacher for the batch; None if no method needs it.
        epoch: Current epoch, counted from 0; negative in the early stage.
    """

    loaded: Loaded
    teacher: Output | None
    epoch: int


class Criterion:
    """Computes the outputs and losses that a method needs.

    Attributes:
        method: The method.
        needs: The taps that the method needs.
        depth: Number of stages whose maps are compared, counted from the deepest.
        early_epochs: Number of epochs in the early stage.
        epochs: Number of epochs in the main training.
        autocast: Returns a context manager that sets the networks' precision.
        smoothing: Share of the cross-entropy's target that is spread over all classes.
    """

    def __init__(
        self,
        method: Method,
        depth: int,
        early_epochs: int,
        epochs: int,
        autocast: Callable[[], AbstractContextManager[object]],
        smoothing: float = 0.0,
    ):
        self.method = method
        self.needs = method.tapped()
        self.depth = depth
        self.early_epochs = early_epochs
        self.epochs = epochs
        self.autocast = autocast
        self.smoothing = smoothing

    def output(self, network: TappedModel, loaded: Loaded) -> Output:
        """Run a network with the student's architecture on a batch.

        Returns:
            The taps that the method needs, in float32. Of the maps, only the deepest are kept,
            namely those with a counterpart in the teacher.
        """
        second = None
        with self.autocast():
            output = in_float32(network(loaded.inputs, student_needs(self.needs)))
            if self.needs.views:
                second = network(loaded.second, Needs()).logits.float()

        return replace(
            output,
            maps=output.maps[len(output.maps) - self.depth :],
            preactivations=output.preactivations[len(output.preactivations) - self.depth :],
            second=second,
        )

    def training(self, learner: Output, source: Output, step: Step) -> Loss:
        """Compute the loss of the main training.

        Args:
            learner: Output of the network that learns.
            source: Output of the network to learn from.
            step: The batch and its context.
        """
        loaded = step.loaded
        batch = Batch(loaded.labels, loaded.index, step.epoch, self.epochs)
        terms = self.method(learner, only(source, self.needs, self.depth), batch)

        value = self.cross_entropy(learner, loaded)
        task = self.method.ce * value
        parts, raw, weights = _split(terms)
        return Loss(
            learner.logits,
            task,
            parts,
            {"ce": value} | raw,
            {"ce": float(self.method.ce)} | weights,
        )

    def early(self, learner: Output, source: Output, step: Step) -> Loss:
        """Compute the loss of the method's early stage; see `training` for the arguments."""
        loaded = step.loaded
        epoch = step.epoch + self.early_epochs
        batch = Batch(loaded.labels, loaded.index, epoch, self.early_epochs)
        terms = self.method.pre_train(learner, only(source, self.needs, self.depth), batch)

        parts, raw, weights = _split(terms)
        return Loss(learner.logits, None, parts, raw, weights)

    def alone(self, output: Output, loaded: Loaded) -> Loss:
        """Compute the loss of a network trained without a method: plain cross-entropy."""
        value = self.cross_entropy(output, loaded)
        return Loss(output.logits, value, [], {"ce": value}, {"ce": 1.0})

    def cross_entropy(self, output: Output, loaded: Loaded) -> Tensor:
        """Return the mean cross-entropy with the labels, smoothed as the recipe says."""
        return cross_entropy(output.logits, loaded, self.smoothing)


def cross_entropy(logits: Tensor, loaded: Loaded, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy, using mixed targets if the batch was mixed.

    Args:
        logits: Logits, [N, classes].
        loaded: The batch.
        smoothing: Share of each target, mixed or not, that is spread evenly over all classes.
    """
    targets = loaded.labels if loaded.targets is None else loaded.targets
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)


def student_needs(needs: Needs) -> Needs:
    """Return the taps to read from a network with the student's architecture."""
    return replace(needs, logits=False, views=False, companion="")


def _split(terms: Terms) -> tuple[list[Tensor], dict[str, Tensor], dict[str, float]]:
    """Return weighted values, raw values by name, and weights by name."""
    weighted = [weight * value for weight, value in terms.values()]
    raw = {name: value for name, (_, value) in terms.items()}
    weights = {name: float(weight) for name, (weight, _) in terms.items()}
    return weighted, raw, weights
