"""What a person can read about the models: size, cost, and what can be tapped, without their weights being made."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from rich.console import RenderableType

from benchmark import console, models
from benchmark.errors import InputError, first_line
from benchmark.study import Network
from methods import Shapes

LARGEST = 50_000_000
"""Models of fewer parameters are made in memory, where the meta device does not serve."""


@dataclass(frozen=True)
class Entry:
    """One model for images of one size.

    macs: of one image. fixed: whether it is built for one image size. notes: why `embedding` or `maps` cannot be tapped.
    reason: why nothing more is known; empty where all is.
    """

    name: str
    fixed: bool
    parameters: int | None = None
    macs: int | None = None
    shapes: Shapes | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def models_like(pattern: str) -> list[str]:
    """Names that match a pattern, or contain it where it has no wildcard and is no name. Raises InputError for none."""
    found = models.names(pattern)
    if not found and not any(sign in pattern for sign in "*?["):
        found = models.names(f"*{pattern}*")
    if not found:
        near = difflib.get_close_matches(pattern.strip("*"), models.names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "'*' lists all"
        raise InputError(f"no model matches {pattern!r}; {hint}")
    return found
