"""Companions: networks that a student learns from in place of the study's teacher.

A method names its companion in `Needs.companion`; `COMPANIONS` maps each name to a class.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import nn

from benchmark.errors import InputError
from benchmark.models.pairing import in_float32
from benchmark.models.tapped import TappedModel
from benchmark.training.conditions import Conditions, Task
from benchmark.training.losses import Criterion, Loss, Step
from benchmark.training.teacher import Teacher
from methods import Method, Output

TRAINING_PASSES = 3
"""Cost of a training step in forward passes: one for the forward, two for the backward pass."""


class Companion(ABC):
    """Decides which network the student learns from, and which modules learn.

    In all methods, `early` is true in the early stage, which precedes the main training.

    Attributes:
        trains_first: Whether the early stage trains only the companion, for all epochs of a recipe.
    """

    trains_first: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def build(cls, task: Task, conditions: Conditions) -> Self:
        """Build the companion of a task.

        Raises:
            InputError: The task lacks something that the companion needs.
        """

    @staticmethod
    @abstractmethod
    def macs(student: int, teacher: int) -> int:
        """Return the companion's multiply-accumulates for one training sample.

        Those of the student and of the study's teacher are not included.

        Args:
            student: Multiply-accumulates of the student's forward pass.
            teacher: Multiply-accumulates of the teacher's forward pass.
        """

    @abstractmethod
    def source(self, teacher: Teacher | None) -> TappedModel | None:
        """Return the network that the student learns from, if there is one.

        Args:
            teacher: The study's teacher.
        """

    @abstractmethod
    def output(self, criterion: Criterion, step: Step) -> Output:
        """Return the source's output for a batch; its logits are empty if there is no source."""

    def enter(self, early: bool) -> None:  # noqa: B027  (most companions have nothing to do)
        """Set the mode of the companion's network for a stage."""

    def learners(self, own: list[nn.Module], early: bool) -> list[nn.Module]:
        """Return the modules that learn in a stage.

        Args:
            own: The student and the method.
            early: Whether the stage is the early one.
        """
        return own

    def checkpointed(self) -> dict[str, nn.Module]:
        """Return the modules whose weights a checkpoint must contain, by name."""
        return {}

    def loss(self, criterion: Criterion, student: TappedModel, step: Step) -> Loss:
        """Compute the loss of a batch in the main training."""
        learner = criterion.output(student, step.loaded)
        source = self.output(criterion, step)
        return criterion.training(learner, source, step)

    def early_loss(self, criterion: Criterion, student: TappedModel, step: Step) -> Loss:
        """Compute the loss of a batch in the early stage."""
        learner = criterion.output(student, step.loaded)
        source = self.output(criterion, step)
        return criterion.early(learner, source, step)


class NoCompanion(Companion):
    """No companion: the student learns from the study's teacher, or from labels alone."""

    @classmethod
    def build(cls, task: Task, conditions: Conditions) -> Self:
        """Return the companion; there is no network to build."""
        return cls()

    @staticmethod
    def macs(student: int, teacher: int) -> int:
        """Return 0: there is nothing to compute."""
        return 0

    def source(self, teacher: Teacher | None) -> TappedModel | None:
        """Return the study's teacher."""
        return None if teacher is None else teacher.model

    def output(self, criterion: Criterion, step: Step) -> Output:
        """Return the output of the study's teacher."""
        if step.teacher is not None:
            return step.teacher
        return Output(step.loaded.inputs.new_empty(0))


class SecondNetwork(Companion):
    """Base class of companions with a network of their own.

    Attributes:
        network: The network, on the device of the data.
    """

    def __init__(self, network: TappedModel):
        self.network = network

    @classmethod
    def build(cls, task: Task, conditions: Conditions) -> Self:
        """Build a network of the student's architecture with weights of its own."""
        network = conditions.build_network(task.student, "companion", task.label)
        return cls(network.to(conditions.data.device))

    @abstractmethod
    def learns(self, early: bool) -> bool:
        """Return whether the network learns in a stage."""

    def source(self, teacher: Teacher | None) -> TappedModel | None:
        """Return the network."""
        return self.network

    def enter(self, early: bool) -> None:
        """Enter train mode if the network learns in the stage; otherwise freeze it in eval mode."""
        learns = self.learns(early)
        self.network.train(learns).requires_grad_(learns)

    def checkpointed(self) -> dict[str, nn.Module]:
        """Return the network."""
        return {"companion": self.network.network}


class Peer(SecondNetwork):
    """A network of the student's architecture; it and the student learn from each other."""

    @staticmethod
    def macs(student: int, teacher: int) -> int:
        """Return the cost of a training step of the peer."""
        return TRAINING_PASSES * student

    def learns(self, early: bool) -> bool:
        """Return True: the peer always learns."""
        return True

    def learners(self, own: list[nn.Module], early: bool) -> list[nn.Module]:
        """Return the student, the method and the peer."""
        return [*own, self.network]

    def output(self, criterion: Criterion, step: Step) -> Output:
        """Run the peer on a batch, with gradients."""
        return criterion.output(self.network, step.loaded)

    def loss(self, criterion: Criterion, student: TappedModel, step: Step) -> Loss:
        """Compute the losses of the student and the peer, each with the other as its source."""
        own = criterion.output(student, step.loaded)
        peer = self.output(criterion, step)

        own_loss = criterion.training(own, peer, step)
        peer_loss = criterion.training(peer, own, step)
        return own_loss.joined(peer_loss, "peer")


class Earlier(SecondNetwork):
    """A network of the student's architecture that is trained alone in the early stage."""

    trains_first = True

    @staticmethod
    def macs(student: int, teacher: int) -> int:
        """Return the cost of a forward pass."""
        return student

    def learns(self, early: bool) -> bool:
        """Return True in the early stage only."""
        return early

    def learners(self, own: list[nn.Module], early: bool) -> list[nn.Module]:
        """Return the network in the early stage, and the student and the method afterwards."""
        return [self.network] if early else own

    def output(self, criterion: Criterion, step: Step) -> Output:
        """Run the network on a batch, without gradients."""
        with torch.no_grad():
            return criterion.output(self.network, step.loaded)

    def early_loss(self, criterion: Criterion, student: TappedModel, step: Step) -> Loss:
        """Compute the network's cross-entropy."""
        output = criterion.output(self.network, step.loaded)
        return criterion.alone(output, step.loaded)


class Untrained(SecondNetwork):
    """A network of the teacher's architecture with random weights.

    Checkpoints don't contain this network, because the seed reproduces its weights.
    """

    @classmethod
    def build(cls, task: Task, conditions: Conditions) -> Self:
        """Build a network of the teacher's architecture, never with pretrained weights."""
        if task.teacher is None:
            raise InputError(
                f"{task.label}: method {task.method} needs the architecture of a teacher, "
                "but there is none; remove the method"
            )

        network = conditions.build_network(task.teacher.untrained, "companion", task.label)
        return cls(network.to(conditions.data.device))

    @staticmethod
    def macs(student: int, teacher: int) -> int:
        """Return the cost of a forward pass."""
        return teacher

    def learns(self, early: bool) -> bool:
        """Return False: the network never learns."""
        return False

    def enter(self, early: bool) -> None:
        """Freeze the network, but normalise with the statistics of each batch.

        The running statistics of an untrained network are only initial values, and without
        normalisation its activations would explode.
        """
        super().enter(early)
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
                module.momentum = 0.0  # leaves the running statistics unchanged

    def checkpointed(self) -> dict[str, nn.Module]:
        """Return no modules."""
        return {}

    def output(self, criterion: Criterion, step: Step) -> Output:
        """Run the network on a batch, without gradients."""
        with torch.no_grad(), criterion.autocast():
            return in_float32(self.network(step.loaded.inputs, self.network.taps()))


COMPANIONS: dict[str, type[Companion]] = {
    "": NoCompanion,
    "peer": Peer,
    "earlier": Earlier,
    "untrained": Untrained,
}
"""Companion classes by the value of `Needs.companion`."""


def companion_of(method: Method) -> type[Companion]:
    """Return the class of a method's companion."""
    return COMPANIONS[method.tapped().companion]
