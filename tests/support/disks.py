"""Disks that take their time, or are there only until the process is killed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from benchmark.records.chain import Extent
from benchmark.records.checkpoints import CellFolder, Snapshot


def slow_disk(patch: pytest.MonkeyPatch, seconds: Sequence[float] = (0.3,)) -> None:
    """Let the training go on before a checkpoint is written.

    Args:
        patch: Ends it.
        seconds: How long each checkpoint takes, over and over.
    """
    save, delays = CellFolder.save, itertools.cycle(seconds)

    def slow(folder: CellFolder, snapshot: Snapshot, journal: Extent) -> None:
        time.sleep(next(delays))
        save(folder, snapshot, journal)

    patch.setattr(CellFolder, "save", slow)


@contextmanager
def killed_after(epochs: int) -> Iterator[None]:
    """End the training in a block with members on either side of an epoch's end.

    Args:
        epochs: Number of epochs of students that are written before; none is written later.
    """
    save, left = CellFolder.save, [epochs]

    def killed(folder: CellFolder, snapshot: Snapshot, journal: Extent) -> None:
        if "cells" in folder.path.parts:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
        save(folder, snapshot, journal)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellFolder, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            yield
