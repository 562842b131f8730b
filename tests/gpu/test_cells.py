"""Whole studies on a pretended GPU: the numbers of the CPU, and few waits, which are all named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmark.training.member import Member
from benchmark.training.teacher import Teacher
from benchmark.training.teacher_outputs import StoredOutputs
from tests.search.helpers import searched, searching, trials
from tests.support.disks import killed_after
from tests.support.pretended import CUDA, DispatchedCpu, Sync, pretended_gpu
from tests.support.studies import bits, folders, records, run, tiny
from tests.training.rows import ALL, KINDS, cells, row, studies

pytestmark = pytest.mark.trains

MIXED = tiny(
    [row(name) for name in KINDS],
    select="best_val",
    recipe={"optimizer": {"name": "adamw", "lr": 1e-3}, "mixup": 0.4},
)
"""One method of each kind, with an optimizer, a mixing and a selection that others lack."""

PER_EPOCH = {
    "Data.epoch": 4,  # the draws for all batches are copied once
    "Stopwatch.read": 1,  # the time of the teacher
}
"""Waits of a cohort in an epoch, by the function that waits."""

PER_RECORDING = {
    "Lane.record": 1,  # PyTorch's, before a graph is recorded
    "_same": 1,  # the comparison of its first replay
}
"""Waits for each graph, of which a member has two in each stage, as has the teacher."""

PER_CHECK = {"_same": 2}
"""Waits of a member in an epoch: its graphs are compared in the first and the last step."""

PER_MEMBER = {
    "EpochLog.close": 1,
    "Stopwatch.read": 1,
    "accuracy": 1,
    "check_weights": 1,
    "pack": 1,
    "validate": 1,
}
"""Waits of a member at the end of an epoch, by the function that waits."""


def run_on_gpu(workspace: Path, content: dict[str, Any], *stops: int) -> list[Sync]:
    """Run a study on a pretended GPU.

    Args:
        workspace: Where to run it.
        content: The study.
        stops: Epochs of students after which it is interrupted, and then run again.

    Returns:
        The waits of all runs together.
    """
    with pretended_gpu() as gpu:
        for after in stops:
            with killed_after(after):
                run(workspace, content, device=CUDA)
        assert not run(workspace, content, device=CUDA).failed
    return gpu.record.syncs


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of all kinds, run on the CPU."""
    workspace = tmp_path_factory.mktemp("cpu")
    assert not run(workspace, MIXED).failed
    return workspace


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Sync]]:
    """The same study on a pretended GPU, interrupted while some members are an epoch ahead.

    Returns:
        The workspace, and all waits.
    """
    workspace = tmp_path_factory.mktemp("gpu")
    return workspace, run_on_gpu(workspace, MIXED, len(KINDS))


@pytest.mark.parametrize("name", KINDS)
def test_an_interrupted_cell_on_the_gpu_equals_the_uninterrupted_one_of_the_cpu(
    name: str, on_cpu: Path, on_gpu: tuple[Path, list[Sync]]
) -> None:
    own, expected = (folders(workspace)[f"{name}/0"] for workspace in (on_gpu[0], on_cpu))
    (start, *_) = records(own, "start")
    assert len(records(own, "start")) > 1
    assert start["environment"]["device"] == "cuda"
    assert bits(own) == bits(expected)


@pytest.fixture(scope="module")
def all_on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods, on the CPU; in plain runs, reviewkd differs in its last bits."""
    workspace = tmp_path_factory.mktemp("all_cpu")
    with DispatchedCpu():
        for study in studies():
            assert not run(workspace, study).failed
    return workspace


@pytest.fixture(scope="module")
def all_on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods on a pretended GPU, interrupted in the middle."""
    workspace = tmp_path_factory.mktemp("all_gpu")
    for study in studies():
        run_on_gpu(workspace, study, len(study["methods"]))
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_cell_of_any_method_on_the_gpu_equals_that_of_the_cpu(
    name: str, all_on_cpu: Path, all_on_gpu: Path
) -> None:
    assert bits(cells(all_on_gpu)[f"{name}/0"]) == bits(cells(all_on_cpu)[f"{name}/0"])


def test_cells_in_bf16_on_the_gpu_equal_those_of_the_cpu_and_no_step_waits(tmp_path: Path) -> None:
    content = tiny(["student", "kd", "at"], recipe={"precision": "bf16"})
    assert not run(tmp_path / "cpu", content).failed
    syncs = run_on_gpu(tmp_path / "gpu", content)
    for name, expected in folders(tmp_path / "cpu").items():
        assert bits(folders(tmp_path / "gpu")[name]) == bits(expected)
    assert _waits_of_steps(syncs) == []


def test_a_search_on_the_gpu_finds_what_one_on_the_cpu_finds(tmp_path: Path) -> None:
    content = searched(["kd"], search={"trials": 2, "seeds": [100]}, recipe={"epochs": 1})
    expected = searching(tmp_path / "cpu", content)
    with pretended_gpu():
        found = searching(tmp_path / "gpu", content, device=CUDA)

    assert found.best == expected.best
    assert trials(tmp_path / "gpu") == trials(tmp_path / "cpu")


def test_an_epoch_waits_only_where_it_is_known_to(workspace: Path) -> None:
    rows = ["student", "kd"]
    syncs = run_on_gpu(workspace, tiny(rows))
    epochs = [sync for sync in syncs if "_train_epoch" in sync.callers]
    ends = [sync for sync in epochs if "Member.end_epoch" in sync.callers]

    # The teacher is trained for one epoch, by itself; the two students for two.
    graphs, checks = 2 * (1 + 2 + 1), 1 + 2 * 2
    known = times(PER_EPOCH, 3) + times(PER_RECORDING, graphs) + times(PER_CHECK, checks)
    _assert_at_most([sync for sync in epochs if sync not in ends], known)
    _assert_at_most(ends, times(PER_MEMBER, 5))


def test_no_step_of_a_cohort_waits_in_any_stage(on_gpu: tuple[Path, list[Sync]]) -> None:
    assert _waits_of_steps(on_gpu[1]) == []


def _waits_of_steps(syncs: list[Sync]) -> list[str]:
    """Return the waits in steps of members and in passes of their teacher."""
    steps = {Member.step.__qualname__, Teacher.output.__qualname__}
    allowed = {"Lane.record", "_same"}  # when graphs are recorded and compared
    waits = [sync for sync in syncs if steps & set(sync.callers)]
    return [str(sync) for sync in waits if sync.function not in allowed]


def test_a_cell_that_reads_stored_outputs_waits_only_while_they_are_computed(
    tmp_path: Path,
) -> None:
    rows = ("student", "kd", "fitnet", "mlld", "simkd")
    recipe = {"epochs": 3, "teacher_cache": 2}
    content = tiny([row(name) for name in rows], recipe=recipe)
    assert not run(tmp_path / "cpu", content).failed
    syncs = run_on_gpu(tmp_path / "gpu", content)

    steps = {Member.step.__qualname__, StoredOutputs.of.__qualname__}
    in_steps = [sync for sync in syncs if steps & set(sync.callers)]
    assert in_steps
    known = {"StoredOutputs._open", "Lane.record", "_same"}
    assert [str(sync) for sync in in_steps if not known & set(sync.callers)] == []
    for name in rows:
        own, expected = (bits(folders(tmp_path / place)[f"{name}/0"]) for place in ("gpu", "cpu"))
        assert own == expected


def times(expected: dict[str, int], count: int) -> Counter[str]:
    """Return waits that occur a number of times."""
    return Counter({name: count * waits for name, waits in expected.items()})


def _assert_at_most(syncs: list[Sync], expected: Counter[str]) -> None:
    """Check that no function waits more often than is expected."""
    counts = Counter(
        "Data.epoch" if "Data.epoch" in sync.callers else sync.function for sync in syncs
    )
    assert counts - expected == Counter()
