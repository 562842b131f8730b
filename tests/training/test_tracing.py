"""A trace names the parts of a step and their most expensive operators, and changes no bit."""

from __future__ import annotations

import gzip
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.training import tracing
from benchmark.training.tracing import FileTracer, Tracer, sum_up
from tests.support.commandline import Ended, kdbench
from tests.support.studies import bits, folders, tiny, write_study

ROWS = ("student", "kd", "ab")


def event(name: str, start: float, end: float, own: float = 0.0, on: str = "CPU") -> Any:
    """Return an event of the profiler."""
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start, end=end),
        device_type=SimpleNamespace(name=on),
        self_cpu_time_total=own,
        self_device_time_total=10 * own,
    )


EVENTS = [
    event("teacher", 0, 10),
    event("aten::conv", 1, 9, 5),
    event("outside", 11, 12, 100),
    event("kd", 20, 30),
    event("aten::conv", 21, 24, 2),
    event("aten::add", 22, 23, 1),
    event("kernel", 22, 23, 50, "CUDA"),
    event("cudaLaunchKernel", 23, 24),
    event("autograd::engine", 25, 26),
    event("kd", 40, 50),
    event("aten::conv", 41, 44, 4),
    event("aten::late", 45, 60, 6),
]


def test_operators_are_summed_up_by_the_part_in_which_they_begin() -> None:
    first, second = sum_up(EVENTS, ["teacher", "kd", "absent"], on_gpu=False)
    assert (first.name, first.steps) == ("kd", 2)
    assert +first.microseconds == {"aten::conv": 6, "aten::add": 1, "aten::late": 6}
    assert (first.operators, first.launches) == (2, 0.5)
    assert first.calls["aten::conv"] == 2
    assert (second.name, second.steps, second.microseconds) == ("teacher", 1, {"aten::conv": 5})

    on_gpu, _ = sum_up(EVENTS, ["teacher", "kd"], on_gpu=True)
    assert on_gpu.microseconds["aten::conv"] == 60


def test_a_paragraph_lists_the_costliest_operators_per_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "LISTED", 2)
    first, _ = sum_up(EVENTS, ["teacher", "kd"], on_gpu=False)
    assert tracing._paragraph(first) == (
        "kd: 0.0065 ms, 2 operators and 0.5 launches on the GPU per step\n"
        "     0.003 ms   46 %  aten::conv, 1 x\n"
        "     0.003 ms   46 %  aten::late, 0.5 x\n"
    )


def test_without_a_tracer_nothing_is_traced() -> None:
    tracer = Tracer()
    assert isinstance(tracer.part("kd"), nullcontext)
    assert isinstance(tracer.epoch(0), nullcontext)
    tracer.end_step()


def test_only_the_first_epoch_of_the_main_training_is_traced(tmp_path: Path) -> None:
    tracer = FileTracer(tmp_path / "profiles", "cohort-1", torch.device("cpu"), pytest.fail)
    for epoch in (-1, 0, 1):
        with tracer.epoch(epoch):
            for _ in range(4):
                with tracer.part(f"epoch {epoch}"):
                    torch.ones(2).add(1)
                tracer.end_step()

    text = (tmp_path / "profiles" / "cohort-1.txt").read_text()
    assert text.startswith("epoch 0: ")
    assert "aten::add, 1 x" in text
    assert "epoch 1" not in text
    assert "epoch -1" not in text


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The workspace and the output of a run with traces."""
    folder = tmp_path_factory.mktemp("traced")
    return folder / "runs", run_file(folder, "--profile")


def run_file(folder: Path, *options: str) -> Ended:
    file = write_study(folder / "tiny.yaml", tiny(ROWS))
    command = ("--workspace", folder / "runs", "run", file, "--no-track", "--device", "cpu")
    return kdbench(*command, *options)


@pytest.mark.trains
def test_a_traced_run_writes_a_trace_and_prints_the_most_expensive_operators_of_each_cell(
    traced: tuple[Path, Ended],
) -> None:
    workspace, ended = traced
    assert ended.code == 0
    trace = workspace / "tiny" / "profiles" / "cohort-1.json.gz"
    assert f"{trace}: open it in" in ended.err

    content = json.loads(gzip.decompress(trace.read_bytes()))
    names = {entry.get("name") for entry in content["traceEvents"]}
    for part in ("teacher", *(f"pair / {name} / seed 0" for name in ROWS)):
        assert part in names
        assert f"{part}: " in ended.out
    assert "aten::" in ended.out


@pytest.mark.trains
def test_a_trace_changes_no_bit(traced: tuple[Path, Ended], tmp_path: Path) -> None:
    workspace, _ = traced
    assert run_file(tmp_path).code == 0
    assert not (tmp_path / "runs" / "tiny" / "profiles").exists()
    for name, folder in folders(tmp_path / "runs").items():
        assert bits(folder) == bits(folders(workspace)[name]), name


@pytest.mark.trains
def test_a_finished_study_has_nothing_to_trace(traced: tuple[Path, Ended]) -> None:
    workspace, _ = traced
    again = run_file(workspace.parent, "--profile")
    assert "no step was traced" in again.err
    assert list((workspace / "tiny" / "profiles").iterdir()), "earlier traces are kept"


def test_a_trace_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "profiles"
    file.write_text("not a folder")
    warnings: list[str] = []
    tracer = FileTracer(file, "cohort-1", torch.device("cpu"), warnings.append)
    with tracer.epoch(0):
        for _ in range(1 + tracing.STEPS):
            with tracer.part("kd"):
                torch.ones(3).sum()
            tracer.end_step()
    assert len(warnings) == 1
    assert warnings[0].startswith("no trace: ")
    assert str(file) in warnings[0]
