"""What some methods want beyond a loss: an early stage, other networks, two views, more epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import methods
from benchmark.cli import status
from benchmark.execution import estimate, prepare
from benchmark.records.layout import Workspace
from benchmark.study import study
from benchmark.study.schema import Recipe, Schedule
from benchmark.training import member
from methods import Needs
from tests.support.studies import folders, metrics, plan, records, run, tiny, write_study
from tests.training.rows import KINDS

pytestmark = pytest.mark.trains


def rates(folder: Path, kind: str = "epoch") -> list[float]:
    """Return the last learning rate of each epoch of a stage."""
    prefix = "early/" if kind == "early" else ""
    return [epoch[f"{prefix}lr"] for epoch in metrics(folder, kind)]


def prepared(path: Path, workspace: Path, say: Any = print) -> prepare.Prepared:
    return prepare.prepare(
        study.load(path, methods),
        path.read_text(),
        "here",
        torch.device("cpu"),
        Workspace(workspace),
        say,
    )


def test_an_early_stage_has_records_of_its_own_and_the_training_all_its_epochs(
    kinds: Path,
) -> None:
    folder = folders(kinds)["ab/0"]
    assert [record["epoch"] for record in records(folder, "early")] == [0]
    assert [record["epoch"] for record in records(folder, "epoch")] == [0, 1]

    (early,) = metrics(folder, "early")
    assert {key.partition("/")[0] for key in early} == {"early"}
    assert early["early/loss/total"] > 0
    assert not any("val" in key for key in early)
    alone, *_ = metrics(folders(kinds)["student/0"])
    first, *_ = metrics(folder)
    assert set(first) == set(alone)


def test_an_early_stage_moves_the_student_and_then_starts_a_fresh_optimizer(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int, bool]] = []
    step = member.Member.step

    def spy(self: member.Member, *args: Any) -> None:
        before = self.student.network.conv1.weight.clone()
        fresh = not any(value.any() for value in self.state.stage.optimizer.state().values())
        step(self, *args)
        steps.append((self.state.epoch, args[2], fresh))
        assert not torch.equal(before, self.student.network.conv1.weight)

    monkeypatch.setattr(member.Member, "step", spy)
    pair = {"name": "pair", "teacher": "cifar_resnet14", "student": "cifar_resnet8"}
    run(workspace, tiny(["ab"], pairs=[pair]))
    assert steps[-9:] == [
        (-1, 0, True),
        (-1, 1, False),
        (-1, 2, False),
        (0, 0, True),
        (0, 1, False),
        (0, 2, False),
        (1, 0, False),
        (1, 1, False),
        (1, 2, False),
    ]


def test_the_earlier_network_has_the_learning_rates_of_the_student_alone(kinds: Path) -> None:
    folder = folders(kinds)["born_again/0"]
    assert [record["epoch"] for record in records(folder, "early")] == [0, 1]
    assert rates(folder, "early") == rates(folders(kinds)["student/0"])


def test_the_earlier_network_of_a_longer_training_still_has_the_schedule_of_the_recipe(
    kinds: Path, workspace: Path
) -> None:
    run(workspace, tiny(["born_again+longer"]))
    folder = folders(workspace)["born_again+longer/0"]
    assert rates(folder, "early") == rates(folders(kinds)["student/0"])
    assert rates(folder) == rates(folders(kinds)["longer/0"])


def test_a_longer_training_has_more_epochs(kinds: Path) -> None:
    epochs = records(folders(kinds)["longer/0"], "epoch")
    assert [record["epoch"] for record in epochs] == [0, 1, 2, 3]


def test_a_longer_training_has_the_same_schedule_stretched() -> None:
    schedule = {"name": "step", "milestones": [1, 3]}
    recipe = Recipe.model_validate({"epochs": 4, "schedule": schedule})
    stretched = recipe.stretched(2.0).schedule
    assert isinstance(stretched, Schedule)
    assert stretched.milestones == [2, 6]
    assert recipe.stretched(1.0) is recipe

    warm = Recipe.model_validate({"epochs": 4, "schedule": {"warmup_epochs": 1}})
    expected = Recipe.model_validate({"epochs": 8, "schedule": {"warmup_epochs": 2}})
    assert warm.stretched(2.0) == expected


def test_peers_log_a_loss_of_their_own_that_falls(kinds: Path) -> None:
    first, last = metrics(folders(kinds)["dml/0"])
    assert first["loss/peer"] != first["loss/total"]
    assert last["loss/peer"] < first["loss/peer"]


def test_a_method_that_sees_two_views_runs_beside_others_without_changing_theirs(
    kinds: Path, workspace: Path
) -> None:
    run(workspace, tiny(["kd"]))
    (alone,) = records(folders(workspace)["kd/0"], "trained")
    (beside,) = records(folders(kinds)["kd/0"], "trained")
    assert alone["sha256"] == beside["sha256"]

    first, *_ = metrics(folders(kinds)["mlld/0"])
    assert {"loss/bc", "loss/cc", "loss/kd", "loss/ce_strong"} <= set(first)


def test_an_estimate_shares_the_teacher_and_counts_what_each_method_needs(kinds: Path) -> None:
    ready = prepared(kinds / "study.yaml", kinds)
    total = sum(
        epoch["cost/compute_tmac"]
        for folder in folders(kinds).values()
        for epoch in metrics(folder, "final")
    )
    work = estimate.estimate(ready, ready.cohorts(ready.cells, None), [])
    assert work.alone == pytest.approx(total)
    assert work.tmac < work.alone


def test_an_estimate_of_a_method_with_two_views_alone_shares_nothing(
    kinds: Path, workspace: Path
) -> None:
    path = write_study(workspace / "study.yaml", tiny(["mlld"]))
    ready = prepared(path, kinds)
    work = estimate.estimate(ready, ready.cohorts(ready.cells, None), [])
    assert work.tmac == pytest.approx(work.alone)


def test_the_plan_and_the_status_know_how_long_each_cell_trains(kinds: Path) -> None:
    lengths = {cell["row"]: cell["length"] for cell in plan(kinds)["cells"]}
    assert lengths["longer"] == {"early": 0, "epochs": 4}
    assert lengths["ab"] == {"early": 1, "epochs": 2}
    assert lengths["born_again"] == {"early": 2, "epochs": 2}

    console = Console(width=200)
    with console.capture() as capture:
        console.print(status.progress_of(Workspace(kinds).study("tiny")))
    lines = [line.split() for line in capture.get().splitlines()[2:] if line.split()]
    assert {words[1]: words[5] for words in lines} == {
        "teacher": "1/1",
        "student": "2/2",
        "kd": "2/2",
        "fitnet": "2/2",
        "simkd": "2/2",
        "ab": "3/3",
        "dml": "2/2",
        "born_again": "4/4",
        "random_teacher": "2/2",
        "mlld": "2/2",
        "crd": "2/2",
        "longer": "4/4",
    }


def test_a_plan_with_every_kind_of_method_lists_all_cells(kinds: Path) -> None:
    assert len(plan(kinds)["cells"]) == len(KINDS)


def test_methods_that_learn_from_different_networks_cannot_be_one() -> None:
    message = r"^dml\+kd: the methods learn from different networks: peer and teacher"
    with pytest.raises(methods.SettingError, match=message):
        methods.create("dml+kd")
    needs = methods.create("dml+label_smoothing").tapped()
    assert needs == Needs(logits=True, companion="peer")


def test_rows_whose_weights_were_published_for_another_batch_size_are_named_once(
    workspace: Path,
) -> None:
    lines: list[str] = []
    path = write_study(workspace / "study.yaml", tiny(["student", "kd", "rkd", "crd"]))
    prepared(path, workspace, lines.append)
    assert lines == [
        "rkd, crd: the published loss weights were chosen for batches of 64; this recipe uses "
        "batches of 16"
    ]
