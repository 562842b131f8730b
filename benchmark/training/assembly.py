"""Builds the parts of a member from its task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from torch import nn

import methods
from benchmark import seeds
from benchmark.models.deployed import DeployedModel, Evaluated
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel, in_channels_last
from benchmark.records.checkpoints import Tensors
from benchmark.study.schema import Recipe
from benchmark.training import cost
from benchmark.training.companions import Companion, companion_of
from benchmark.training.conditions import Conditions, Task
from benchmark.training.losses import Criterion, Loss, Step, student_needs
from benchmark.training.schedule import Schedule
from benchmark.training.stage import Stage
from methods import Method

HEAD = "deployed."
"""Prefix of the weight names of a method's own head, saved along with the student's weights."""


@dataclass(frozen=True)
class Assembly:
    """The parts that a member trains, and how it trains them.

    Attributes:
        method: The method, with its adapters.
        student: The student.
        companion: Provides the network, if any, that the student learns from.
        model: The network to evaluate: the student, with the method's own head if it has one.
        criterion: Computes the losses.
        length: Number of epochs in each stage.
        recipe: The recipe of the main training, stretched to the method's length.
        schedule: The learning rates of both stages.
    """

    method: Method
    student: TappedModel
    companion: Companion
    model: Evaluated
    criterion: Criterion
    length: cost.Length
    recipe: Recipe
    schedule: Schedule

    def enter(self, early: bool) -> Stage:
        """Select the modules that learn in a stage, and start the stage."""
        self.companion.enter(early)
        learners = self.companion.learners([self.student, self.method], early)
        parameters = chain.from_iterable(module.parameters() for module in learners)
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        return Stage(learning, {} if early else self._deployed(), self.schedule)

    def loss(self, step: Step) -> Loss:
        """Compute the loss of a batch."""
        compute = self.companion.early_loss if step.epoch < 0 else self.companion.loss
        return compute(self.criterion, self.student, step)

    def modules(self) -> dict[str, nn.Module]:
        """Return all modules that learn or hold state, by their prefix in checkpoints."""
        return {
            "student": self.student.network,
            "method": self.method,
            **self.companion.checkpointed(),
        }

    def weights(self) -> Tensors:
        """Return all weights that inference needs."""
        tensors: Tensors = dict(self.student.network.state_dict())

        head = self.method.deployed()
        if head is not None:
            for name, value in head.state_dict().items():
                tensors[f"{HEAD}{name}"] = value

        return tensors

    def load_weights(self, tensors: Tensors) -> None:
        """Load the tensors that `weights` returned."""
        load_weights(self.student, self.method, tensors)

    def _deployed(self) -> dict[str, nn.Module]:
        """Return the modules whose weights inference needs."""
        head = self.method.deployed()
        student: dict[str, nn.Module] = {"student": self.student.network}
        return student if head is None else {**student, "head": head}


def load_weights(student: TappedModel, method: Method, tensors: Tensors) -> None:
    """Load all weights that inference needs.

    Args:
        student: The student.
        method: Its method, whose own head is loaded if it has one.
        tensors: The tensors that `Assembly.weights` returned.
    """
    own = dict(tensors)
    head = method.deployed()
    if head is not None:
        names = [name for name in own if name.startswith(HEAD)]
        head.load_state_dict({name.removeprefix(HEAD): own.pop(name) for name in names})

    student.network.load_state_dict(own)


def assemble(task: Task, conditions: Conditions) -> Assembly:
    """Build the parts of a member.

    Raises:
        InputError: A network cannot be built.
    """
    method = methods.create(task.method, **task.settings)
    recipe = task.recipe or conditions.recipe
    length = cost.length(method, recipe)
    stretched = recipe.stretched(method.length)

    student = conditions.build_network(task.student, "student", task.label)
    companion = companion_of(method).build(task, conditions)
    depth = _build_adapters(method, student, companion, conditions)

    device = conditions.data.device
    student.to(device).train()
    in_channels_last(method).to(device).train()
    smoothing = recipe.label_smoothing or 0.0
    criterion = Criterion(
        method, depth, length.early, length.epochs, conditions.autocast, smoothing
    )
    early_recipe = recipe if companion.trains_first else None
    schedule = Schedule(stretched, conditions.steps, length.early, early_recipe)

    return Assembly(
        method=method,
        student=student,
        companion=companion,
        model=_evaluated(student, method),
        criterion=criterion,
        length=length,
        recipe=stretched,
        schedule=schedule,
    )


def _build_adapters(
    method: Method, student: TappedModel, companion: Companion, conditions: Conditions
) -> int:
    """Build the adapters and memory banks of a method, on the CPU.

    Returns:
        The number of stages whose maps are compared.
    """
    data = conditions.data
    pair = probe(
        student,
        companion.source(conditions.teacher),
        method.tapped(),
        data.samples,
        conditions.recipe.batch_size,
        data.labels,
    )

    with seeds.seeded(conditions.seed, "adapters"):
        method.build(pair)

    return len(pair.student.maps)


def _evaluated(student: TappedModel, method: Method) -> Evaluated:
    head = method.deployed()
    if head is None:
        return student
    return DeployedModel(student, head, student_needs(method.tapped()))
