"""Routes to the stage maps of a network: timm's intermediates, or hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MAX_STAGES = 4
"""So many stage maps are tapped at most, counted from the deepest."""


@dataclass(frozen=True)
class Taps:
    """What a route gives.  maps: NCHW; before: the same before the last activation; last: what the head takes."""

    logits: Tensor
    maps: list[Tensor]
    before: list[Tensor]
    last: Tensor | None = None


Route = Callable[[Any, Tensor, Sequence[int] | None, bool], Taps]
"""A way to the maps: network, its input, the stages (all where None), and whether `before` is wanted."""


def same(one: Tensor, other: Tensor) -> bool:
    """Whether all bits agree; on the meta device, where there are none, whether the shapes do."""
    return one.shape == other.shape and (one.is_meta or torch.equal(one, other))


def chosen(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """The stages to tap: the last map of each size, or evenly spaced ones where all have the same size.

    shapes: of all maps, [N, C, H, W]. Raises ValueError where one is no map, or there is none.
    """
    for shape in shapes:
        if len(shape) != 4:
            raise ValueError(f"a tap of shape {shape} is not a map")
    if not shapes:
        raise ValueError("the network names no stages")
    by_size = {shape[2:]: place for place, shape in enumerate(shapes)}
    if len(by_size) > 1:
        return sorted(by_size.values())[-MAX_STAGES:]
    count = min(MAX_STAGES, len(shapes))
    return [len(shapes) * (n + 1) // count - 1 for n in range(count)]


def by_intermediates(
    network: Any, images: Tensor, stages: Sequence[int] | None, before: bool
) -> Taps:
    """The route that timm offers: it gives the last map and the stages', and the head makes the logits."""
    if before and stages is not None and hasattr(network, "forward_taps"):  # the zoo's own nets
        last, maps, early = network.forward_taps(images, stages)
    else:
        last, maps = network.forward_intermediates(images, indices=stages, output_fmt="NCHW")
        early = maps
    return Taps(
        network.forward_head(last), maps, early, last if isinstance(last, Tensor) else None
    )  # CoaT: a list


def by_hooks(network: Any, images: Tensor, stages: Sequence[int] | None, before: bool) -> Taps:
    """The other route: the network runs as ever, and the modules that `feature_info` names are watched."""
    every = getattr(network.feature_info, "info", network.feature_info)
    features = every if stages is None else [every[stage] for stage in stages]
    seen: dict[int, Tensor] = {}
    handles = [_watch(network, feature, place, seen) for place, feature in enumerate(features)]
    try:
        logits = network(images)
    finally:
        for handle in handles:
            handle.remove()
    unused = [feature["module"] for place, feature in enumerate(features) if place not in seen]
    if unused:
        raise ValueError(f"the network does not call its {unused[0]!r}")
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    maps = [
        _nchw(seen[place], feature["num_chs"], channels_last)
        for place, feature in enumerate(features)
    ]
    return Taps(logits, maps, maps)


def _watch(network: nn.Module, feature: Any, place: int, seen: dict[int, Tensor]) -> Any:
    """Writes what a module gives, or takes (`hook_type`), into `seen` at `place`.  -> the hook's handle."""
    module = network.get_submodule(feature["module"])

    def note(_: nn.Module, inputs: Any, output: Any = None) -> None:
        tap = inputs if output is None else output
        seen[place] = tap[0] if isinstance(tap, tuple | list) else tap

    if feature.get("hook_type") == "forward_pre":
        return module.register_forward_pre_hook(note)
    return module.register_forward_hook(note)


def _nchw(tap: Tensor, channels: int, last: bool) -> Tensor:
    """A map with its channels, of which there are so many, at axis 1; `last` decides where both axes could be meant."""
    if tap.dim() != 4:
        return tap
    axes = [axis for axis in ((3, 1) if last else (1, 3)) if tap.shape[axis] == channels]
    if not axes:
        raise ValueError(f"a tap of shape {tuple(tap.shape)} has no axis of {channels} channels")
    return tap if axes[0] == 1 else tap.permute(0, 3, 1, 2).contiguous()
