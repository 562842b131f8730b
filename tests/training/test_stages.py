"""What some methods want beyond a loss: a stage before, another network as teacher, a longer training, another head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from rich.console import Console

import methods
from benchmark.cli import status
from benchmark.execution import estimate, prepare
from benchmark.models import create, pairing, tapped
from benchmark.records.checkpoints import CellFolder, Checkpoint
from benchmark.study import study
from benchmark.study.schema import Network, Recipe
from benchmark.training import cost, member
from methods import Needs
from tests.support.records import read_journal
from tests.support.studies import STUDENT, TEACHER, bits, folders, plan, run, tiny
from tests.training.test_cohort import Interrupt

PAIR = {
    "name": "pair",
    "teacher": {"model": "cifar_resnet8", "seed": 1},
    "student": "cifar_resnet8",
}


def journal(workspace: Path, row: str, name: str = "tiny") -> list[dict[str, Any]]:
    return read_journal(folders(workspace, name)[f"{row}/0"] / "journal.jsonl")


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One method of each kind, beside the student alone and kd."""
    workspace = tmp_path_factory.mktemp("trained")
    rows = ["student", "kd", "longer", "born_again", "dml", "random_teacher", "ab", "mlld", "simkd"]
    run(workspace, tiny(rows))
    return workspace


def test_a_stage_before_the_training_has_records_of_its_own_and_the_training_all_its_epochs(
    trained: Path,
) -> None:
    records = journal(trained, "ab")
    early, epochs = of(records, "early"), of(records, "epoch")
    assert ([r["epoch"] for r in early], [r["epoch"] for r in epochs]) == ([0], [0, 1])
    assert {key.partition("/")[0] for key in early[0]["metrics"]} == {"early"}
    assert early[0]["metrics"]["early/loss/total"] > 0
    assert not any("val" in key for key in early[0]["metrics"])
    assert set(epochs[0]["metrics"]) == set(of(journal(trained, "student"), "epoch")[0]["metrics"])


def test_a_stage_before_the_training_moves_the_student_and_then_starts_a_fresh_optimizer(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int, bool]] = []
    step = member.Member.step

    def spy(self: member.Member, *args: Any) -> None:
        before = self.student.network.conv1.weight.clone()
        fresh = not self.optimizer.state_dict()["state"]
        step(self, *args)
        steps.append((self.epoch, args[2], fresh))
        assert not torch.equal(before, self.student.network.conv1.weight)

    monkeypatch.setattr(member.Member, "step", spy)
    run(
        workspace, tiny(["ab"], pairs=[{**PAIR, "teacher": "cifar_resnet14"}], recipe={"epochs": 2})
    )
    own = steps[-9:]
    assert [(epoch, number) for epoch, number, _ in own] == [
        (e, n) for e in (-1, 0, 1) for n in range(3)
    ]
    assert [fresh for *_, fresh in own] == [
        True,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        False,
    ]


def test_the_earlier_network_is_trained_as_the_student_alone_is_and_then_only_looks(
    trained: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = journal(trained, "born_again")
    early = of(records, "early")
    assert [r["epoch"] for r in early] == [0, 1]
    rates = [r["metrics"]["early/lr"] for r in early]
    assert rates == [r["metrics"]["lr"] for r in of(journal(trained, "student"), "epoch")]
    seen = []
    loss = member.Member._loss

    def spy(self: member.Member, *args: Any) -> Any:
        if self.companion is not None:
            modes = (
                self.companion.training,
                any(p.requires_grad for p in self.companion.parameters()),
            )
            seen.append((modes, [value.clone() for value in self.companion.state_dict().values()]))
        return loss(self, *args)

    monkeypatch.setattr(member.Member, "_loss", spy)
    run(workspace, tiny(["born_again"]))
    assert len(seen) == 6
    assert {modes for modes, _ in seen} == {(False, False)}
    assert all(torch.equal(one, other) for one, other in zip(seen[0][1], seen[-1][1], strict=True))


def test_the_earlier_network_of_a_longer_training_still_has_the_schedule_of_the_recipe(
    trained: Path, workspace: Path
) -> None:
    run(workspace, tiny(["born_again+longer"]))
    records = journal(workspace, "born_again+longer")
    rates = [r["metrics"]["early/lr"] for r in of(records, "early")]
    assert rates == [r["metrics"]["lr"] for r in of(journal(trained, "student"), "epoch")]
    assert [r["metrics"]["lr"] for r in of(records, "epoch")] == [
        r["metrics"]["lr"] for r in of(journal(trained, "longer"), "epoch")
    ]


@pytest.mark.parametrize("name", ["ab", "born_again"])
def test_a_process_that_ends_between_checkpoint_and_record_of_an_early_epoch_leaves_each_record_once(
    name: str, trained: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CellFolder.save

    def killed(self: CellFolder, checkpoint: Checkpoint) -> None:
        save(self, checkpoint)
        if checkpoint.state["kind"] == "early":
            raise KeyboardInterrupt

    early = len(bits(folders(trained)[f"{name}/0"])["early"])
    with monkeypatch.context() as patch:
        patch.setattr(CellFolder, "save", killed)
        for _ in range(early):
            with pytest.raises(KeyboardInterrupt):
                run(workspace, tiny([name]))
    run(workspace, tiny([name]))
    assert early > 0
    assert bits(folders(workspace)[f"{name}/0"]) == bits(folders(trained)[f"{name}/0"])


def test_a_method_that_raises_in_its_early_stage_is_tried_again_from_there(
    trained: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tiny([{"method": "ab", "settings": {"pre_training": 1.0}}])
    run(workspace / "whole", content)
    pre_train = methods.get("ab").pre_train

    def broken(self: methods.Method, student: Any, teacher: Any, batch: Any) -> Any:
        if batch.epoch == 1:
            raise ValueError("out of luck")
        return pre_train(self, student, teacher, batch)

    with monkeypatch.context() as patch:
        patch.setattr(methods.get("ab"), "pre_train", broken)
        assert run(workspace, content).failed == {"pair / ab / seed 0": "ValueError: out of luck"}
    assert not run(workspace, content).failed
    assert [r["epoch"] for r in of(journal(workspace, "ab"), "start")] == [0, 1]
    assert bits(folders(workspace)["ab/0"]) == bits(folders(workspace / "whole")["ab/0"])


def test_a_checkpoint_of_an_earlier_program_is_of_an_epoch(
    trained: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = member.Member._checkpoint

    def older(*args: Any) -> Any:
        checkpoint = state(*args)
        del checkpoint.state["kind"]
        return checkpoint

    with monkeypatch.context() as patch:
        patch.setattr(member.Member, "_checkpoint", older)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, tiny(["kd"]), Interrupt(after=1))
    run(workspace, tiny(["kd"]))
    assert bits(folders(workspace)["kd/0"]) == bits(folders(trained)["kd/0"])


def test_peers_learn_from_each_other_and_start_from_different_weights(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[member.Member] = []
    finish = member.Member.finish
    monkeypatch.setattr(member.Member, "finish", lambda self: (found.append(self), finish(self))[1])
    run(workspace, tiny(["dml"]))
    peers = next(one for one in found if one.companion is not None)
    assert peers.companion is not None
    own, other = (
        dict(model.network.named_parameters()) for model in (peers.student, peers.companion)
    )
    assert all(
        not torch.equal(weight, other[name]) for name, weight in own.items() if weight.dim() > 1
    )
    first, last = (of(journal(workspace, "dml"), "epoch")[place]["metrics"] for place in (0, -1))
    assert first["loss/peer"] != first["loss/total"]
    assert last["loss/peer"] < first["loss/peer"]


def test_an_untrained_teacher_is_of_the_teachers_architecture_and_stays_as_it_is(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tapped.TappedModel] = []
    made = member.Member._made_companion

    def kept(self: member.Member) -> tapped.TappedModel | None:
        network = made(self)
        found.extend([network] if network is not None else [])
        return network

    monkeypatch.setattr(member.Member, "_made_companion", kept)
    run(workspace, tiny(["random_teacher"]))
    (network,) = found
    assert network.network.default_cfg["architecture"] == TEACHER
    with torch.random.fork_rng():
        torch.manual_seed(member.streams.derive(0, "companion"))
        fresh = create.create(Network(model=TEACHER), "here", (3, 32, 32), 10)
    trained = network.network.state_dict()
    kept = {
        name: value
        for name, value in fresh.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert all(torch.equal(value, trained[name]) for name, value in kept.items())


def test_an_untrained_teacher_has_none_of_timms_weights(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        known = create.create(Network(model=TEACHER), "here", (3, 32, 32), 10).state_dict()
    safetensors.torch.save_file(known, tmp_path / "hub.safetensors")
    overlay = {"file": str(tmp_path / "hub.safetensors"), "num_classes": 10}
    teacher = {"model": TEACHER, "pretrained": True, "kwargs": {"pretrained_cfg_overlay": overlay}}
    found: list[tapped.TappedModel] = []
    made = member.Member._made_companion
    monkeypatch.setattr(
        member.Member, "_made_companion", lambda self: (found.append(made(self)), found[-1])[1]
    )
    run(
        workspace,
        tiny(["random_teacher"], pairs=[{"name": "pair", "teacher": teacher, "student": STUDENT}]),
    )
    (network,) = found
    own = network.network.state_dict()
    assert not any(
        torch.equal(value, own[name]) for name, value in known.items() if value.dim() == 4
    )


def test_a_longer_training_has_the_same_schedule_stretched(trained: Path) -> None:
    epochs = of(journal(trained, "longer"), "epoch")
    assert [r["epoch"] for r in epochs] == [0, 1, 2, 3]
    recipe = Recipe.model_validate(
        {"epochs": 4, "schedule": {"name": "step", "milestones": [1, 3]}}
    )
    assert recipe.stretched(2.0).schedule.milestones == [2, 6]
    assert recipe.stretched(1.0) is recipe
    warm = Recipe.model_validate({"epochs": 4, "schedule": {"warmup_epochs": 1}})
    assert warm.stretched(2.0) == Recipe.model_validate(
        {"epochs": 8, "schedule": {"warmup_epochs": 2}}
    )


@pytest.mark.parametrize(("share", "early"), [(0.07, 7), (0.071, 8), (0.0, 0), (1.0, 100)])
def test_the_stage_before_the_training_is_rounded_up_to_epochs(share: float, early: int) -> None:
    method = methods.create("ab", pre_training=share)
    assert cost.length(method, Recipe(epochs=100)) == cost.Length(early, 100)


def test_a_method_that_sees_two_views_runs_beside_others_without_changing_theirs(
    trained: Path, workspace: Path
) -> None:
    run(workspace, tiny(["kd"]))
    alone, beside = (of(journal(one, "kd"), "trained")[0]["sha256"] for one in (workspace, trained))
    assert alone == beside
    assert {"loss/bc", "loss/cc", "loss/kd", "loss/ce_strong"} <= set(
        of(journal(trained, "mlld"), "epoch")[0]["metrics"]
    )


def test_a_deployed_head_is_what_is_tested_counted_and_stored(
    trained: Path, workspace: Path
) -> None:
    folder, plain = (folders(trained)[f"{name}/0"] for name in ("simkd", "student"))
    tensors = safetensors.torch.load_file(folder / "student.safetensors")
    extra = {name for name in tensors if name.startswith("deployed.")}
    assert extra
    assert set(tensors) - extra == set(safetensors.torch.load_file(plain / "student.safetensors"))
    costs = [json.loads((one / "done.json").read_text())["metrics"] for one in (folder, plain)]
    head = sum(tensors[name].numel() for name in extra)
    assert costs[0]["cost/params"] == costs[1]["cost/params"] + head
    assert costs[0]["cost/macs"] > costs[1]["cost/macs"]


def test_a_deployed_head_is_chosen_with_the_best_validation_epoch(workspace: Path) -> None:
    run(workspace, tiny(["simkd"], select="best_val", recipe={"epochs": 4}))
    records = journal(workspace, "simkd")
    accuracies = [r["metrics"]["val/acc1"] for r in of(records, "epoch")]
    assert of(records, "trained")[0]["epoch"] == accuracies.index(max(accuracies))


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("student", 2 * 3 * 10),
        ("kd", 2 * (3 * 10 + 100)),
        ("longer", 4 * 3 * 10),
        ("born_again", 2 * 3 * 10 + 2 * (3 * 10 + 10)),
        ("dml", 2 * (3 * 10 + 3 * 10)),
        ("random_teacher", 2 * (3 * 10 + 100)),
        ("mlld", 2 * 2 * (3 * 10 + 100)),
        ("ab", (3 * 10 + 100) + 2 * 3 * 10),
    ],
)
def test_the_work_of_a_cell_counts_every_network_in_every_epoch(name: str, units: int) -> None:
    assert (
        cost.compute(methods.create(name), Recipe(epochs=2), images=1, student=10, teacher=100)
        == units
    )


def test_an_estimate_shares_the_teacher_and_counts_what_each_method_needs(trained: Path) -> None:
    path = trained / "study.yaml"
    prepared = prepare.prepare(
        study.load(path), path.read_text(), "here", torch.device("cpu"), trained, lambda _: None
    )
    done = [
        json.loads((one / "done.json").read_text())["metrics"] for one in folders(trained).values()
    ]
    found = estimate.estimate(prepared, prepared.cohorts(prepared.cells, None), [])
    assert found.alone == pytest.approx(sum(metrics["cost/compute_tmac"] for metrics in done))
    assert found.tmac < found.alone


@pytest.mark.parametrize(
    ("names", "passes"),
    [
        (["student", "longer", "dml", "born_again", "random_teacher"], 0),
        (["kd", "longer"], 2),
        (["kd", "mlld", "at"], 2 * 2),
        (["kd", "ab"], 1 + 2),
        (["mlld", "ab", "kd+longer"], 1 + 2 * 2 + 2),
    ],
)
def test_a_shared_teacher_looks_in_every_epoch_in_which_any_method_learns_from_it(
    names: list[str], passes: int
) -> None:
    assert cost.looks([methods.create(name) for name in names], Recipe(epochs=2)) == passes


def test_an_estimate_of_a_method_with_two_views_alone_shares_nothing(
    trained: Path, workspace: Path
) -> None:
    path = workspace / "study.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(tiny(["mlld"])))
    prepared = prepare.prepare(
        study.load(path), path.read_text(), "here", torch.device("cpu"), trained, lambda _: None
    )
    found = estimate.estimate(prepared, prepared.cohorts(prepared.cells, None), [])
    assert found.tmac == pytest.approx(found.alone)


def test_the_plan_and_the_status_know_how_long_each_cell_trains(trained: Path) -> None:
    lengths = {cell["row"]: cell["length"] for cell in plan(trained)["cells"]}
    assert lengths["longer"] == {"early": 0, "epochs": 4}
    assert lengths["ab"] == {"early": 1, "epochs": 2}
    assert lengths["born_again"] == {"early": 2, "epochs": 2}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(status.state(trained / "tiny"))
    reached = {
        words[1]: words[5] for line in capture.get().splitlines()[2:] if (words := line.split())
    }
    assert reached == {
        "teacher": "1/1", "student": "2/2", "kd": "2/2", "longer": "4/4", "born_again": "4/4", "dml": "2/2",
        "random_teacher": "2/2", "ab": "3/3", "mlld": "2/2", "simkd": "2/2",
    }  # fmt: skip


def test_methods_that_learn_from_different_networks_cannot_be_one() -> None:
    with pytest.raises(
        methods.SettingError, match=r"^dml\+kd: one learns from the peer and one from the teacher"
    ):
        methods.create("dml+kd")
    assert methods.create("dml+label_smoothing").tapped() == Needs(logits=True, companion="peer")


def test_a_companion_of_the_students_kind_is_what_a_method_is_built_for() -> None:
    student, teacher = (
        create.tapped(Network(model=name), "here", (3, 32, 32), 10, (0.5,) * 3, (0.5,) * 3)
        for name in (STUDENT, TEACHER)
    )
    peer = pairing.probe(
        student, teacher, Needs(logits=True, companion="peer"), samples=8, batch_size=4
    )
    assert peer.teacher == peer.student
    other = pairing.probe(
        student, teacher, Needs(logits=True, companion="untrained"), samples=8, batch_size=4
    )
    assert other.teacher != other.student


def test_rows_whose_weights_were_published_for_another_batch_size_are_named_once(
    workspace: Path,
) -> None:
    said: list[str] = []
    content = tiny(["student", "kd", "rkd", "crd"])
    path = workspace / "study.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    prepare.prepare(
        study.load(path), path.read_text(), "here", torch.device("cpu"), workspace, said.append
    )
    assert said == [
        "published weights of rkd, crd were found with batches of 64, this recipe has 16"
    ]


def test_a_plan_with_every_kind_of_method_lists_all_cells(trained: Path) -> None:
    assert len(plan(trained)["cells"]) == 9
