"""A member's numbers depend on itself alone: not on companions, crashes, or the order of things."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark import data
from benchmark.errors import InputError
from benchmark.records import checkpoints
from benchmark.study.schema import Recipe
from benchmark.training import cost, member
from benchmark.training import schedule as training_schedule
from benchmark.training import teacher as training_teacher
from benchmark.training.progress import Progress
from tests.support.records import read_journal
from tests.support.studies import STUDENT, TEACHER, bits, folders, plan, run, tiny

ROWS = [*methods.names(), "kd+at"]

SOME = ("student", "kd", "fitnet", "simkd", "ab", "dml", "born_again", "mlld", "crd", "longer")
"""One of each kind that the engine treats in a way of its own."""

ON_MAPS = ("catkd", "fsp", "ft")
"""Want as many channels in both networks, or larger last maps than the tiny pair has."""

SETTINGS = {name: methods.get(name).small for name in methods.names()}


def row(name: str) -> dict[str, Any]:
    return {"method": name, "settings": SETTINGS.get(name, {})}


def studies() -> list[dict[str, Any]]:
    """All methods: most on the tiny pair, some on two networks with maps."""
    pair = {
        "name": "pair",
        "teacher": {"model": "cifar_resnet8", "seed": 1},
        "student": "cifar_resnet8",
    }
    return [
        tiny([row(name) for name in ROWS if name not in ON_MAPS]),
        tiny([row(name) for name in ON_MAPS], name="maps", pairs=[pair]),
    ]


def cells(workspace: Path) -> dict[str, Path]:
    """The folders of the cells of all methods, by "row/seed"."""
    return folders(workspace) | folders(workspace, "maps")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods, in one cohort for each pair."""
    workspace = tmp_path_factory.mktemp("together")
    for study in studies():
        assert not run(workspace, study).failed
    return workspace


class Interrupt(Progress):
    """Ends the process's work, as Ctrl+C would, once a number of epochs of cells is recorded."""

    def __init__(self, after: int):
        self.left = after

    def epoch(self, cell: str, *_: Any) -> None:
        if not cell.startswith("teacher"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells, each in a cohort of its own."""
    workspace = tmp_path_factory.mktemp("apart")
    for study in studies():
        run(workspace, study, cohort_size=1)
    return workspace


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells in cohorts that were interrupted twice, with members on either side of an epoch's end."""
    workspace = tmp_path_factory.mktemp("stopped")
    for study in studies():
        names = [entry["method"] for entry in study["methods"]]
        early = sum(_early(name) for name in names)
        for after in (early + len(names) // 2, len(names)):
            with pytest.raises(KeyboardInterrupt):
                run(workspace, study, Interrupt(after))
        run(workspace, study)
    return workspace


def _early(name: str) -> int:
    """Epochs of a method's stage before the training."""
    method = methods.create(name, **row(name)["settings"])
    return cost.length(method, Recipe(epochs=2)).early


@pytest.mark.parametrize("name", ROWS)
def test_a_cell_trained_alone_equals_the_same_cell_in_a_cohort_bit_for_bit(
    name: str, together: Path, apart: Path
) -> None:
    alone, beside = cells(apart)[f"{name}/0"], cells(together)[f"{name}/0"]
    assert alone.name == beside.name
    assert bits(alone) == bits(beside)


@pytest.mark.parametrize("name", ROWS)
def test_a_cell_that_was_interrupted_equals_an_uninterrupted_one_bit_for_bit(
    name: str, together: Path, stopped: Path
) -> None:
    folder = cells(stopped)[f"{name}/0"]
    starts = [r["epoch"] for r in read_journal(folder / "journal.jsonl") if r["kind"] == "start"]
    assert len(set(starts)) > 1
    assert bits(folder) == bits(cells(together)[f"{name}/0"])


def test_every_method_runs_in_the_engine(together: Path) -> None:
    assert plan(together)["not_applicable"] == plan(together, "maps")["not_applicable"] == {}
    assert set(cells(together)) == {f"{name}/0" for name in ROWS}


@pytest.mark.parametrize(
    ("rows", "passes"),
    [
        (["kd"], 6),
        (["student", "kd", "fitnet", "at", "kd+at"], 6),
        (["student"], 0),
        (["kd", "longer"], 6),
        (["kd", "ab"], 9),
        (["longer", "born_again", "dml", "random_teacher"], 0),
    ],
)
def test_the_teacher_runs_once_per_batch_whatever_the_number_of_members(
    rows: list[str], passes: int, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: Counter[str] = Counter()
    look = training_teacher.Teacher.look

    def counted(self: training_teacher.Teacher, loaded: data.Loaded) -> Any:
        seen["look"] += 1
        return look(self, loaded)

    monkeypatch.setattr(training_teacher.Teacher, "look", counted)
    run(workspace, tiny(rows))
    assert seen["look"] == passes  # 2 epochs of 3 batches


def test_a_teachers_network_is_in_eval_mode_without_gradients_and_stays_as_it_was(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[training_teacher.Teacher] = []
    before: list[dict[str, torch.Tensor]] = []
    init = training_teacher.Teacher.__init__

    def kept(self: training_teacher.Teacher, *args: Any) -> None:
        init(self, *args)
        teachers.append(self)
        before.append({name: value.clone() for name, value in self.model.state_dict().items()})

    monkeypatch.setattr(training_teacher.Teacher, "__init__", kept)
    run(workspace, tiny(["kd", "fitnet", "at"]))
    (teacher,) = teachers
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert all(
        torch.equal(value, before[0][name]) for name, value in teacher.model.state_dict().items()
    )


def test_a_loss_that_is_not_finite_ends_its_cell_alone_and_is_named(
    together: Path, workspace: Path
) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    summary = run(workspace, tiny([wild, *(row(name) for name in SOME)]))
    assert list(summary.failed) == ["pair / wild / seed 0"]
    assert summary.failed["pair / wild / seed 0"].startswith("non-finite loss at epoch 1, step ")
    for name, folder in folders(workspace).items():
        if name == "wild/0":
            assert not list(folder.glob("checkpoint-*"))
            assert [r["kind"] for r in read_journal(folder / "journal.jsonl")] == [
                "start",
                "failed",
            ]
        else:
            assert bits(folder) == bits(folders(together)[name])


@pytest.mark.parametrize("hook", ["forward", "build"])
def test_a_method_that_raises_ends_its_cell_alone_and_is_tried_again(
    hook: str, together: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("out of luck\nin two lines")

    with monkeypatch.context() as patch:
        patch.setattr(methods.get("kd"), hook, broken)
        summary = run(workspace, tiny(["student", "kd"]))
        assert summary.failed == {"pair / kd / seed 0": "ValueError: out of luck"}
        assert "in two lines" in (folders(workspace)["kd/0"] / "error.txt").read_text()
    again = run(workspace, tiny(["student", "kd"]))
    assert (again.trained, again.already_done, again.failed) == (1, 1, {})
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(together)[name])


def test_a_damaged_checkpoint_is_passed_over_with_a_warning_and_the_result_is_the_same(
    together: Path, workspace: Path
) -> None:
    warnings: list[str] = []

    class Listening(Progress):
        def warn(self, text: str) -> None:
            warnings.append(text)

    with pytest.raises(KeyboardInterrupt):
        run(workspace, tiny(["kd"], recipe={"epochs": 2}), Interrupt(after=2))
    folder = folders(workspace)["kd/0"]
    newest = sorted(folder.glob("checkpoint-*.safetensors"))[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    run(workspace, tiny(["kd"]), Listening())
    assert any(newest.with_suffix(".json").name in line for line in warnings)
    assert bits(folder) == bits(folders(together)["kd/0"])


def test_a_cell_that_goes_on_in_another_environment_says_so(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []

    class Listening(Progress):
        def warn(self, text: str) -> None:
            warnings.append(text)

    with pytest.raises(KeyboardInterrupt):
        run(workspace, tiny(["kd"]), Interrupt(after=1))
    monkeypatch.setattr("benchmark.environment.platform.python_version", lambda: "3.99")
    run(workspace, tiny(["kd"]), Listening())
    assert len(warnings) == 1
    assert "3.99" in warnings[0]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods with networks in bf16, for one epoch."""
    workspace = tmp_path_factory.mktemp("half")
    for study in studies():
        assert not run(
            workspace, {**study, "recipe": {**study["recipe"], "epochs": 1, "precision": "bf16"}}
        ).failed
    return workspace


@pytest.mark.parametrize("name", ROWS)
def test_every_method_trains_with_networks_in_bf16(name: str, half: Path) -> None:
    found = bits(cells(half)[f"{name}/0"])
    assert all(math.isfinite(value) for value in found["epochs"][0].values())


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adamw", "lr": 1e-3},
        {"name": "sgd", "nesterov": True},
        {"name": "sgd", "momentum": 0.0},
        {"name": "dot", "lr": 0.02},
    ],
)
def test_every_optimizer_goes_on_where_it_was(
    optimizer: dict[str, Any], workspace: Path, tmp_path: Path
) -> None:
    content = tiny(["fitnet"], recipe={"optimizer": optimizer})
    run(tmp_path / "whole", content)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, content, Interrupt(after=1))
    run(workspace, content)
    assert bits(folders(workspace)["fitnet/0"]) == bits(folders(tmp_path / "whole")["fitnet/0"])


def test_students_of_one_seed_start_from_the_same_weights_and_see_the_same_batches(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, torch.Tensor] = {}
    step = member.Member.step

    def spy(self: member.Member, loaded: data.Loaded, *rest: Any) -> None:
        if self.epoch == 0 and rest[-1] == 0 and self.conditions.teacher is not None:
            parameters = torch.cat([p.detach().flatten() for p in self.student.parameters()])
            first[self.task.label] = torch.cat([parameters, loaded.inputs.flatten()])
        step(self, loaded, *rest)

    monkeypatch.setattr(member.Member, "step", spy)
    run(workspace, tiny(["student", "fitnet"], seeds=[0, 1]))
    assert torch.equal(first["pair / student / seed 0"], first["pair / fitnet / seed 0"])
    assert torch.equal(first["pair / student / seed 1"], first["pair / fitnet / seed 1"])
    assert not torch.equal(first["pair / student / seed 0"], first["pair / student / seed 1"])


def test_test_images_are_opened_only_by_cells_that_are_trained_and_change_no_weight(
    together: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    unseal = data.Data.test

    def poisoned(self: data.Data, evidence: Any) -> data.Resident:
        opened.append(
            any(r["kind"] == "trained" for r in read_journal(evidence.folder / "journal.jsonl"))
        )
        true = unseal(self, evidence)
        assert isinstance(true, data.Resident)
        return data.Resident(true.images, torch.zeros_like(true.labels))

    monkeypatch.setattr(data.Data, "test", poisoned)
    run(workspace, tiny([row(name) for name in SOME], select="last"))
    assert opened
    assert all(opened)
    for name, folder in folders(workspace).items():
        found, expected = bits(folder), bits(folders(together)[name])
        assert (found["sha256"], found["epochs"]) == (expected["sha256"], expected["epochs"])
        assert found["final"] != expected["final"]


def test_best_val_evaluates_the_first_epoch_with_the_highest_validation_accuracy(
    workspace: Path, tmp_path: Path
) -> None:
    recipe = {"epochs": 4, "optimizer": {"lr": 0.2}}
    content = tiny(["student"], recipe=recipe, select="best_val", seeds=[0, 1, 2])
    run(workspace, content)
    best = []
    for folder in folders(workspace).values():
        found = read_journal(folder / "journal.jsonl")
        accuracies = [r["metrics"]["val/acc1"] for r in found if r["kind"] == "epoch"]
        (trained,) = [r for r in found if r["kind"] == "trained"]
        assert trained["epoch"] == accuracies.index(max(accuracies))
        best.append(trained["epoch"])
    assert set(best) != {3}, "this recipe was chosen so that some seed's best epoch is not the last"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "again", content, Interrupt(after=8))
    run(tmp_path / "again", content)
    for name, folder in folders(tmp_path / "again").items():
        assert bits(folder) == bits(folders(workspace)[name])


def test_a_full_disk_ends_the_run_with_one_line_and_the_study_goes_on_later(
    together: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoints.CellFolder.save
    left = [2]

    def full(self: Any, checkpoint: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise InputError("the disk is full")
        save(self, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.CellFolder, "save", full)
        with pytest.raises(InputError, match="the disk is full"):
            run(workspace, tiny(["student", "kd"]))
    run(workspace, tiny(["student", "kd"]))
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(together)[name])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [1.0] * 8),
        ({"name": "step", "milestones": [1, 3]}, [1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ({"name": "cosine"}, [0.5 * (1 + math.cos(math.pi * n / 8)) for n in range(8)]),
        (
            {"name": "cosine", "warmup_epochs": 1},
            [0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * n / 6)) for n in range(6))],
        ),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    schedule: dict[str, Any], expected: list[float]
) -> None:
    recipe = Recipe.model_validate({"epochs": 4, "optimizer": {"lr": 1.0}, "schedule": schedule})
    rates = [
        training_schedule.learning_rate(recipe, epoch, step, 2)
        for epoch in range(4)
        for step in range(2)
    ]
    assert rates == pytest.approx(expected)


def test_the_journal_holds_raw_terms_and_weights_apart(together: Path) -> None:
    (epoch, *_) = bits(folders(together)["kd+at/0"])["epochs"]
    weights = {name: value for name, value in epoch.items() if name.startswith("weight/")}
    assert weights == {"weight/ce": 1.0, "weight/kd": 0.9, "weight/at": 1000.0}
    total = sum(weights[f"weight/{term}"] * epoch[f"loss/{term}"] for term in ("ce", "kd", "at"))
    assert epoch["loss/total"] == pytest.approx(total, rel=1e-5)
    assert {"train/acc1", "val/acc1", "val/loss", "lr"} <= epoch.keys()


def test_the_final_record_counts_what_the_training_cost(together: Path) -> None:
    alone, taught = (bits(folders(together)[name])["final"] for name in ("student/0", "kd/0"))
    samples = 2 * 48
    teacher = taught["cost/compute_tmac"] - alone["cost/compute_tmac"]
    assert alone["cost/compute_tmac"] == pytest.approx(samples * 3 * alone["cost/macs"] / 1e12)
    assert teacher > 0
    assert alone["cost/params"] == taught["cost/params"]
    assert (TEACHER, STUDENT) == ("test_resnet", "test_byobnet")
