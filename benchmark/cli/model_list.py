"""The models on the screen: size, cost, and what can be tapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from rich.console import RenderableType

from benchmark.cli import tables
from benchmark.errors import InputError, first_line, suggest
from benchmark.models.create import create, definition, has_fixed_size, names, tapped
from benchmark.study.schema import Network
from methods import Shapes

LARGEST = 50_000_000
"""Models with fewer parameters are built in memory if they cannot be traced on the meta device."""


@dataclass(frozen=True)
class Entry:
    """One model, for images of one size.

    Attributes:
        name: Its name in timm or in this package's zoo.
        fixed: Whether it is built for one image size.
        parameters: Number of parameters.
        macs: Multiply-accumulates of one forward pass of one image.
        shapes: Shapes of its taps.
        notes: Why `embedding` or `maps` cannot be tapped.
        reason: Why the rest is unknown; empty if it is known.
        origin: The module that defines it, or `timm`.
    """

    name: str
    fixed: bool
    parameters: int | None = None
    macs: int | None = None
    shapes: Shapes | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    origin: str = "timm"


def models(pattern: str, size: tuple[int, int, int], classes: int) -> Iterator[Entry]:
    """Yield the models with matching names, one at a time, because many models take minutes.

    Args:
        pattern: A name with wildcards (`*`, `?`, `[...]`), or a name or part of one.
        size: Shape (C, H, W) of the images.
        classes: Number of classes.

    Raises:
        InputError: No name matches.
    """
    matching = names(pattern)
    if not matching and not any(wildcard in pattern for wildcard in "*?["):
        matching = names(f"*{pattern}*")
    if not matching:
        hint = suggest(pattern.strip("*"), names(), fallback="'*' matches all")
        raise InputError(f"no model matches {pattern!r}; {hint}")
    return (_entry(name, size, classes) for name in matching)


def table(entries: Iterable[Entry]) -> RenderableType:
    """Return a table with a line per model: parameters and MACs in millions, shapes of the taps."""
    headers = [
        "model", "defined in", "params (M)", "MACs (M)", "image size", "embedding", "maps"
    ]  # fmt: skip
    return tables.table("", headers, [_row(entry) for entry in entries])


def _entry(name: str, size: tuple[int, int, int], classes: int) -> Entry:
    network = Network(model=name)
    fixed = has_fixed_size(network)
    function = definition(network)
    origin = "timm" if function is None else function.__module__
    try:
        with torch.device("meta"):
            model = create(network, name, size, classes)
    except InputError as error:
        return Entry(name, fixed, reason=_reason(error, name), origin=origin)

    parameters = sum(parameter.numel() for parameter in model.parameters())
    entry = Entry(name, fixed, parameters, origin=origin)
    devices = ("meta", "cpu") if parameters < LARGEST else ("meta",)
    reason = ""
    for device in devices:
        try:
            with torch.device(device):
                return _measured(entry, network, size, classes)
        except Exception as error:  # on the meta device, models may raise anything
            reason = _reason(error, name)
    return replace(entry, reason=reason)


def _measured(entry: Entry, network: Network, size: tuple[int, int, int], classes: int) -> Entry:
    """Return the entry with MACs and taps, from forward passes on torch's default device."""
    grey = [0.5] * size[0]
    model = tapped(network, entry.name, size, classes, grey, grey)
    notes = {tap: why for tap, why in model.notes.items() if tap in ("embedding", "maps")}
    # Only values show whether a map is averaged into the embedding; the meta device has none.
    shapes = replace(model.shapes, pooled=())
    return replace(entry, macs=model.macs(), shapes=shapes, notes=notes)


def _reason(error: Exception, name: str) -> str:
    return first_line(error).removeprefix(f"{name}: ")


def _row(entry: Entry) -> list[str]:
    start = [
        entry.name,
        entry.origin,
        _millions(entry.parameters),
        _millions(entry.macs),
        "fixed" if entry.fixed else "any",
    ]
    if entry.shapes is None:
        return [*start, entry.reason, ""]

    embedding = entry.shapes.embedding
    maps = ["x".join(map(str, shape)) for shape in entry.shapes.maps]
    return [
        *start,
        str(embedding[0]) if embedding else entry.notes["embedding"],
        " ".join(maps) or entry.notes["maps"],
    ]


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.2f}"
