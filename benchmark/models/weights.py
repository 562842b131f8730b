"""Reads weights that were trained elsewhere, and loads them into a network."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from benchmark.errors import InputError, first_line
from benchmark.records.checkpoints import Tensors

WRAPPERS = ("state_dict", "model", "net")
"""Keys under which other programs' checkpoints store a network's weights."""

PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile add to every name."""

LISTED = 3
"""Maximum number of names of each kind that a message lists."""


def read(path: Path) -> Tensors:
    """Read the state dict in a safetensors or PyTorch file, without executing code from the file.

    Raises:
        InputError: The file is missing or damaged, or contains no state dict.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")

    try:
        return _unwrapped(path, _load(path))
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: contains more than tensors, or is damaged; it is not opened, because that "
            f"could run code; save only the network's state_dict() ({first_line(error)})"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{path}: cannot be read as weights ({first_line(error)}); check or replace the file"
        ) from error


def _load(path: Path) -> Any:
    """Load the content of a file without checking its structure."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)

    # A damaged file raises an error, so PyTorch's warnings about it are redundant.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(path: Path, content: Any) -> Tensors:
    """Return the state dict inside a checkpoint, without the wrappers' prefixes in its names."""
    while isinstance(content, dict) and not _is_state_dict(content):
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
        if not inner:
            break
        content = inner[0]

    if not isinstance(content, dict) or not _is_state_dict(content):
        keys = ", ".join(map(repr, WRAPPERS))
        raise InputError(
            f"{path}: contains no state dict, at the top level or under {keys}; "
            "save only the network's state_dict()"
        )

    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}

    return dict(content)


def _is_state_dict(content: dict[Any, Any]) -> bool:
    """Return whether a dictionary maps names to tensors, and is not empty."""
    return bool(content) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )


def load_into(network: nn.Module, tensors: Tensors, name: str, where: str) -> None:
    """Load tensors into a network.

    Files written before BatchNorm had a step counter may lack that counter.

    Args:
        network: The network.
        tensors: The state dict to load.
        name: Name of the model, for the message.
        where: Origin of the tensors, for the message.

    Raises:
        InputError: The names or shapes do not match the network.
    """
    own = network.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
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
    }
    reasons = [f"{kind}: {_listed(keys)}" for kind, keys in differences.items() if keys]
    if reasons:
        raise InputError(f"{where}: these are not weights of {name}: {'; '.join(reasons)}")

    network.load_state_dict(tensors)


def _listed(names: list[str]) -> str:
    """List some names and count the others."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
