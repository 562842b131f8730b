"""Reads weights that were trained elsewhere, and loads them into a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models import weight_files
from benchmark.models.state_dicts import (
    STEP_COUNTER,
    WRAPPERS,
    Entry,
    entries,
    fitted,
    part_of_larger,
)
from benchmark.records.checkpoints import Tensors

LISTED = 3
"""Maximum number of names of each kind that a message lists."""


def read(
    path: Path,
    entry: str | None = None,
    expected: Iterable[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Tensors:
    """Read the state dict in a safetensors or PyTorch file, without executing code from the file.

    Args:
        path: The file.
        entry: The keys that lead to the weights, joined by dots; by default, the most likely, plain
            weights before averaged ones.
        expected: Names of the weights of the network that they are for. Prefixes that wrappers
            added to them are removed.
        say: Receives a message if the file contains several weights.

    Raises:
        InputError: The file is missing or damaged, contains no state dict or not the named one, or
            contains several of which none is more likely than the others.
    """
    found = entries(weight_files.load(path))
    if not found:
        keys = ", ".join(map(repr, WRAPPERS))
        raise InputError(
            f"{path}: contains no state dict, at the top level or under {keys}; "
            "save only the network's state_dict()"
        )

    chosen = _chosen(path, found, entry)
    others = [other.title for other in found if other is not chosen]
    if others and entry is None:
        say(
            f"{path}: takes the weights at {chosen.title}; it also contains "
            f"{_listed(others)}; choose with --entry"
        )
    elif chosen.averaged and entry is None:
        say(f"{path}: takes the weights at {chosen.title}")

    names = list(expected)
    part = part_of_larger(chosen.tensors, names)
    if part is None:
        return fitted(chosen.tensors, names)

    root, tensors = part
    if len(tensors) < len(chosen.tensors):
        left_out = len(chosen.tensors) - len(tensors)
        say(f"{path}: takes the weights under {root!r}; leaves out {left_out} others")
    return tensors


def _chosen(path: Path, found: list[Entry], name: str | None) -> Entry:
    """Return the weights that the user chose, or the most likely.

    Raises:
        InputError: There are none of this name, or several that are equally likely.
    """
    if name is not None:
        for entry in found:
            if entry.name == name:
                return entry
        names = ", ".join(other.name or "''" for other in found)
        raise InputError(f"--entry: {path} has no weights at {name!r}; choose from {names}")

    plain = [entry for entry in found if not entry.averaged]
    if len(plain) > 1 and not plain[0].is_usual:
        titles = _listed([other.title for other in found])
        raise InputError(f"{path}: contains several state dicts: {titles}; choose with --entry")
    return found[0]


def load_into(network: nn.Module, tensors: Tensors, name: str, where: str) -> None:
    """Load tensors into a network.

    Files written before BatchNorm had a step counter may lack that counter.

    Args:
        network: The network.
        tensors: The state dict to load.
        name: Name of the model, for the message.
        where: Origin of the tensors, for the message.

    Raises:
        InputError: The names, shapes or types do not match the network, or values are not finite.
    """
    own = network.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith(STEP_COUNTER)}
    tensors = counters | tensors

    shared = own.keys() & tensors.keys()
    differences = {
        "missing": [key for key in own if key not in shared],
        "not in the model": [key for key in tensors if key not in shared],
        "of another shape": [
            f"{key} is {list(tensors[key].shape)} instead of {list(own[key].shape)}"
            for key in own
            if key in shared and tensors[key].shape != own[key].shape
        ],
        "of another type": [
            f"{key} is {_type(tensors[key])} instead of {_type(own[key])}"
            for key in own
            if key in shared and not _is_convertible(tensors[key], own[key])
        ],
    }
    reasons = [f"{kind}: {_listed(keys)}" for kind, keys in differences.items() if keys]
    if reasons:
        raise InputError(f"{where}: these are not weights of {name}: {'; '.join(reasons)}")

    plain = {key: _plain(tensors[key], own[key]) for key in own}
    bad = [key for key in own if not _is_finite(plain[key], own[key])]
    if bad:
        raise InputError(
            f"{where}: {len(bad)} of {len(own)} tensors contain NaN or infinite values: "
            f"{_listed(bad)}; the training that made them diverged; use other weights"
        )
    network.load_state_dict(plain)


def _is_convertible(tensor: Tensor, own: Tensor) -> bool:
    """Return whether a tensor has values that the network's own tensor can take."""
    if tensor.is_quantized or tensor.is_complex() or tensor.device.type == "meta":
        return False
    return tensor.is_floating_point() or not own.is_floating_point()


def _type(tensor: Tensor) -> str:
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{kind} without values" if tensor.device.type == "meta" else kind


def _plain(tensor: Tensor, own: Tensor) -> Tensor:
    """Return a tensor in the layout and the type of the network's own, which has the same shape."""
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return dense.to(own.dtype)


def _is_finite(tensor: Tensor, own: Tensor) -> bool:
    """Return whether all values are finite, except where the new network has others as well."""
    if not tensor.is_floating_point():
        return True
    return bool((tensor.isfinite() | ~own.to(tensor.device).isfinite()).all())


def _listed(names: list[str]) -> str:
    """List some names and count the others."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
