"""Two routes to the stage maps of a network: timm's own interface, and hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from methods._head import Head


@dataclass(frozen=True)
class Taps:
    """The result of one forward pass along a route.

    Attributes:
        logits: The network's output, [N, classes].
        maps: The map of each stage, [N, C, H, W], shallow to deep.
        preactivations: The same maps before each stage's last activation; identical to `maps` if
            the route does not provide them.
        last: Input of the head, if the route provides it.
        embedding: Input of the classifier, if the head returned it.
    """

    logits: Tensor
    maps: list[Tensor]
    preactivations: list[Tensor]
    last: Tensor | None = None
    embedding: Tensor | None = None


Route = Callable[[Any, Tensor, Sequence[int] | None, bool, Head], Taps]
"""Runs a network on inputs and taps some stages (all if None), with or without preactivations."""


def by_intermediates(
    network: Any,
    inputs: Tensor,
    stages: Sequence[int] | None,
    preactivations: bool,
    head: Head,
) -> Taps:
    """Tap a network via timm's `forward_intermediates`, and compute the logits with its head."""
    if preactivations and stages is not None and hasattr(network, "forward_taps"):
        # The zoo's networks return both kinds of maps in one pass.
        last, maps, early_maps = network.forward_taps(inputs, stages)
    else:
        last, maps = network.forward_intermediates(inputs, indices=stages, output_fmt="NCHW")
        early_maps = maps

    logits, embedding = head(network, last)
    is_tensor = isinstance(last, Tensor)  # CoaT returns a list
    return Taps(logits, maps, early_maps, last if is_tensor else None, embedding)


def by_hooks(
    network: Any,
    inputs: Tensor,
    stages: Sequence[int] | None,
    preactivations: bool,
    head: Head,
) -> Taps:
    """Tap a network with hooks on the modules that its `feature_info` lists.

    The network computes the logits itself, so `head` is not used.

    Raises:
        ValueError: The network does not call one of these modules, or a tap's number of channels
            differs from `feature_info`.
    """
    features = getattr(network.feature_info, "info", network.feature_info)
    if stages is not None:
        features = [features[stage] for stage in stages]

    taps: dict[int, Tensor] = {}
    handles: list[Any] = []
    try:
        for key, feature in enumerate(features):
            handles.append(_watch(network, feature, key, taps))
        logits = network(inputs)
    finally:
        for handle in handles:
            handle.remove()

    for key, feature in enumerate(features):
        if key not in taps:
            raise ValueError(f"the network does not call its {feature['module']!r}")

    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    maps = [
        _as_nchw(taps[key], feature["num_chs"], channels_last)
        for key, feature in enumerate(features)
    ]
    return Taps(logits, maps, maps)


def _watch(network: nn.Module, feature: Any, key: int, taps: dict[int, Tensor]) -> Any:
    """Register a hook that stores a module's output, or its input, in `taps`; return the handle."""
    module = network.get_submodule(feature["module"])

    def store(_: nn.Module, inputs: Any, output: Any = None) -> None:
        tap = inputs if output is None else output
        taps[key] = tap[0] if isinstance(tap, tuple | list) else tap

    if feature.get("hook_type") == "forward_pre":
        return module.register_forward_pre_hook(store)

    return module.register_forward_hook(store)


def _as_nchw(tap: Tensor, channels: int, channels_last: bool) -> Tensor:
    """Move the axis whose length is `channels` to index 1.

    If two axes have this length, `channels_last` decides.
    """
    if tap.dim() != 4:
        return tap

    candidates = (3, 1) if channels_last else (1, 3)
    axes = [axis for axis in candidates if tap.shape[axis] == channels]
    if not axes:
        raise ValueError(f"a tap of shape {tuple(tap.shape)} has no axis of {channels} channels")

    return tap if axes[0] == 1 else tap.permute(0, 3, 1, 2).contiguous()
