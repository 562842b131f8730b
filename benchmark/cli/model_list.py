"""What a person can read about the models: size, cost, and what can be tapped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from rich.console import RenderableType

from benchmark.cli import tables
from benchmark.errors import InputError, first_line
from benchmark.models.create import create, has_fixed_size, names, tapped
from benchmark.study.schema import Network
from methods import Shapes

LARGEST = 50_000_000
"""Models of fewer parameters are made in memory where the meta device, which holds no numbers, does not serve."""


@dataclass(frozen=True)
class Entry:
    """One model, for images of one size.

    fixed: whether it is built for one image size, which it is then told. macs: of one image. notes: why `embedding` or
    `maps` cannot be tapped. reason: why the rest is unknown; empty where it is known.
    """

    name: str
    fixed: bool
    parameters: int | None = None
    macs: int | None = None
    shapes: Shapes | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def models(pattern: str, size: tuple[int, int, int], classes: int) -> Iterator[Entry]:
    """The models whose names match, for images of `size` (C, H, W), one after the other: many take minutes.

    pattern: with the wildcards of file names; without any, a name or a part of names. Raises InputError if none match.
    """
    found = names(pattern)
    if not found and not any(sign in pattern for sign in "*?["):
        found = names(f"*{pattern}*")
    if not found:
        near = difflib.get_close_matches(pattern.strip("*"), names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "'*' matches all"
        raise InputError(f"no model matches {pattern!r}; {hint}")
    return (_entry(name, size, classes) for name in found)


def table(entries: Iterable[Entry]) -> RenderableType:
    """A line per model: parameters and multiply-accumulates in millions, the taps' shapes without the batch axis."""
    headers = ["model", "params (M)", "MACs (M)", "image size", "embedding", "maps"]
    return tables.table("", headers, [_row(entry) for entry in entries])


def _entry(name: str, size: tuple[int, int, int], classes: int) -> Entry:
    network = Network(model=name)
    fixed = has_fixed_size(network)
    try:
        with torch.device("meta"):
            made = create(network, name, size, classes)
    except InputError as error:
        return Entry(name, fixed, reason=_reason(error, name))
    parameters = sum(parameter.numel() for parameter in made.parameters())
    reason = ""
    for device in ("meta", "cpu") if parameters < LARGEST else ("meta",):
        try:
            with torch.device(device):
                model = tapped(network, name, size, classes, [0.5] * size[0], [0.5] * size[0])
                notes = {
                    what: why for what, why in model.notes.items() if what in ("embedding", "maps")
                }
                # Whether a map is averaged into the embedding cannot be seen without numbers.
                return Entry(
                    name, fixed, parameters, model.macs(), replace(model.shapes, pooled=()), notes
                )
        except Exception as error:  # whatever 1,300 models make of a device without numbers
            reason = _reason(error, name)
    return Entry(name, fixed, parameters, reason=reason)


def _reason(error: Exception, name: str) -> str:
    return first_line(error).removeprefix(f"{name}: ")


def _row(entry: Entry) -> list[str]:
    sizes = "fixed" if entry.fixed else "any"
    start = [entry.name, _millions(entry.parameters), _millions(entry.macs), sizes]
    if entry.shapes is None:
        return [*start, entry.reason, ""]
    embedding, maps = entry.shapes.embedding, entry.shapes.maps
    return [
        *start,
        str(embedding[0]) if embedding else entry.notes["embedding"],
        " ".join("x".join(map(str, shape)) for shape in maps) if maps else entry.notes["maps"],
    ]


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.2f}"
