"""The content of tensor files, laid out in one piece of memory, so that a value is copied once.

The format is that of safetensors, and so is the order: types from the widest to the narrowest, and
tensors of one type by name. Every value is then aligned, and equal tensors make equal files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

CPU = torch.device("cpu")

TYPES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The types of tensors by their names in a file, in the order of the file."""

_ORDER = {dtype: number for number, dtype in enumerate(TYPES)}

_LENGTH = 8
"""Size of the first field of a file, which is the length of the header, in bytes."""


@dataclass(frozen=True)
class _Place:
    """Where the values of a tensor are.

    Attributes:
        name: Name of the tensor.
        tensor: The tensor.
        start: Position of its first byte after the header.
        end: Position after its last byte.
    """

    name: str
    tensor: Tensor
    start: int
    end: int


def pack(tensors: Mapping[str, Tensor]) -> memoryview:
    """Return the content of a safetensors file with copies of tensors.

    The tensors on a GPU are first gathered there, so that the host waits for a single copy.

    Args:
        tensors: Tensors by name, in any order in memory.

    Raises:
        TypeError: The format does not know the type of a tensor.
    """
    places = list(_places(tensors))
    header = _header(places)
    size = places[-1].end if places else 0
    on_device = [place for place in places if place.tensor.device != CPU]

    content = torch.empty(len(header) + size, dtype=torch.uint8, pin_memory=bool(on_device))
    values = content[len(header) :]
    if on_device:
        gathered = torch.empty(size, dtype=torch.uint8, device=on_device[0].tensor.device)
        _fill(gathered, on_device)
        values.copy_(gathered)
    _fill(values, [place for place in places if place.tensor.device == CPU])

    written = content.numpy().data
    written[: len(header)] = header
    return written


def _places(tensors: Mapping[str, Tensor]) -> Iterator[_Place]:
    """Yield the place of each tensor, in the order of the file."""
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise TypeError(f"{name}: tensors of type {tensor.dtype} cannot be saved")

    start = 0
    for name in sorted(tensors, key=lambda name: (_ORDER[tensors[name].dtype], name)):
        tensor = tensors[name].detach()
        end = start + tensor.numel() * tensor.element_size()
        yield _Place(name, tensor, start, end)
        start = end


def _header(places: list[_Place]) -> bytes:
    """Return what a file contains before the values."""
    entries = {
        place.name: {
            "dtype": TYPES[place.tensor.dtype],
            "shape": list(place.tensor.shape),
            "data_offsets": [place.start, place.end],
        }
        for place in places
    }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()

    # Spaces at the end align the values.
    padded = text.ljust(math.ceil(len(text) / _LENGTH) * _LENGTH)
    return len(padded).to_bytes(_LENGTH, "little") + padded


def _fill(values: Tensor, places: list[_Place]) -> None:
    """Copy tensors to their places.

    Args:
        values: The bytes after the header, on the device of the tensors.
        places: The tensors.
    """
    for place in places:
        tensor = place.tensor
        if tensor.numel():
            own = values[place.start : place.end]
            own.view(tensor.dtype).view(tensor.shape).copy_(tensor)
