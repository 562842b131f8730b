"""Weights that come from elsewhere: a file's tensors under a network's own names."""

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

INSIDE = ("state_dict", "model", "net")
"""Where checkpoints of other programs keep a network's weights."""

PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

LISTED = 3
"""So many names of each kind does a message repeat."""


def read(path: Path) -> Tensors:
    """The state dict in a safetensors file, or in a file of PyTorch, which is read without running what it may hold.

    Raises InputError if there is none.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return _bare(path, safetensors.torch.load_file(path))
        with warnings.catch_warnings(
            action="ignore"
        ):  # of what it finds odd in a file that is refused right after
            content = torch.load(path, map_location="cpu", weights_only=True)
        return _bare(path, content)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, or is damaged, and is not opened, because that can run code; "
            f"save the network's state_dict() alone ({first_line(error)})"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(
            f"{path}: not a file of weights that can be read ({first_line(error)})"
        ) from error


def _bare(path: Path, content: Any) -> Tensors:
    while isinstance(content, dict) and not _is_state(content):
        inner = next((key for key in INSIDE if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = content[inner]
    if not isinstance(content, dict) or not _is_state(content):
        raise InputError(
            f"{path}: holds no state dict, neither bare nor under {', '.join(map(repr, INSIDE))}"
        )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return dict(content)


def _is_state(content: dict[Any, Any]) -> bool:
    return bool(content) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    )


def fit(network: nn.Module, tensors: Tensors, name: str, where: str) -> None:
    """Puts tensors into a network. Raises InputError, naming what differs, if they are not its own.

    name: the model's. where: the file's, for the message. Files older than BatchNorm's step counter may lack that.
    """
    own = network.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    tensors = counters | tensors
    shapes = (
        f"{key} is {list(tensors[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    )
    differences = {
        "missing": [key for key in own if key not in tensors],
        "not in the model": [key for key in tensors if key not in own],
        "of another shape": list(shapes),
    }
    found = [f"{what}: {_some(names)}" for what, names in differences.items() if names]
    if found:
        raise InputError(f"{where}: these are no weights of {name}: {'; '.join(found)}")
    network.load_state_dict(tensors)


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
