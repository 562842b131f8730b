"""Taps networks for a training loop of your own: `tap` returns a network that returns an `Output`.

Three kinds of networks can be tapped: networks with timm's interface (`forward_intermediates` or
`feature_info`, `forward_head`, `get_classifier`); networks that return an `Output` of their own;
and all others, which have only logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from methods._discovery import Tappable, discover
from methods._taps import TAPS, Classifier, Needs, Output, Shapes


class Tapped(nn.Module):
    """A network that returns its logits and everything that can be tapped in it.

    The network itself stays as it is; its parameters, mode and state are shared.

    Args:
        network: The network. It takes preprocessed inputs.
        example: A batch of its inputs, [N, ...]. Only the first one is used, in eval mode.

    Attributes:
        network: The network.
        shapes: Shapes of all taps.
        notes: Why each missing tap is missing, by the tap's name.

    Raises:
        TypeError: If the network returns neither logits nor an `Output`.
        ValueError: If a tap has the wrong number of axes.
    """

    def __init__(self, network: nn.Module, example: Tensor):
        super().__init__()
        self.network = network
        self.training = network.training

        inputs = _first(network, example)
        self._tappable: Tappable | None = None
        with _examined(network):
            output = network(inputs)
            if isinstance(output, Output):
                self.shapes, self.notes = _described(_complete(output))
                self._classifier = output.classifier
            else:
                _check_logits(output)
                self._tappable = discover(network, inputs)
                self.shapes, self.notes = self._tappable.shapes, self._tappable.notes

    def forward(self, inputs: Tensor, needs: Needs | None = None) -> Output:
        """Run the network.

        Args:
            inputs: A preprocessed batch.
            needs: The taps to return besides the logits; all that the network has if None.

        Returns:
            The taps, in float32 even if the network runs in lower precision.
        """
        if self._tappable is None:
            output = _complete(self.network(inputs))
        else:
            wanted = self.shapes.available if needs is None else needs
            output = self._tappable.output(self.network, inputs, wanted)

        return output.map(_at_least_float32)

    def classifier(self) -> Classifier | None:
        """Return the layer that maps the embedding to logits; None if there is no such layer."""
        if self._tappable is None:
            return self._classifier
        return self._tappable.classifier(self.network)


def tap(network: nn.Module, example: Tensor) -> Tapped:
    """Wrap a network so that it returns an `Output`, with gradients.

    Args:
        network: The network; one that was tapped before is returned as it is.
        example: A batch of its inputs, [N, ...].

    Raises:
        TypeError: If the network returns neither logits nor an `Output`.
        ValueError: If a tap has the wrong number of axes.
    """
    return network if isinstance(network, Tapped) else Tapped(network, example)


def paired(student: Output, teacher: Output) -> tuple[Output, Output]:
    """Pair the stages of two networks, from the deepest on: drop shallow maps of the deeper one.

    Args:
        student: Output of the student.
        teacher: Output of the teacher.

    Returns:
        Both outputs, with equally many maps. If one network has no maps, the other keeps all.
    """
    depth = stage_count(len(student.maps), len(teacher.maps))
    return _deepest(student, depth), _deepest(teacher, depth)


def stage_count(student: int, teacher: int) -> int:
    """Return the number of stages that are paired; if one side has none, the other keeps all."""
    return min(student, teacher) or max(student, teacher)


def _deepest(output: Output, depth: int) -> Output:
    return replace(
        output,
        maps=output.maps[-depth:] if depth else (),
        preactivations=output.preactivations[-depth:] if depth else (),
    )


def _first(network: nn.Module, example: Tensor) -> Tensor:
    """Return one input on the network's device.

    A blank one is replaced by noise: on a blank image, two different computations could agree.
    """
    parameter = next(network.parameters(), None)
    inputs = example[:1].to(example.device if parameter is None else parameter.device)

    is_blank = inputs.is_floating_point() and bool((inputs == inputs.flatten()[0]).all())
    if is_blank:
        draw = torch.Generator().manual_seed(0)  # leaves the global stream untouched
        inputs = torch.rand(inputs.shape, generator=draw).to(inputs)
    return inputs


@contextmanager
def _examined(network: nn.Module) -> Iterator[None]:
    """Run a block in eval mode without gradients, and restore the mode of every module."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _check_logits(output: Any) -> None:
    if not isinstance(output, Tensor):
        kind = type(output).__name__
        raise TypeError(f"the network returns a {kind}; it must return logits or a methods.Output")
    if output.dim() != 2:
        shape = tuple(output.shape)
        raise ValueError(f"the network returns a tensor of shape {shape}; logits are [N, classes]")


def _complete(output: Output) -> Output:
    """Use the maps as preactivations if a network's own `Output` has none."""
    return output if output.preactivations else replace(output, preactivations=output.maps)


def _described(output: Output) -> tuple[Shapes, dict[str, str]]:
    """Return the shapes of an `Output`, and why taps are missing."""
    shapes = Shapes(
        _shape("logits", output.logits, "[N, classes]"),
        () if output.embedding is None else _shape("embedding", output.embedding, "[N, D]"),
        tuple(_shape("a map", stage_map, "[N, C, H, W]") for stage_map in output.maps),
        () if output.pooled is None else _shape("pooled", output.pooled, "[N, D, H, W]"),
        output.classifier is not None,
    )
    if len(output.preactivations) != len(output.maps):
        counts = f"{len(output.maps)} maps, but {len(output.preactivations)} preactivations"
        raise ValueError(f"the network's Output has {counts}")

    missing = [tap.shape for tap in TAPS if tap.shape and not getattr(shapes, tap.shape)]
    return shapes, {name: "the network's Output has none" for name in missing}


def _shape(name: str, tensor: Tensor, axes: str) -> tuple[int, ...]:
    """Return a tap's shape without the batch axis."""
    if tensor.dim() != axes.count(",") + 1:
        raise ValueError(
            f"{name} of the network has shape {tuple(tensor.shape)}; it must be {axes}"
        )
    return tuple(tensor.shape[1:])


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
