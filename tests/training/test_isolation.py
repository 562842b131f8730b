"""A signal ends the program, whatever code it interrupts; a method's exit ends its cell."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.cli import signals
from benchmark.records.checkpoints import CellFolder
from benchmark.training.isolation import concerns_all
from tests.support.studies import bits, folders, run, tiny


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Restore the handlers of signals."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def foreign(number: int, _: object) -> None:
    """Exit as a program that uses kdbench as a library might do on a signal."""
    sys.exit(number)


@pytest.mark.trains
@pytest.mark.parametrize("handler", [signals._stop, foreign])
def test_a_signal_in_a_step_ends_the_run_and_no_cell_fails(
    handler: Any, kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("kd").forward

    def interrupted(self: methods.Method, student: Any, teacher: Any, batch: Any) -> Any:
        if batch.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, student, teacher, batch)

    signal.signal(signal.SIGTERM, handler)
    with monkeypatch.context() as patch:
        patch.setattr(methods.get("kd"), "forward", interrupted)
        with pytest.raises(SystemExit):
            run(workspace, tiny(["student", "kd"]))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    records = CellFolder(folders(workspace)["kd/0"]).journal().records
    assert [type(record).__name__ for record in records] == ["Start", "Epoch"]

    assert not run(workspace, tiny(["student", "kd"])).failed
    assert bits(folders(workspace)["kd/0"]) == bits(folders(kinds)["kd/0"])


@pytest.mark.parametrize(
    ("error", "all_members"),
    [
        (ValueError(), False),
        (SystemExit(3), False),
        (torch.OutOfMemoryError(), False),
        (KeyboardInterrupt(), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access", 700), True),
    ],
)
def test_what_a_method_raises_is_its_own_unless_the_device_is_lost(
    error: BaseException, all_members: bool
) -> None:
    assert concerns_all(error) is all_members
