"""The number of workers and threads that suit a machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmark.errors import InputError
from benchmark.execution import executors, machine
from benchmark.execution.executors.processes import ProcessesExecutor

GIB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "threads", "free", "workers"),
    [
        (8, 1, 64 * GIB, 8),
        (8, 2, 64 * GIB, 4),
        (8, 3, 64 * GIB, 2),
        (8, 1, 7 * GIB, 3),
        (8, 1, 1 * GIB, 1),
        (2, 4, 64 * GIB, 1),
        (4, 1, None, 4),
    ],
)
def test_a_cpu_has_as_many_workers_as_cores_and_memory_suffice_for(
    cores: int, threads: int, free: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "_free_memory", lambda: free)
    torch.set_num_threads(threads)
    assert machine.worker_count("cpu") == workers
    assert ProcessesExecutor().workers("cpu") == workers
    assert ProcessesExecutor(5).workers("cpu") == 5


def test_each_gpu_has_a_worker_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert machine.devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert machine.worker_count("cuda") == 3
    assert machine.devices("cuda:1") == ["cuda:1"]
    assert machine.worker_count("cuda:1") == 1
    assert machine.devices("cpu") == ["cpu"]


def test_workers_of_a_cpu_have_one_thread_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    machine.use_threads(None, CPU, shared=False)
    machine.use_threads(None, CUDA, shared=True)
    assert torch.get_num_threads() == 2
    machine.use_threads(None, CPU, shared=True)
    assert torch.get_num_threads() == 1
    machine.use_threads(3, CPU, shared=True)
    assert torch.get_num_threads() == 3

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine.use_threads(None, CPU, shared=True)
    assert torch.get_num_threads() == 3


def test_the_free_memory_and_the_cores_of_this_machine_are_known() -> None:
    assert machine.cores() >= 1
    free = machine._free_memory()
    assert free is None or free > 0


def test_an_executor_without_workers_refuses_a_number_of_them() -> None:
    with pytest.raises(InputError) as error:
        executors.create("inline", 2)
    assert str(error.value) == (
        "--workers: the executor inline has none; omit it, or use --executor processes"
    )
    assert executors.create("processes", 2).workers("cpu") == 2
    assert executors.create("inline").workers("cpu") == 1
