"""The taps of a teacher by name, so that each can be stored by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from methods import Classifier, Needs, Output, Shapes

SECOND = "second"
"""Name of the logits of the second view."""

_STAGED = ("maps", "preactivations")
"""Taps with one tensor per stage; a tensor's name ends in the number of its stage, from 0."""


def taps_of(needs: Needs, depth: int, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a teacher's taps that a method reads, by name.

    Args:
        needs: The taps that the method needs.
        depth: Number of stages whose maps are compared, counted from the deepest.
        shapes: The shapes of the teacher's taps.
    """
    taps = {name: getattr(shapes, name) for name in ("logits", "embedding", "pooled")}
    named = {name: shape for name, shape in taps.items() if shape and getattr(needs, name)}

    stages = range(max(len(shapes.maps) - depth, 0), len(shapes.maps))
    for kind in _STAGED:
        if getattr(needs, kind):
            named |= {f"{kind}-{stage}": shapes.maps[stage] for stage in stages}
    if needs.views:
        named[SECOND] = shapes.logits
    return named


def in_words(name: str) -> str:
    """Return a tap's name in words, such as "maps of stage 1" for "maps-0"."""
    if name == SECOND:
        return "logits of the second view"

    kind, _, stage = name.partition("-")
    return f"{kind} of stage {int(stage) + 1}" if stage else kind


def tensors_of(output: Output) -> dict[str, Tensor]:
    """Return the tensors of a teacher's output for one view, by the names of their taps."""
    tensors = {"logits": output.logits}
    if output.embedding is not None:
        tensors["embedding"] = output.embedding
    if output.pooled is not None:
        tensors["pooled"] = output.pooled

    for kind in _STAGED:
        tensors |= {f"{kind}-{stage}": value for stage, value in enumerate(getattr(output, kind))}
    return tensors


def output_of(
    tensors: Mapping[str, Tensor], classifier: Classifier | None, device: torch.device
) -> Output:
    """Return a teacher's output for a batch, of which some taps are missing.

    Args:
        tensors: The tensors by the names of their taps. If a stage is missing, so are all
            earlier ones.
        classifier: The teacher's classifier, if it has one.
        device: Device of the tensors.
    """
    logits = tensors.get("logits")
    return Output(
        logits=torch.empty(0, device=device) if logits is None else logits,
        embedding=tensors.get("embedding"),
        maps=tuple(_stages(tensors, "maps")),
        preactivations=tuple(_stages(tensors, "preactivations")),
        pooled=tensors.get("pooled"),
        classifier=classifier,
        second=tensors.get(SECOND),
    )


def _stages(tensors: Mapping[str, Tensor], kind: str) -> Iterator[Tensor]:
    """Yield the tensors of a tap's stages, shallow to deep."""
    prefix = f"{kind}-"
    names = [name for name in tensors if name.startswith(prefix)]
    for name in sorted(names, key=lambda name: int(name.removeprefix(prefix))):
        yield tensors[name]
