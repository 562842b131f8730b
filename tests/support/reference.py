"""Compares losses and gradients with those of reference implementations, in float64.

`tests/methods/oracle/<method>.json` defines each input (by a seed, or by its values) and contains
the results: the loss, and for the gradient with respect to each input its l2 norm, sum, sum of
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


def element(seed: int, position: int, scale: float) -> float:
    """Return a nearly normal multiple of 1/1024, from the 16-bit words of a SplitMix64 draw."""
    bits = (seed * 0xD1342543DE82EF95 + position * 0x9E3779B97F4A7C15) & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = ((bits ^ (bits >> shift)) * factor) & MASK
    bits ^= bits >> 31
    words = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) - 131070
    return ((words * round(scale * 1024)) >> 16) / 1024


def tensor(entry: dict[str, Any]) -> Tensor:
    """Return an input as float64, or as int64 if its values are marked as whole."""
    if "values" in entry:
        kind = torch.int64 if entry.get("whole") else torch.float64
        return torch.tensor(entry["values"], dtype=kind).reshape(entry["shape"])
    positions = range(1, math.prod(entry["shape"]) + 1)
    flat = torch.tensor(
        [element(entry["seed"], position, entry["scale"]) for position in positions],
        dtype=torch.float64,
    )
    shaped = (flat + entry.get("shift", 0.0)).reshape(entry["shape"])
    return {"relu": shaped.relu(), "abs": shaped.abs()}.get(entry.get("post", ""), shaped)


def near(expected: Any, size: float = 0.0) -> Any:
    """Match to a relative 1e-9, or to an absolute 1e-12 of the `size` of the summands."""
    return pytest.approx(expected, rel=1e-9, abs=1e-12 * size)


@dataclass
class Case:
    """One call of a reference implementation.

    `inputs` have the names of the reference's arguments; those with a gradient are leaves.
    """

    name: str
    params: dict[str, Any]
    expected: dict[str, Any]
    entries: dict[str, dict[str, Any]]
    extra: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, argument: str) -> Tensor:
        """Return an input, which is created on first use."""
        if argument not in self.inputs:
            value = tensor(self.entries[argument])
            self.inputs[argument] = value.requires_grad_(argument in self.expected["grad"])
        return self.inputs[argument]

    def holds(self, loss: Tensor) -> None:
        """Assert that a loss and its gradients with respect to the inputs match the reference."""
        assert loss.dtype == torch.float64
        assert loss.item() == near(self.expected["loss"])
        expected = {name: grad for name, grad in self.expected["grad"].items() if grad is not None}
        gradients = torch.autograd.grad(loss, [self[name] for name in expected])
        for gradient, (name, figures) in zip(gradients, expected.items(), strict=True):
            size = figures["abs_sum"]
            assert gradient.norm().item() == near(figures["l2"]), name
            assert gradient.abs().sum().item() == near(size), name
            assert gradient.flatten()[:8].tolist() == near(figures["first8"], figures["l2"]), name
            assert gradient.sum().item() == near(figures["sum"], size), name


def cases(method: str, *names: str) -> list[Any]:
    """Return a method's cases, or only those with the given names, as test parameters."""
    content = json.loads((FOLDER / f"{method}.json").read_text())
    method_cases = []
    for case in content["cases"]:
        entries = {argument: content["inputs"][name] for argument, name in case["inputs"].items()}
        extra = {key: case[key] for key in ("sign_flip_values", "per_sample_values") if key in case}
        method_cases.append(Case(case["id"], case["params"], case["expected"], entries, extra))
    assert not set(names) - {case.name for case in method_cases}
    return [
        pytest.param(case, id=case.name) for case in method_cases if not names or case.name in names
    ]
