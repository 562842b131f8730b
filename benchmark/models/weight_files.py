"""Opens files of weights by their content, whatever their names, without running code from them."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchmark.errors import InputError, first_line

GROWTH = 4
"""How many times larger than a file its unpacked content may be. PyTorch does not compress."""

_SLACK = 1 << 20
"""Number of bytes that the content of a file may grow by in any case."""

_HEAD = 512
"""Number of bytes by which a file's format is recognised."""

_FORMATS = (
    (b"\x1f\x8b", "is compressed with gzip; unpack it"),
    (b"BZh", "is compressed with bzip2; unpack it"),
    (b"\xfd7zXZ", "is compressed with xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard; unpack it"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it"),
    (b"Rar!", "is a RAR archive; unpack it"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes; convert it to a PyTorch state_dict()"),
    (b"\x93NUMPY", "is a NumPy array; convert it to a PyTorch state_dict()"),
    (b"GGUF", "is a GGUF file; convert it to a PyTorch state_dict()"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself; run `git lfs pull`",
    ),
    (b"%PDF", "is a PDF document; download the weights again"),
)
"""How files of other formats begin, and what to say of them."""

_HTML = re.compile(
    rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)", re.IGNORECASE | re.DOTALL
)

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Codes by which PyTorch's messages choose bold letters."""

_GLOBAL = re.compile(r"GLOBAL ([A-Za-z_][\w.]*)|[Uu]nsupported class ([A-Za-z_][\w.]*)")
"""Where PyTorch's messages name an object that it does not load."""

_STATE_DICT = "save only the network's state_dict()"


def load(path: Path) -> Any:
    """Load the content of a file.

    Raises:
        InputError: The file is missing, is damaged, has another format, or contains objects that
            could run code. The message names what was found.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")

    try:
        return _loader(path)(path)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: {_forbidden(error)}") from None
    except Exception as error:  # damaged files raise errors of every kind
        raise InputError(
            f"{path}: cannot be read as weights ({_reason(error)}); check or replace the file"
        ) from None


def _loader(path: Path) -> Any:
    """Return the function that loads a file, chosen by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_HEAD)

    if head.startswith(b"PK\x03\x04"):
        return _load_archive
    if _is_safetensors(head, path.stat().st_size):
        return safetensors.torch.load_file
    if head.startswith(b"\x80"):
        return _load_torch
    raise InputError(f"{path}: {_described(head)}")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file begins with the length of a JSON header, and the header."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and length <= size - 8


def _described(head: bytes) -> str:
    """Say what a file is that contains no weights."""
    if not head:
        return "is empty; download or save it again"
    if _HTML.match(head):
        return "is an HTML page, as servers send instead of a file; download the weights again"

    for start, description in _FORMATS:
        if head.startswith(start):
            return description
    if head.lstrip()[:1] in (b"{", b"["):
        return "is a JSON file; name the file of the weights"
    if _is_text(head):
        return "is a text file; name the file of the weights"
    return (
        "is neither a PyTorch nor a safetensors file, or it is damaged; check or replace the file"
    )


def _is_text(head: bytes) -> bool:
    try:
        text = head[: _HEAD - 4].decode()
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char.isspace() for char in text)


def _load_archive(path: Path) -> Any:
    """Load PyTorch's present format, a ZIP archive, after looking at its table of contents.

    Raises:
        InputError: The archive is something else, or unpacks to much more than its size.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()

    size, unpacked = path.stat().st_size, sum(entry.file_size for entry in entries)
    if unpacked > GROWTH * size + _SLACK:
        raise InputError(
            f"{path}: its {_size(size)} unpack to {_size(unpacked)}, which a file of "
            "weights never does; replace the file"
        )

    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise InputError(f"{path}: is a TorchScript program, not weights; {_STATE_DICT}")
    if "data.pkl" not in names:
        raise InputError(
            f"{path}: is a ZIP archive, but not of PyTorch; name the file of the weights"
        )
    return _load_torch(path)


def _load_torch(path: Path) -> Any:
    """Load a file of PyTorch, which is opened here because PyTorch heeds the suffix of a path."""
    # A damaged file raises an error, so PyTorch's warnings about it are redundant.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        return torch.load(file, map_location="cpu", weights_only=True)


def _forbidden(error: pickle.UnpicklingError) -> str:
    """Name the object that PyTorch refused to load, and say what to do."""
    match = _GLOBAL.search(_CONTROL.sub("", str(error)))
    if match is None:
        return (
            "contains more than tensors, or is damaged; it is not opened, because that could run "
            f"code; {_STATE_DICT}"
        )

    name = match.group(1) or match.group(2)
    return (
        f"contains more than tensors: {name.rstrip('.')}; it is not opened, because that could run "
        f"code; {_STATE_DICT}"
    )


def _reason(error: Exception) -> str:
    """Return the first line of an error, without control codes or advice to load unsafely."""
    plain = _CONTROL.sub("", str(error)) or type(error).__name__
    text = first_line(ValueError(plain))  # which would escape the codes
    if "weights_only" in text or "Weights only" in text or isinstance(error, KeyError):
        return "damaged"
    return text


def _size(number: int) -> str:
    """Return a number of bytes in a unit that suits it."""
    amount = float(number)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.3g} {unit}"
        amount /= 1024
    return f"{amount:.3g} GiB"
