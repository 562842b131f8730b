"""The devices and threads of workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmark.errors import InputError
from benchmark.execution import executors, machine

CPU, OTHER = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_workers_take_all_gpus_in_turn_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert machine.devices("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert machine.devices("cuda:1") == ["cuda:1"]
    assert machine.devices("cpu") == ["cpu"]


def test_several_workers_of_a_cpu_have_one_thread_each_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(2)
    machine.use_threads(None, CPU, 1)
    machine.use_threads(None, OTHER, 2)
    assert torch.get_num_threads() == 2
    machine.use_threads(None, CPU, 2)
    assert torch.get_num_threads() == 1
    machine.use_threads(3, CPU, 2)
    assert torch.get_num_threads() == 3

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    machine.use_threads(None, CPU, 2)
    assert torch.get_num_threads() == 3


def test_an_executor_without_workers_refuses_a_number_of_them() -> None:
    with pytest.raises(InputError) as error:
        executors.create("inline", 2)
    assert str(error.value) == (
        "--workers: the executor 'inline' has no workers; omit it, or use --executor processes"
    )
    assert executors.create("processes", 2).workers == 2
    assert executors.create("inline").workers == executors.create("processes").workers == 1
