"""A tap of the teacher on disk: its values for all training images, in half precision.

A stored tap is an entry of a cache (`benchmark.data.cache`): a folder that is complete or absent,
with the values as rows of float16 and a card with their SHA-256.
"""

from __future__ import annotations

import hashlib
import math
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

FORMAT = 1
"""Version of the files. Those of other versions are not used."""

VALUES = "values"

LIMIT = torch.finfo(torch.float16).max
"""The largest value in half precision."""

_DIGEST = "sha256"


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


def read_tap(folder: Path, samples: int, shape: tuple[int, ...]) -> Tensor:
    """Memory-map a tap, and check all its values.

    Args:
        folder: The tap's folder.
        samples: Number of training images.
        shape: Shape of the tap, without the batch axis.

    Returns:
        The values, float16 [samples, ...]; maps are channels_last in memory.

    Raises:
        DamagedError: A file is missing, or differs from what was written.
    """
    expected = cache.read_checked(folder).get(_DIGEST, "")
    stored_shape = (*shape[1:], shape[0]) if _is_map(shape) else shape
    values = cache.memory_map(folder / VALUES, (samples, *stored_shape), np.float16)

    actual = hashlib.sha256(values.data).hexdigest()
    if actual != expected:
        raise DamagedError(f"SHA-256 is {actual[:12]}... instead of {expected[:12]}...")
    tensor = torch.from_numpy(values)
    return tensor.permute(0, 3, 1, 2) if _is_map(shape) else tensor


class TapWriter:
    """Writes a tap into an empty folder, batch by batch. A clean exit writes the card.

    Attributes:
        name: The tap's name.
    """

    def __init__(self, folder: Path, name: str):
        self.name = name
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
        """
        rounded = values.to(torch.float16)
        if bool((rounded.isinf() & values.isfinite()).any()):
            largest = float(values.abs().max())
            raise InputError(
                f"recipe.teacher_cache: the teacher's {self.name} reach {largest:.3g}, and half "
                f"precision ends at {LIMIT:.0f}; remove teacher_cache"
            )

        if _is_map(values.shape[1:]):
            rounded = rounded.permute(0, 2, 3, 1)
        content = rounded.contiguous().cpu().numpy()
        self._file.write(content.data)
        self._digest.update(content.data)
        failpoint("outputs.write")


def _is_map(shape: tuple[int, ...]) -> bool:
    """Return whether a tap has the shape (C, H, W)."""
    return len(shape) == 3
