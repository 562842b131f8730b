"""The step of every method on a pretended GPU: no wait, one script, nothing on the wrong device."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from methods import Batch, Method, Output, Terms
from tests.gpu.members import MANY, SAMPLES, Observed, member, observe
from tests.support.pretended import CUDA, DeviceMismatchError, pretended_gpu

pytestmark = pytest.mark.trains

ROWS = (*methods.names(), "kd+at", "kd+dkd", "ls(dkd)", "ls(kd)")

WAITING = {"kdsvd": {"aten._linalg_eigh"}}
"""Methods whose steps wait for the GPU, and for what: a decomposition checks that it succeeded."""

ONE_ADDEND = "the indices of a row differ, so that each element gets one addend"

UNSTABLE = {
    "crd": {
        "aten.index_copy_": "a batch contains each sample once",
        "aten.scatter_add": ONE_ADDEND,
    },
    "dkd": {"aten.scatter_add": ONE_ADDEND},
    "nkd": {"aten.scatter_add": ONE_ADDEND},
    "rld": {"aten.scatter_add": ONE_ADDEND},
    "wkd_logit": {"aten.scatter_add": ONE_ADDEND},
}
"""Operations that PyTorch lists as not deterministic on CUDA, and why they are, by method."""


@dataclass(frozen=True)
class Seen:
    """What the member of a row did on the pretended GPU.

    Attributes:
        row: The row.
        method: Its method.
        stages: What the member did in each of its stages.
    """

    row: str
    method: Method
    stages: list[Observed]

    @property
    def changes_by_epoch(self) -> bool:
        """Whether the numbers of a step depend on the epoch in any stage."""
        return any(stage.changes_by_epoch for stage in self.stages)

    @property
    def syncs(self) -> dict[str, str]:
        """All waits for the GPU: their places by what was waited for."""
        records = [record for stage in self.stages for record in stage.all]
        return {sync.operation: sync.place for record in records for sync in record.syncs}


def see(row: str, folder: Path, *epochs: int, **options: Any) -> Seen:
    """Let the member of a row train a few steps in each of its stages.

    Args:
        row: The row.
        folder: The folder of its cell.
        epochs: Later epochs to look at; one if there are none.
        options: Settings of the method, and changes to the recipe, as `member` takes them.
    """
    with pretended_gpu() as gpu:
        own = member(row, CUDA, folder, **options)
        stages = observe(gpu, own, epochs) if epochs else observe(gpu, own)
        return Seen(row, own.parts.method, stages)


@pytest.fixture(scope="module", params=ROWS)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What the member of each row does; if devices did not agree, it would do nothing."""
    return see(request.param, tmp_path_factory.mktemp("cell"))


def test_no_step_of_a_member_and_no_pass_of_its_teacher_waits_for_the_gpu(seen: Seen) -> None:
    assert seen.syncs.keys() == WAITING.get(seen.row, set()), seen.syncs


def test_two_steps_of_an_epoch_are_the_same_operations_with_the_same_numbers(seen: Seen) -> None:
    for stage in seen.stages:
        first, second = stage.steps
        assert first.script == second.script


def test_in_another_epoch_only_numbers_change_and_only_if_the_method_declares_it(
    seen: Seen,
) -> None:
    for stage in seen.stages:
        forms = [[line.form for line in record.script or []] for record in stage.all]
        assert all(form == forms[0] for form in forms)

    assert seen.method.changes_by_epoch == seen.changes_by_epoch


def test_a_method_declares_whether_its_steps_can_be_captured(seen: Seen) -> None:
    assert seen.method.capturable == (not seen.syncs)


def test_an_update_of_all_parameters_is_one_launch(seen: Seen) -> None:
    for stage in seen.stages:
        assert {record.launches["aten._fused_sgd_"] for record in stage.all} == {1}


def test_each_operation_that_may_differ_from_run_to_run_has_a_reason_why_it_does_not(
    seen: Seen,
) -> None:
    records = [record for stage in seen.stages for record in stage.all]
    found = {operation for record in records for operation in record.unstable}
    names = re.findall(r"\w+", seen.row)
    assert found == {operation for name in names for operation in UNSTABLE.get(name, {})}


def test_crd_adds_up_nothing_in_a_random_order_if_a_small_training_set_repeats_negatives(
    tmp_path: Path,
) -> None:
    repeated = see("crd", tmp_path, settings={"negatives": 2 * SAMPLES, "dim": 8})
    (stage,) = repeated.stages
    assert {operation for record in stage.all for operation in record.unstable} == {
        "aten.index_copy_"
    }


def weighted(monkeypatch: pytest.MonkeyPatch, weigh: Callable[[Tensor, Batch], Any]) -> None:
    """Let kd weigh its loss by a function of the student's logits and the batch."""
    forward = methods.get("kd").forward

    def changed(self: Method, student: Output, teacher: Output, batch: Batch) -> Terms:
        terms = forward(self, student, teacher, batch)
        return {
            name: (weight, value * weigh(student.logits, batch))
            for name, (weight, value) in terms.items()
        }

    monkeypatch.setattr(methods.get("kd"), "forward", changed)


def test_a_method_that_reads_a_number_back_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted(monkeypatch, lambda logits, _: logits.max().item())
    found = see("kd", tmp_path)
    assert found.syncs.keys() == {"aten._local_scalar_dense"}
    assert found.syncs["aten._local_scalar_dense"].startswith("tests/gpu/test_steps.py:")
    first, second = found.stages[0].steps
    assert first.script != second.script


def test_a_method_with_a_tensor_of_the_cpu_cannot_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted(monkeypatch, lambda logits, _: torch.ones(1))
    with pytest.raises(DeviceMismatchError):
        see("kd", tmp_path)


def test_a_method_whose_weight_follows_the_epoch_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighted(monkeypatch, lambda _, batch: 1.0 + batch.epoch)
    found = see("kd", tmp_path)
    assert found.changes_by_epoch
    assert not found.method.changes_by_epoch


@pytest.mark.parametrize("variant", ["kd", "dkd", "nkd"])
def test_sdd_declares_that_its_numbers_change_for_the_variants_with_a_warm_up(
    variant: str, tmp_path: Path
) -> None:
    sdd = see("sdd", tmp_path, settings={"variant": variant})
    assert sdd.method.changes_by_epoch == sdd.changes_by_epoch == (variant != "kd")


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_no_method_changes_its_script_in_any_part_of_the_training_without_declaring_it(
    row: str, tmp_path: Path
) -> None:
    whole = see(row, tmp_path, *MANY)
    assert whole.method.changes_by_epoch == whole.changes_by_epoch


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_no_step_with_adamw_and_averaged_weights_waits_or_changes(row: str, tmp_path: Path) -> None:
    adamw = see(row, tmp_path, optimizer={"name": "adamw", "lr": 1e-3}, ema=0.99)
    assert adamw.syncs.keys() == WAITING.get(row, set()), adamw.syncs
    for stage in adamw.stages:
        first, second = stage.steps
        assert first.script == second.script
        assert first.launches["aten._fused_adamw_"] == 1
