"""The optimizers that a recipe can choose, and how each computes gradients from a loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.plugins.kinds import OPTIMIZERS
from benchmark.records.checkpoints import Tensors
from benchmark.study.schema import Optimizer as Settings
from benchmark.study.schema import OwnOptimizer, Recipe
from benchmark.training.gradients import ALONE, Clipping, Turn
from benchmark.training.losses import Loss
from benchmark.training.scaling import Scaler
from methods import Dot

RECORDABLE = (torch.optim.SGD, torch.optim.AdamW)
"""Optimizers whose updates, if fused, read everything that changes from tensors."""

SCALER = "scaler"
"""Prefix of the names of the loss scaling's state."""


class Optimizer:
    """Minimises the total of a loss with one of torch's optimizers.

    Attributes:
        rate: The learning rate.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        rate: float,
        clipping: Clipping | None = None,
        scaler: Scaler | None = None,
    ):
        """Minimise with an optimizer.

        Args:
            optimizer: The optimizer.
            rate: Its learning rate.
            clipping: Limits of the gradients; None for none.
            scaler: Scales the loss of networks in fp16; None in other precisions.
        """
        self._optimizer = optimizer
        self._clipping = clipping
        self._scaler = scaler
        self.rate = rate

    @property
    def unrecordable(self) -> str:
        """Why updates cannot be recorded as a CUDA graph; empty if they can."""
        if self._scaler is not None:
            return "in fp16, each step waits to see whether a gradient overflowed"
        if type(self._optimizer) not in RECORDABLE:
            return "the optimizer computes with numbers that a graph would freeze"
        groups = self._optimizer.param_groups
        if not all(group["fused"] and isinstance(group["lr"], Tensor) for group in groups):
            return "the optimizer computes with numbers that a graph would freeze"
        return ""

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of all parameters, without waiting for the device."""
        self.rate = rate
        for group in self._optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self, loss: Loss, turn: Turn = ALONE) -> bool:
        """Add the gradient of a batch's loss, and update the parameters if it is the batch's turn.

        Args:
            loss: The loss of the batch.
            turn: The batch's position among those that make one update, whose gradients are
                averaged.

        Returns:
            Whether the parameters were updated. In fp16, an update whose gradient overflows is
            skipped.
        """
        if turn.first:
            self._optimizer.zero_grad(set_to_none=True)
        self._add_gradient(loss, turn.batches)

        return turn.last and self._update()

    def state(self) -> Tensors:
        """Return the state tensors of all parameters, by `<parameter index>/<name>`.

        The state of the loss scaling follows, by `scaler/<name>`.
        """
        tensors = {}
        for index, state in self._optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"{index}/{name}"] = value

        if self._scaler is not None:
            for name, value in self._scaler.state().items():
                tensors[f"{SCALER}/{name}"] = value

        return tensors

    def load(self, tensors: Tensors) -> None:
        """Restore a state that `state` returned.

        Raises:
            KeyError: The state of the loss scaling is missing.
            ValueError: A name doesn't have the form that `state` uses, or is of a parameter that
                does not exist.
        """
        parameters = _parameters(self._optimizer)
        states: dict[int, Tensors] = {}
        scaling: Tensors = {}
        for name, value in tensors.items():
            index, _, key = name.partition("/")
            if index == SCALER:
                scaling[key] = value
            else:
                number = int(index)
                if number >= len(parameters):
                    raise ValueError(f"there is no parameter {number}")
                states.setdefault(number, {})[key] = _laid_out_like(parameters[number], value)

        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": states})
        _complete(self._optimizer)
        if self._scaler is not None:
            self._scaler.load(scaling)

    def _add_gradient(self, loss: Loss, batches: int) -> None:
        """Add the gradient of a loss to that of the other batches of an update."""
        total = loss.total / batches
        if self._scaler is not None:
            total = self._scaler.scale(total)
        total.backward()

    def _update(self) -> bool:
        """Update the parameters with their gradients, unless these overflow."""
        if self._scaler is not None:
            self._scaler.unscale(self._optimizer)
        if self._clipping is not None:
            self._clipping.apply([parameter.grad for parameter in _parameters(self._optimizer)])

        if self._scaler is not None:
            return self._scaler.step(self._optimizer)

        for group in self._optimizer.param_groups:
            # torch wants AdamW's setting while a graph is recorded, and only then.
            if "capturable" in group and group["params"][0].is_cuda and not self.unrecordable:
                group["capturable"] = torch.cuda.is_current_stream_capturing()
        self._optimizer.step()
        return True


class DotOptimizer(Optimizer):
    """Minimises a loss with DOT, which separates the gradients of the task and the distillation.

    See `methods.Dot`; Zhao et al., ICCV 2023, arXiv:2308.02286.
    """

    def __init__(self, optimizer: Dot, rate: float, clipping: Clipping | None = None):
        super().__init__(optimizer, rate, clipping)
        self._dot = optimizer
        self._distillation: list[Tensor | None] = []

    def step(self, loss: Loss, turn: Turn = ALONE) -> bool:
        """Add both gradients of a batch's loss, and update the parameters if it is its turn."""
        if turn.first:
            self._distillation = [None] * len(_parameters(self._dot))
        return super().step(loss, turn)

    def _add_gradient(self, loss: Loss, batches: int) -> None:
        """Add both gradients of a loss to those of the other batches of an update."""
        if loss.parts:
            gradients = torch.autograd.grad(
                torch.stack(loss.parts).sum() / batches,
                _parameters(self._dot),
                retain_graph=loss.task is not None,
                allow_unused=True,
            )
            pairs = zip(self._distillation, gradients, strict=True)
            self._distillation = [_added(before, new) for before, new in pairs]

        if loss.task is not None:
            torch.autograd.backward(loss.task / batches)

    def _update(self) -> bool:
        """Update the parameters with their two gradients."""
        if self._clipping is not None:
            task = [parameter.grad for parameter in _parameters(self._dot)]
            # Gradients from `autograd.grad` may share memory, so they can't be limited in place.
            self._distillation = [_copy(gradient) for gradient in self._distillation]
            self._clipping.apply(task, self._distillation)

        self._dot.step(self._distillation)
        return True


def create(recipe: Recipe, parameters: Sequence[Tensor]) -> Optimizer:
    """Return the optimizer of a recipe, with a fresh state."""
    clipping = None
    if recipe.clip_norm is not None or recipe.clip_value is not None:
        clipping = Clipping(recipe.clip_norm, recipe.clip_value)

    rate = recipe.optimizer.lr
    optimizer = build(recipe.optimizer, parameters)
    if isinstance(optimizer, Dot):
        return DotOptimizer(optimizer, rate, clipping)

    scaler = Scaler(parameters[0].device) if recipe.precision == "fp16" else None
    return Optimizer(optimizer, rate, clipping, scaler)


def build(settings: Settings | OwnOptimizer, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """Return the optimizer that a recipe chooses, as torch knows it."""
    if isinstance(settings, OwnOptimizer):
        function = OPTIMIZERS.get(settings.name)
        assert function is not None
        own: torch.optim.Optimizer = function(
            parameters, settings.lr, settings.weight_decay, **settings.settings
        )
        return own

    if settings.name == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=_on_device(settings.lr, parameters),
            weight_decay=settings.weight_decay,
            fused=True,
        )

    if settings.name == "dot":
        assert settings.delta is not None
        return Dot(
            parameters,
            settings.lr,
            settings.momentum,
            settings.weight_decay,
            settings.delta,
        )

    sgd = torch.optim.SGD(
        parameters,
        _on_device(settings.lr, parameters),
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
        fused=True,
    )
    _complete(sgd)
    return sgd


def _complete(optimizer: torch.optim.Optimizer) -> None:
    """Start the momentum of fused SGD for every parameter, which changes no update.

    Otherwise, torch fails if some parameters get their first gradient later than others.
    """
    group = optimizer.param_groups[0]
    if not (isinstance(optimizer, torch.optim.SGD) and group["fused"] and group["momentum"]):
        return

    for parameter in _parameters(optimizer):
        state = optimizer.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter.detach())


def _on_device(rate: float, parameters: Sequence[Tensor]) -> Tensor:
    """Return a learning rate on the device, which can change without a new argument of a kernel."""
    return torch.tensor(rate, dtype=torch.float32, device=parameters[0].device)


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a value of a parameter's shape in the parameter's order in memory, others as is."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return all parameters of an optimizer, in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copy(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.clone()


def _added(before: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Return the sum of two gradients, of which each may be missing."""
    if before is None or new is None:
        return new if before is None else before
    return before + new
