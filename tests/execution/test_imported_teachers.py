"""Imported teachers are measured, stored, and named by the hash of their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from benchmark.records.checkpoints import sha256
from benchmark.records.layout import CellFiles
from tests.support.commandline import in_mlflow, kdbench
from tests.support.networks import TEACHER
from tests.support.records import make_early, read_journal
from tests.support.studies import folders, plan, tiny, write_study

pytestmark = pytest.mark.trains


def untrained(seed: int = 3, classes: int = 10) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state: dict[str, torch.Tensor] = timm.create_model(
            TEACHER, num_classes=classes
        ).state_dict()
    return state


def study_with(teacher: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return tiny(
        ["student", "kd"],
        pairs=[
            {"name": "pair", "teacher": {"model": TEACHER, **teacher}, "student": "test_byobnet"}
        ],
        **changes,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights as another program saves them."""
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in untrained().items()}}, tmp_path / "theirs.pth"
    )
    return tmp_path / "theirs.pth"


@pytest.fixture
def digits() -> str:
    return sha256(untrained())[:12]


def test_imported_weights_are_measured_and_told_by_their_hash(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({}))
    done = kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{TEACHER}: ")
    assert f"teacher {TEACHER}: evaluating " in done.err
    assert done.out.rstrip().endswith(f'weights: "{digits}"')
    assert f'write `weights: "{digits}"` under the teacher in {study}' in done.err
    (card,) = (json.loads(path.read_text()) for path in workspace.glob("teachers/*/card.json"))
    assert card["sha256"][:12] == digits
    assert (card["source"], card["classes"], "val/acc1" in card) == ("theirs.pth", 10, False)
    listed = kdbench("--workspace", workspace, "teachers", "list")
    assert [
        word in listed.out for word in (digits, TEACHER, "theirs.pth", f"{card['test/acc1']:.2f}")
    ] == [True] * 4


def test_a_study_is_taught_by_imported_weights_and_tells_so_everywhere(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({"weights": digits}))
    assert (
        kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu").code
        == 0
    )
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    assert kdbench("--workspace", workspace, "sync", study).code == 0
    (teacher,) = plan(workspace)["teachers"]
    assert (teacher["teacher_id"], teacher["recipe"]) == (digits, {"epochs": 0})
    kinds = [
        record["kind"]
        for record in read_journal(workspace / "tiny" / teacher["folder"] / "journal.jsonl")
    ]
    assert kinds == ["start", "trained", "final"]
    runs = {run["method"]: run for run in in_mlflow(workspace)}
    assert {run["teacher_id"] for run in runs.values()} == {digits}
    assert runs["teacher"]["status"] == "FINISHED"
    again = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert "0 cells trained, 2 already done" in again.err
    dry = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--dry-run")
    assert "in the store, " in dry.out
    assert kdbench("--workspace", workspace, "status", study).code == 0


def test_cells_that_learn_from_other_weights_are_other_cells(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({"weights": digits}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    first = {path.name for path in folders(workspace).values()}
    other = file.with_name("other.safetensors")
    safetensors.torch.save_file(untrained(4), other)
    kdbench("--workspace", workspace, "teachers", "import", other, study, "--device", "cpu")
    write_study(study, study_with({"weights": sha256(untrained(4))[:12]}))
    kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert not first & {path.name for path in folders(workspace).values()}


def test_the_normalisation_of_the_import_is_the_one_that_is_used(
    file: Path, digits: str, workspace: Path
) -> None:
    colours = {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3]}
    study = write_study(workspace / "s.yaml", study_with(colours))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    (card,) = (json.loads(path.read_text()) for path in workspace.glob("teachers/*/card.json"))
    assert (card["network"]["mean"], card["network"]["std"]) == (colours["mean"], colours["std"])
    write_study(study, study_with({**colours, "weights": digits}))
    assert kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--dry-run").code == 0
    write_study(
        study, study_with({"mean": [0.1, 0.4, 0.3], "std": colours["std"], "weights": digits})
    )
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--dry-run")
    assert done.code == 2
    message = (
        "pairs[0].teacher.mean: is [0.1, 0.4, 0.3], but the stored teacher has "
        "[0.5, 0.4, 0.3]; correct it, or name other weights"
    )
    assert message in done.err


def test_weights_that_nobody_imported_are_one_line_with_the_remedy(workspace: Path) -> None:
    study = write_study(workspace / "s.yaml", study_with({"weights": "0123456789ab"}))
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"{study}: pairs[0].teacher.weights: no teacher in " in done.err
    assert "matches 0123456789ab; list them with `kdbench teachers list` or" in done.err
    assert "add one with `kdbench teachers import`" in done.err


def test_weights_of_another_network_or_for_other_classes_are_refused(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    write_study(study, study_with({"weights": digits, "model": "test_resnet.r160_in1k"}))
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu")
    assert done.code == 2
    message = (
        "pairs[0].teacher.model: is test_resnet.r160_in1k, but the stored teacher "
        f"has {TEACHER}; correct it, or name other weights"
    )
    assert message in done.err
    torch.save(untrained(classes=7), file)
    write_study(study, study_with({}))
    done = kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert (
        f"{file}: these are not weights of {TEACHER}: of another shape: fc.weight is [7, "
        in done.err
    )


def imported(file: Path, workspace: Path, *options: str) -> Any:
    study = write_study(workspace / "s.yaml", study_with({}))
    call = ("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    return kdbench(*call, *options)


def test_weights_that_are_not_finite_are_refused_and_not_stored(
    tmp_path: Path, workspace: Path
) -> None:
    for value in (float("nan"), float("inf")):
        state = untrained()
        state["fc.bias"][3] = value
        torch.save(state, tmp_path / "diverged.pth")
        done = imported(tmp_path / "diverged.pth", workspace)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert "diverged.pth: 1 of " in done.err
        assert "tensors contain NaN or infinite values: fc.bias; the training" in done.err
    assert not list(workspace.glob("teachers/*"))


def test_weights_with_outputs_that_are_not_finite_are_refused_and_not_stored(
    tmp_path: Path, workspace: Path
) -> None:
    state = untrained()
    name = next(key for key in state if key.endswith("running_var"))
    state[name] -= 1e4  # the square root of a negative variance
    torch.save(state, tmp_path / "odd.pth")
    done = imported(tmp_path / "odd.pth", workspace)
    assert done.code == 2
    assert "its outputs on the test images are not finite" in done.err
    assert not list(workspace.glob("teachers/*/card.json"))


def test_of_plain_and_averaged_weights_the_choice_is_told_and_can_be_made(
    tmp_path: Path, workspace: Path
) -> None:
    plain, averaged = untrained(1), untrained(2)
    torch.save({"state_dict_ema": averaged, "state_dict": plain}, tmp_path / "both.pth")

    done = imported(tmp_path / "both.pth", workspace)
    assert done.out.rstrip().endswith(f'weights: "{sha256(plain)[:12]}"')
    assert (
        "both.pth: takes the weights at state_dict; it also contains state_dict_ema (averaged); "
        "choose with --entry"
    ) in done.err

    done = imported(tmp_path / "both.pth", workspace, "--entry", "state_dict_ema")
    assert done.out.rstrip().endswith(f'weights: "{sha256(averaged)[:12]}"')
    assert "choose with" not in done.err

    done = imported(tmp_path / "both.pth", workspace, "--entry", "ema")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert done.err.rstrip().endswith(
        "has no weights at 'ema'; choose from state_dict, state_dict_ema"
    )


def test_an_import_that_is_not_what_the_study_asks_for_is_told(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({"weights": "0123456789ab"}))
    done = kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    assert done.code == 0
    assert f"{study} specifies other weights: 0123456789ab" in done.err


def test_an_imported_teacher_below_its_gate_on_the_test_images_teaches_nobody(
    file: Path, digits: str, workspace: Path
) -> None:
    study = write_study(workspace / "s.yaml", study_with({"weights": digits, "min_accuracy": 99}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"{study}: pairs[0].teacher.min_accuracy: is 99, but {TEACHER} reaches only " in done.err
    assert done.err.rstrip().endswith(
        "% on the test images; use another teacher, or lower the minimum"
    )
    assert not list(workspace.glob("tiny/cells/*"))


def test_verify_measures_again_and_finds_a_changed_bit(file: Path, workspace: Path) -> None:
    study = write_study(workspace / "s.yaml", study_with({}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    good = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert good.code == 0, good.err
    assert good.out.rstrip().endswith("% test accuracy, as stored")
    (path,) = workspace.glob("teachers/*/student.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    bad = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert bad.code == 1
    assert f"{path}: SHA-256 is " in bad.out


def test_verify_finds_an_accuracy_that_is_no_longer_reached(file: Path, workspace: Path) -> None:
    study = write_study(workspace / "s.yaml", study_with({}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    (path,) = workspace.glob("teachers/*/card.json")
    edited = {**json.loads(path.read_text()), "test/acc1": 99.0}
    path.write_text(json.dumps(edited))
    bad = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert bad.code == 1
    assert bad.out.startswith(f"{path}: has been changed since it was written; ")

    del edited["digest"]  # as in cards of earlier versions
    path.write_text(json.dumps(edited))
    make_early(CellFiles(path.parent))
    bad = kdbench("--workspace", workspace, "teachers", "verify", "--device", "cpu")
    assert (bad.code, bad.out.rstrip().endswith("stored with 99.00 %")) == (1, True)


def test_train_makes_the_teachers_of_a_study_and_no_student(workspace: Path) -> None:
    study = write_study(workspace / "s.yaml", tiny(["kd"]))
    done = kdbench("--workspace", workspace, "teachers", "train", study, "--device", "cpu")
    assert done.code == 0, done.err
    assert TEACHER in done.out
    assert plan(workspace)["cells"] == []
    run = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert "1 cell trained" in run.err
    (digits,) = {cell["teacher_id"] for cell in plan(workspace)["cells"]}
    content = study_with({"weights": digits})
    write_study(study, {**content, "name": "second", "split": {"val": 50, "train_samples": 40}})
    assert (
        kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track").code == 0
    )
    assert {cell["teacher_id"] for cell in plan(workspace, "second")["cells"]} == {digits}


def test_pretrained_weights_for_the_same_classes_teach_as_they_are(
    tmp_path: Path, workspace: Path
) -> None:
    safetensors.torch.save_file(untrained(), tmp_path / "hub.safetensors")
    overlay = {"file": str(tmp_path / "hub.safetensors"), "num_classes": 10}
    content = study_with({"pretrained": True, "kwargs": {"pretrained_cfg_overlay": overlay}})
    study = write_study(workspace / "s.yaml", content)
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    (teacher,) = plan(workspace)["teachers"]
    assert (teacher["teacher_id"], teacher["recipe"]) == (sha256(untrained())[:12], {"epochs": 0})


def test_a_runs_file_in_mlflow_is_imported(file: Path, digits: str, workspace: Path) -> None:
    import mlflow

    study = write_study(workspace / "s.yaml", tiny(["student"]))
    untracked = ("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert kdbench(*untracked).code == 0
    assert kdbench("--workspace", workspace, "sync", study).code == 0
    client = mlflow.MlflowClient(f"sqlite:///{workspace}/mlflow.db")
    run = in_mlflow_run(client)
    client.log_artifact(run, str(file), "weights")
    write_study(study, study_with({}))
    address = f"runs:/{run}/weights/theirs.pth"
    done = kdbench(
        "--workspace", workspace, "teachers", "import", address, study, "--device", "cpu"
    )
    assert done.code == 0, done.err
    assert done.out.rstrip().endswith(f'weights: "{digits}"')
    wrong = kdbench(
        "--workspace",
        workspace,
        "teachers",
        "import",
        f"runs:/{run}/none.pth",
        study,
        "--device",
        "cpu",
    )
    assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
    short = kdbench(
        "--workspace", workspace, "teachers", "import", f"runs:/{run}", study, "--device", "cpu"
    )
    assert (short.code, len(short.err.splitlines())) == (2, 1)


def in_mlflow_run(client: Any) -> str:
    """The identity of any run of the study."""
    experiment = client.get_experiment_by_name("kd/tiny")
    run_id: str = client.search_runs([experiment.experiment_id])[0].info.run_id
    return run_id


@pytest.mark.usefixtures("no_figures")
def test_the_legacy_protocol_trains_on_all_and_says_so(workspace: Path) -> None:
    content = tiny(["student"], split="legacy", recipe={"epochs": 1, "batch_size": 256})
    (pair,) = content["pairs"]
    content["pairs"] = [{**pair, "teacher": TEACHER}]
    study = write_study(workspace / "s.yaml", content)
    done = kdbench("--workspace", workspace, "run", study, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    assert kdbench("--workspace", workspace, "sync", study).code == 0
    (folder,) = folders(workspace).values()
    (epoch,) = [
        record for record in read_journal(folder / "journal.jsonl") if record["kind"] == "epoch"
    ]
    assert not [name for name in epoch["metrics"] if name.startswith("val/")]
    split = json.loads((workspace / "tiny" / "split.json").read_text())
    assert (len(split["train"]), split["val"]) == (1348, [])
    table = kdbench(
        "--workspace", workspace, "leaderboard", study, "--results", workspace / "results"
    )
    assert "Legacy protocol: networks were trained on all" in " ".join(table.out.split())
    assert kdbench("--workspace", workspace, "status", study).code == 0


def test_the_legacy_protocol_leaves_no_epoch_to_choose(workspace: Path) -> None:
    study = write_study(workspace / "s.yaml", tiny(["student"], split="legacy", select="best_val"))
    done = kdbench("--workspace", workspace, "run", study)
    assert done.code == 2
    assert "split 'legacy' has no validation images; use 'last'" in done.err


@pytest.mark.slow
def test_a_teacher_is_measured_again_when_the_study_tests_on_other_images(
    file: Path, digits: str, workspace: Path
) -> None:
    """Its weights are the same, so it keeps its folder in the study."""
    study = write_study(workspace / "s.yaml", study_with({}))
    kdbench("--workspace", workspace, "teachers", "import", file, study, "--device", "cpu")
    (card,) = (json.loads(path.read_text()) for path in workspace.glob("teachers/*/card.json"))

    measured = []
    for samples in (44, 85, None):
        split = {"val": 0.2} | ({} if samples is None else {"test_samples": samples})
        write_study(study, study_with({"weights": digits}, split=split))
        done = kdbench("--workspace", workspace, "run", study, "--device", "cpu")
        assert done.code == 0, done.err

        (teacher,) = plan(workspace)["teachers"]
        results = json.loads((workspace / "tiny" / teacher["folder"] / "done.json").read_text())
        (run,) = (run for run in in_mlflow(workspace) if run["kdbench.kind"] == "teacher")
        assert run["test/acc1"] == results["metrics"]["test/acc1"]
        measured.append(results["metrics"]["test/acc1"])

    assert measured[-1] == card["test/acc1"]
    assert len(set(measured)) == 3
