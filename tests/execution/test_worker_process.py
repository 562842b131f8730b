"""A worker that cannot write to its study refuses a cohort, as it does any other wrong input."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.execution import channel, worker_handle, worker_process
from benchmark.execution.executors import CohortSpec
from benchmark.execution.executors.base import CellSpec
from benchmark.execution.worker_handle import WorkerHandle
from benchmark.records import heartbeat

FULL = errno.ENOSPC


@pytest.fixture
def spec(tmp_path: Path) -> CohortSpec:
    """A cohort in a study; all that is needed to find its folder."""
    cell = CellSpec(label="cell", folder="tiny/cells/ab", configuration={})
    known: dict[str, Any] = {"workspace": str(tmp_path), "cells": (cell,), "step_minutes": 1.0}
    return CohortSpec.model_construct(**known)


def refusing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that opens files, except one on a full disk."""

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if Path(path).name == name:
            raise OSError(FULL, os.strerror(FULL), str(path))
        return function(path, *arguments, **options)

    return opened


@pytest.mark.parametrize("name", ["0.beat", "0.crash"])
def test_a_cohort_is_refused_if_the_disk_has_no_room_for_a_file_of_the_worker(
    name: str, spec: CohortSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat.os, "open", refusing(os.open, name))  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "open", refusing(Path.open, name))
    ours, theirs = Pipe()
    worker: Any = None
    worker_process._work(spec, worker, theirs, 0)

    message = channel.receive(ours)
    assert message["event"] == "refused"
    start = f"{tmp_path / 'tiny/workers' / name}: cannot be written (No space left on device; "
    assert message["reason"].startswith(start)


def test_a_file_that_an_earlier_worker_left_and_that_cannot_be_removed_is_one_line(
    spec: CohortSpec, tmp_path: Path
) -> None:
    (tmp_path / "tiny/workers/0.crash/folder").mkdir(parents=True)
    handle = WorkerHandle(0)
    try:
        with pytest.raises(InputError) as error:
            handle.begin(spec)
    finally:
        handle.stop()
    start = f"{tmp_path}/tiny/workers/0.crash: cannot be written (Is a directory)"
    assert str(error.value).startswith(start)
    assert len(error.value.args) == 1


def test_each_line_of_a_refusal_stays_a_line() -> None:
    with pytest.raises(InputError) as error:
        worker_handle._raise_error({"event": "refused", "reason": "a.jpg: damaged\nb.jpg: damaged"})
    assert error.value.args == ("a.jpg: damaged", "b.jpg: damaged")
    assert str(error.value) == "a.jpg: damaged\nb.jpg: damaged"
