"""The step of every method on a pretended GPU: nothing on the wrong device, no wait, one script."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.training.member import Member
from tests.gpu.members import EPOCHS, Observed, member, observe, step, batch
from tests.support.pretended import CUDA, pretended_gpu

pytestmark = pytest.mark.trains

ROWS = [*methods.names(), "kd+at", "kd+dkd", "ls(dkd)", "ls(kd)"]

WAITING = {"kdsvd": {"aten._linalg_svd"}}
"""Methods whose steps wait for the GPU, and for what: a decomposition checks that it succeeded."""

STABLE = {
    "_adaptive_avg_pool2d_backward": "",
}


@dataclass(frozen=True)
class Seen:
    """A row, and what its member did on the pretended GPU in each of its stages."""

    row: str
    member: Member
    stages: list[Observed]


def see(row: str, folder: Path, **options: Any) -> Seen:
    """Let a row's member train a few steps."""
    with pretended_gpu() as gpu:
        own = member(row, CUDA, folder)
        return Seen(row, own, observe(gpu, own, **options))


@pytest.fixture(scope="module", params=ROWS)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What each row's member does; that it is refused nothing shows that its devices agree."""
    return see(request.param, tmp_path_factory.mktemp("cell"))


def test_no_step_of_a_member_and_no_pass_of_its_teacher_waits_for_the_gpu(seen: Seen) -> None:
    syncs = [sync for stage in seen.stages for record in stage.all for sync in record.syncs]
    expected = WAITING.get(seen.row, set())
    assert {sync.operation for sync in syncs} == expected, [str(sync) for sync in syncs]


def test_two_steps_of_an_epoch_are_the_same_operations_with_the_same_numbers(seen: Seen) -> None:
    for stage in seen.stages:
        first, second = stage.steps
        assert first.script == second.script


def test_in_other_epochs_only_numbers_change_and_only_if_the_method_declares_it(
    seen: Seen,
) -> None:
    for stage in seen.stages:
        forms = [[line.form for line in record.script or []] for record in stage.all]
        assert all(form == forms[0] for form in forms)

    found = any(stage.changes_by_epoch for stage in seen.stages)
    assert seen.member.parts.method.changes_by_epoch == found


def test_an_update_of_all_parameters_is_one_launch(seen: Seen) -> None:
    for stage in seen.stages:
        for record in stage.all:
            assert record.launches["aten._fused_sgd_"] == 1
