"""A tap of the teacher on disk: its values for all training images, in half precision.

A stored tap is an entry of a cache (`benchmark.data.cache`): a folder that is complete or absent,
with the values as rows of float16 and a card with their SHA-256.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from benchmark.data import cache
from benchmark.data.cache import DamagedError
from benchmark.errors import InputError
from benchmark.failpoint import failpoint
from benchmark.training.teacher_taps import in_words

FORMAT = 1
"""Version of the files. Those of other versions are not used."""

VALUES = "values"

LIMIT = torch.finfo(torch.float16).max
"""The largest value in half precision."""

_DIGEST = "sha256"

_CHUNK = 16 * 2**20
"""Bytes that are read at once to be checked."""


def view_folder(view: int) -> str:
    """Return the name of the folder of a view's taps."""
    return f"view-{view:03d}"


def stored_bytes(samples: int, shape: tuple[int, ...]) -> int:
    """Return the size of a tap on disk.

    Args:
        samples: Number of training images.
        shape: Shape of the tap, without the batch axis.
    """
    return samples * math.prod(shape) * torch.float16.itemsize


def read_tap(
    folder: Path, samples: int, shape: tuple[int, ...], beat: Callable[[], None] = lambda: None
) -> Tensor:
    """Memory-map a tap, and check all its values.

    Args:
        folder: The tap's folder.
        samples: Number of training images.
        shape: Shape of the tap, without the batch axis.
        beat: Called for each part of the file that has been checked.

    Returns:
        The values, float16 [samples, ...]; maps are channels_last in memory.

    Raises:
        DamagedError: A file is missing, or differs from what was written.
    """
    expected = cache.read_checked(folder).get(_DIGEST, "")
    stored_shape = (*shape[1:], shape[0]) if _is_map(shape) else shape
    values = cache.memory_map(folder / VALUES, (samples, *stored_shape), np.float16)

    actual = _digest(folder / VALUES, beat)
    if actual != expected:
        raise DamagedError(f"SHA-256 is {actual[:12]}... instead of {expected[:12]}...")
    tensor = torch.from_numpy(values)
    return tensor.permute(0, 3, 1, 2) if _is_map(shape) else tensor


def _digest(path: Path, beat: Callable[[], None]) -> str:
    """Return the SHA-256 of a file, which is read without being mapped."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            beat()
    return digest.hexdigest()


class TapWriter:
    """Writes a tap into an empty folder, batch by batch. A clean exit writes the card.

    Attributes:
        name: The tap's name.
    """

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...]):
        """Open the file.

        Args:
            folder: The folder.
            name: The tap's name.
            shape: Shape of the tap, without the batch axis.
        """
        self.name = name
        self._shape = shape
        self._folder = folder
        self._digest = hashlib.sha256()
        self._file = (folder / VALUES).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            cache.write_checked(self._folder, {_DIGEST: self._digest.hexdigest()})

    def write(self, values: Tensor) -> None:
        """Write the values of some images.

        Args:
            values: The values, float32 [n, ...].

        Raises:
            InputError: A value is finite, but not in half precision.
            ValueError: The values have another shape than announced.
        """
        if values.shape[1:] != self._shape:
            found, expected = tuple(values.shape[1:]), self._shape
            raise ValueError(f"the teacher's {in_words(self.name)}: {found} instead of {expected}")

        rounded = values.to(torch.float16)
        lost = rounded.isinf() & values.isfinite()
        if bool(lost.any()):
            largest = float(values[lost].abs().max())
            raise InputError(
                f"recipe.teacher_cache: the teacher's {in_words(self.name)} reach {largest:,.0f}, "
                f"but half precision ends at {LIMIT:,.0f}; remove teacher_cache"
            )

        if _is_map(self._shape):
            rounded = rounded.permute(0, 2, 3, 1)
        content = rounded.contiguous().cpu().numpy()
        self._file.write(content.data)
        self._digest.update(content.data)
        failpoint("outputs.write")


def _is_map(shape: tuple[int, ...]) -> bool:
    """Return whether a tap has the shape (C, H, W)."""
    return len(shape) == 3
