"""Wraps any timm model to get logits, embedding and stage maps from one forward pass.

A tapped model resizes and normalises its own inputs, so teacher and student can share a batch
even if they expect different image sizes and normalisation. Weights and inputs are in memory with
the channels of a pixel side by side (channels_last), in which convolutions are fastest, unless the
network has a convolution for which that is not safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.inference import count_macs, evaluating
from methods import Classifier, Needs, Output, Shapes, discover

CHANNEL_BLOCK = 16
"""Largest number of channels that oneDNN treats as one block."""


class TappedModel(nn.Module):
    """A timm network that preprocesses its inputs and returns the taps that methods request.

    Args:
        network: Any timm model.
        size: Shape of each image in a batch, (C, H, W).
        mean: Normalisation mean per channel, in [0, 1].
        std: Normalisation standard deviation per channel.
        image_size: Input height and width of the network; defaults to those of the batch.

    Attributes:
        shapes: Shapes of all taps, without the batch axis.
        stages: Indices of the tapped stages, shallow to deep.
        notes: Why each missing tap is missing, by the tap's name: `embedding`, `maps`, `pooled` or
            `classifier`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        size: tuple[int, ...],
        mean: Sequence[float],
        std: Sequence[float],
        image_size: int | None = None,
    ):
        super().__init__()
        self.network: Any = in_channels_last(network)
        self._format = memory_format(network)
        self.size = size
        self.image_size = image_size
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

        with evaluating(self):
            self._tappable = discover(self.network, self.prepared(self.example(1)))
        self.shapes: Shapes = self._tappable.shapes
        self.notes = self._tappable.notes
        self.stages = self._tappable.stages
        self._macs: int | None = None

    def forward(self, inputs: Tensor, needs: Needs) -> Output:
        """Run the network and return its logits and the requested taps.

        Args:
            inputs: A batch of images, float32 [N, C, H, W] in [0, 1].
            needs: What to tap besides the logits.
        """
        return self._tappable.output(self.network, self.prepared(inputs), needs)

    def prepared(self, inputs: Tensor) -> Tensor:
        """Resize a batch to the network's image size, if one is set, and normalise it."""
        if self.image_size is not None:
            _, height, width = seen_size(self.size, self.image_size)
            if inputs.shape[2:] != (height, width):
                inputs = F.interpolate(
                    inputs, (height, width), mode="bilinear", align_corners=False, antialias=True
                )

        inputs = inputs.contiguous(memory_format=self._format)
        return (inputs - self.mean) / self.std

    def taps(self) -> Needs:
        """Return all taps that this network supports."""
        has_maps = bool(self.shapes.maps)
        return Needs(
            logits=True,
            embedding=bool(self.shapes.embedding),
            maps=has_maps,
            preactivations=has_maps,
            pooled=bool(self.shapes.pooled),
            classifier=self.shapes.classifier,
        )

    def classifier(self) -> Classifier | None:
        """Return the layer that maps the embedding to logits; None if there is no such layer."""
        return self._tappable.classifier(self.network)

    @property
    def device(self) -> torch.device:
        """The device that the model is on."""
        return self.mean.device

    def example(self, count: int) -> Tensor:
        """Return a batch of noise images on the model's device, identical on every call.

        Args:
            count: Number of images.
        """
        generator = torch.Generator("cpu").manual_seed(0)  # leaves the global RNG untouched
        noise = torch.rand(count, *self.size, generator=generator, device="cpu")
        return noise.to(self.device)

    def parameter_count(self) -> int:
        """Return the number of the network's parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def macs(self) -> int:
        """Return the multiply-accumulate count of a forward pass with one input.

        The first call runs a forward pass; the count does not depend on the weights.
        """
        if self._macs is None:
            self._macs = count_macs(self, self.example(1), Needs())
        return self._macs


def in_channels_last(module: nn.Module) -> nn.Module:
    """Lay out a module's weights in the order of `memory_format`, in place, and return it."""
    order = memory_format(module)
    for value in (*module.parameters(), *module.buffers()):
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=order)
    return module


def memory_format(module: nn.Module) -> torch.memory_format:
    """Return the order in memory in which a module computes: channels_last if that is safe.

    In that order, the gradient of a 1x1 convolution with a stride is wrong on CPUs, and written
    past its memory, if the input channels don't fill oneDNN's blocks (oneDNN issue 6035).
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        strided = layer.kernel_size == (1, 1) and layer.stride != (1, 1)
        if strided and layer.in_channels // layer.groups % CHANNEL_BLOCK:
            return torch.contiguous_format
    return torch.channels_last


def seen_size(size: tuple[int, ...], image_size: int | None) -> tuple[int, ...]:
    """Return the shape (C, H, W) of images of shape `size` after resizing for a network."""
    return size if image_size is None else (size[0], image_size, image_size)


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)
