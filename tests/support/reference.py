"""Losses and gradients of reference implementations in float64, and the inputs they were given.

`tests/methods/oracle/<method>.json` says how each input is made (from a seed, or by its values) and
what came out: the loss, and for the gradient with respect to each input its l2 norm, sum, sum of
absolute values and first 8 elements.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "methods" / "oracle"
MASK = (1 << 64) - 1


def element(seed: int, place: int, scale: float) -> float:
    """A nearly normal multiple of 1/1024: the sum of the 16-bit words of a SplitMix64 draw."""
    bits = (seed * 0xD1342543DE82EF95 + place * 0x9E3779B97F4A7C15) & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = ((bits ^ (bits >> shift)) * factor) & MASK
    bits ^= bits >> 31
    words = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) - 131070
    return ((words * round(scale * 1024)) >> 16) / 1024


def tensor(entry: dict[str, Any]) -> Tensor:
    """An input: float64, or int64 where its values are whole."""
    if "values" in entry:
        kind = torch.int64 if entry.get("whole") else torch.float64
        return torch.tensor(entry["values"], dtype=kind).reshape(entry["shape"])
    places = range(1, math.prod(entry["shape"]) + 1)
    flat = torch.tensor(
        [element(entry["seed"], place, entry["scale"]) for place in places], dtype=torch.float64
    )
    made = (flat + entry.get("shift", 0.0)).reshape(entry["shape"])
    return {"relu": made.relu(), "abs": made.abs()}.get(entry.get("post", ""), made)


def near(expected: Any, size: float = 0.0) -> Any:
    """Equal to 1e-9; differences far below `size`, that of the summands, are rounding."""
    return pytest.approx(expected, rel=1e-9, abs=1e-12 * size)


@dataclass
class Case:
    """One call of a reference.

    `inputs` are named as the reference names its arguments; those with a gradient are leaves.
    """

    name: str
    params: dict[str, Any]
    expected: dict[str, Any]
    entries: dict[str, dict[str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, argument: str) -> Tensor:
        """An input, made when it is first asked for."""
        if argument not in self.inputs:
            made = tensor(self.entries[argument])
            self.inputs[argument] = made.requires_grad_(argument in self.expected["grad"])
        return self.inputs[argument]

    def holds(self, loss: Tensor) -> None:
        """Asserts that a loss, and its gradient with respect to the inputs, are the reference's."""
        assert loss.dtype == torch.float64
        assert loss.item() == near(self.expected["loss"])
        wanted = {name: grad for name, grad in self.expected["grad"].items() if grad is not None}
        found = torch.autograd.grad(loss, [self[name] for name in wanted])
        for gradient, (name, figures) in zip(found, wanted.items(), strict=True):
            size = figures["abs_sum"]
            assert gradient.norm().item() == near(figures["l2"]), name
            assert gradient.abs().sum().item() == near(size), name
            assert gradient.flatten()[:8].tolist() == near(figures["first8"], figures["l2"]), name
            assert gradient.sum().item() == near(figures["sum"], size), name


def cases(method: str, *names: str) -> list[Any]:
    """A method's cases, or those of these names, as parameters of a test."""
    content = json.loads((FOLDER / f"{method}.json").read_text())
    found = []
    for case in content["cases"]:
        entries = {argument: content["inputs"][name] for argument, name in case["inputs"].items()}
        extra = {key: case[key] for key in ("sign_flip_values", "per_sample_values") if key in case}
        found.append(Case(case["id"], case["params"], case["expected"], entries, extra))
    assert not set(names) - {case.name for case in found}
    return [pytest.param(case, id=case.name) for case in found if not names or case.name in names]
