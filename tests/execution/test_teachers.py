"""A teacher is trained once, stored under the hash of how, and measured before it teaches."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark import data
from benchmark.errors import InputError
from benchmark.execution import teachers
from benchmark.execution.required_teachers import RequiredTeacher, required_teachers
from benchmark.execution.teacher_store import TeacherStore
from benchmark.hashing import identity
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study import study
from benchmark.training import member
from benchmark.training import teacher as training_teacher
from benchmark.training.progress import Progress
from tests.execution.helpers import of_timm, prepared, session
from tests.support.networks import STUDENT, TEACHER
from tests.support.records import read_journal
from tests.support.studies import bits, plan, run, tiny

pytestmark = pytest.mark.trains

RECORD = ("config.json", "journal.jsonl", "done.json")
"""The files that a study keeps of a stored teacher."""


def two_pairs(
    gates: tuple[float | None, float | None] = (None, None), **second: Any
) -> dict[str, Any]:
    """A study whose second pair has the first one's teacher, with the changes in `second`."""
    content = tiny(["student"])
    first = content["pairs"][0]
    teacher = {name: value for name, value in first["teacher"].items() if name != "min_accuracy"}
    pairs = [
        first,
        {"name": "other", "teacher": {**teacher, **second}, "student": "test_efficientnet"},
    ]
    for pair, gate in zip(pairs, gates, strict=True):
        if gate is not None:
            pair["teacher"] = {**pair["teacher"], "min_accuracy": gate}
    return {**content, "pairs": pairs}


def with_teacher(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (pair,) = content["pairs"]
    return {**content, "pairs": [{**pair, "teacher": {**pair["teacher"], **changes}}]}


def stored(workspace: Path) -> Path:
    """The folder of the only teacher in the store."""
    (folder,) = (path for path in (workspace / "teachers").iterdir() if path.is_dir())
    return folder


def required(content: dict[str, Any], fingerprint: str = "fingerprint") -> list[RequiredTeacher]:
    """The teachers that a study requires, whatever its data are."""
    images: Any = SimpleNamespace(fingerprint=fingerprint, classes=10)
    store = TeacherStore(Workspace(Path("nowhere")))
    return required_teachers(study.Study.model_validate(content), images, store)


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Counting(Progress):
    """Lists the trainings that start, teachers apart; interrupts after some epochs of a teacher."""

    def __init__(self, teacher_epochs: int | None = None):
        self.teachers: list[str] = []
        self.students: list[str] = []
        self.left = teacher_epochs

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        (self.teachers if cell.startswith("teacher") else self.students).append(cell)

    def epoch(self, cell: str, *_: Any) -> None:
        if cell.startswith("teacher") and self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace where a teacher has taught one student."""
    workspace = tmp_path_factory.mktemp("taught")
    counting = Counting()
    assert not run(workspace, tiny(["student"]), counting).failed
    assert counting.teachers == [f"teacher {TEACHER}"]
    return workspace


@pytest.fixture
def copy(taught: Path, workspace: Path) -> Path:
    """The same workspace, to be spoiled."""
    shutil.copytree(taught, workspace)
    return workspace


def test_a_stored_teacher_is_what_was_measured(taught: Path) -> None:
    folder = stored(taught)
    card = json.loads((folder / "card.json").read_text())
    results = bits(folder)
    assert folder.name == card["key"] == identity(json.loads((folder / "config.json").read_text()))
    assert card["sha256"] == results["sha256"]
    assert card["val/acc1"] == results["epochs"][-1]["val/acc1"]
    assert card["test/acc1"] == results["final"]["test/acc1"]
    (cell,) = plan(taught)["cells"]
    assert cell["teacher_id"] == card["sha256"][:12]


def test_a_second_study_takes_the_teacher_from_the_store_as_it_is(copy: Path) -> None:
    before, counting = content_of(stored(copy)), Counting()
    run(copy, {**tiny(["kd"]), "name": "second"}, counting)
    assert counting.teachers == []
    assert counting.students == ["pair / kd / seed 0"]
    assert content_of(stored(copy)) == before
    (entry,) = plan(copy, "second")["teachers"]
    record = copy / "second" / entry["folder"]
    assert record.name == stored(copy).name
    assert content_of(record) == {name: before[name] for name in RECORD}


def test_both_studies_records_of_a_teacher_are_equal(copy: Path) -> None:
    run(copy, {**tiny(["student"]), "name": "second"})
    first, second = (
        copy / name / plan(copy, name)["teachers"][0]["folder"] for name in ("tiny", "second")
    )
    assert content_of(first) == content_of(second)


def test_a_lent_record_that_was_half_written_is_written_again(copy: Path) -> None:
    record = copy / "tiny" / plan(copy)["teachers"][0]["folder"]
    whole = content_of(record)
    (record / "done.json").unlink()
    (record / "journal.jsonl").write_text("half")
    counting = Counting()
    run(copy, tiny(["student"]), counting)
    assert counting.teachers == []
    assert content_of(record) == whole


def test_two_pairs_with_one_teacher_train_it_once(workspace: Path) -> None:
    counting = Counting()
    summary = run(workspace, two_pairs(), counting)
    assert (summary.trained, summary.failed) == (2, {})
    assert counting.teachers == [f"teacher {TEACHER}"]
    (entry,) = plan(workspace)["teachers"]
    assert entry["pairs"] == ["pair", "other"]
    assert len({cell["teacher_id"] for cell in plan(workspace)["cells"]}) == 1


@pytest.mark.parametrize(
    ("second", "keys"),
    [
        ({}, 1),
        ({"min_accuracy": 2}, 1),
        ({"kwargs": {}}, 1),
        ({"seed": 1}, 2),
        ({"kwargs": {"drop_rate": 0.1}}, 2),
        ({"model": STUDENT}, 2),
        ({"recipe": {"epochs": 3, "batch_size": 16}}, 2),
        ({"recipe": None}, 2),
    ],
)
def test_a_teacher_is_another_one_if_it_is_trained_in_another_way(
    second: dict[str, Any], keys: int
) -> None:
    every = required(two_pairs(**second))
    assert len(every) == len({teacher.key for teacher in every}) == keys
    assert [name for teacher in every for name in teacher.pairs] == ["pair", "other"]
    assert every[0].location == "pairs[0].teacher"


def test_apart_from_code_a_teachers_key_is_as_it_always_was() -> None:
    (teacher,) = required(of_timm())
    assert teacher.key == identity(teacher.configuration)
    plain = {key: value for key, value in teacher.configuration.items() if key != "code"}
    assert identity(plain) == "2bef42e320af"  # another key would train every stored teacher again


def test_a_teachers_key_changes_with_the_data_and_the_selection_and_not_with_the_students() -> None:
    def key(content: dict[str, Any], fingerprint: str = "fingerprint") -> str:
        (teacher,) = required(content, fingerprint)
        return teacher.key

    same = {**tiny(["at"], seeds=[5, 6], recipe={"epochs": 9}), "name": "other", "question": "why?"}
    assert key(same) == key(tiny())
    others = [
        key(tiny(), "other"),
        key(tiny(select="best_val")),
        key(tiny(split={"val": 41, "train_samples": 48})),
        key(with_teacher(tiny(), seed=1)),
    ]
    assert len({key(tiny()), *others}) == 5


@pytest.mark.parametrize(
    ("gates", "expected"),
    [((None, None), None), ((30, None), 30), ((None, 30), 30), ((30, 60), 60), ((60, 30), 60)],
)
def test_the_strictest_gate_of_all_pairs_holds(
    gates: tuple[float | None, float | None], expected: float
) -> None:
    (teacher,) = required(two_pairs(gates))
    assert teacher.min_accuracy == expected
    place = gates.index(expected)
    assert teacher.gate_location == f"pairs[{place}].teacher.min_accuracy"


def test_a_teacher_below_its_gate_teaches_nobody_and_is_named(copy: Path) -> None:
    accuracy = json.loads((stored(copy) / "card.json").read_text())["val/acc1"]
    counting = Counting()
    with pytest.raises(InputError) as error:
        run(copy, {**with_teacher(tiny(["student"]), min_accuracy=99.5), "name": "gated"}, counting)
    assert str(error.value) == (
        f"{copy / 'study.yaml'}: pairs[0].teacher.min_accuracy: is 99.5, but {TEACHER} "
        f"reaches only {accuracy:.2f} % on the validation images; train it longer, or "
        "lower the minimum"
    )
    assert counting.teachers == counting.students == []
    assert not (copy / "gated" / "cells").exists()
    assert plan(copy, "gated")["cells"] == []


def test_a_teacher_at_its_gate_teaches(copy: Path) -> None:
    accuracy = json.loads((stored(copy) / "card.json").read_text())["val/acc1"]
    summary = run(copy, {**with_teacher(tiny(["student"]), min_accuracy=accuracy), "name": "gated"})
    assert summary.trained == 1


def test_the_gate_of_a_second_pair_is_named_by_its_own_place(copy: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\[1\]\.teacher\.min_accuracy: is 99\.5"):
        run(copy, {**two_pairs((None, 99.5)), "name": "gated"})


@pytest.mark.parametrize("place", [0, 40, -1])
def test_weights_with_one_changed_bit_are_refused_and_the_file_is_named(
    place: int, copy: Path
) -> None:
    path = stored(copy) / "student.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    counting = Counting()
    with pytest.raises(InputError) as error:
        run(copy, {**tiny(["kd"]), "name": "second"}, counting)
    assert f"{path}: SHA-256 is " in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert counting.teachers == counting.students == []


def test_missing_weights_are_refused_and_the_file_is_named(copy: Path) -> None:
    path = stored(copy) / "student.safetensors"
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: missing; delete the folder "):
        run(copy, {**tiny(["kd"]), "name": "second"})


@pytest.mark.parametrize("text", ["", "{", '{"sha256": "abc'])
def test_a_damaged_card_is_one_line_with_a_remedy(text: str, copy: Path) -> None:
    path = stored(copy) / "card.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        run(copy, {**tiny(["kd"]), "name": "second"})
    message = str(error.value)
    assert f"{path}: damaged (" in message
    assert message.endswith(
        f"; delete the folder {path.parent} to train or import this teacher again"
    )
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("text", ["[]", "{}", '"card"'])
def test_a_card_that_holds_something_else_is_one_line_too(text: str, copy: Path) -> None:
    (stored(copy) / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json"):
        run(copy, {**tiny(["kd"]), "name": "second"})


@pytest.mark.parametrize("whole_store", [False, True])
def test_a_deleted_teacher_is_trained_again_to_the_same_bits(
    whole_store: bool, taught: Path, copy: Path
) -> None:
    shutil.rmtree(copy / "teachers" if whole_store else stored(copy))
    counting = Counting()
    summary = run(copy, tiny(["student"]), counting)
    assert counting.teachers == [f"teacher {TEACHER}"]
    assert (summary.trained, summary.already_done) == (0, 1)
    assert bits(stored(copy)) == bits(stored(taught))
    name = "student.safetensors"
    assert (stored(copy) / name).read_bytes() == (stored(taught) / name).read_bytes()


def test_an_interrupted_teacher_goes_on_and_equals_an_uninterrupted_one(
    workspace: Path, tmp_path: Path
) -> None:
    recipe = {"epochs": 3, "batch_size": 16, "augmentation": {"crop_padding": 2, "flip": True}}
    content = with_teacher(tiny(["kd"]), recipe=recipe)
    run(tmp_path / "whole", content)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, content, Counting(teacher_epochs=2))
    assert [path for path in (workspace / "teachers").iterdir() if path.is_dir()] == []
    run(workspace, content)
    starts = [
        r["epoch"]
        for r in read_journal(stored(workspace) / "journal.jsonl")
        if r["kind"] == "start"
    ]
    assert starts == [0, 2]
    assert bits(stored(workspace)) == bits(stored(tmp_path / "whole"))
    assert [c["id"] for c in plan(workspace)["cells"]] == [
        c["id"] for c in plan(tmp_path / "whole")["cells"]
    ]


def test_a_training_that_ended_before_it_was_published_is_not_repeated(
    taught: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TeacherStore, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, tiny(["student"]))
    counting = Counting()
    run(workspace, tiny(["student"]), counting)
    assert counting.teachers == []
    assert bits(stored(workspace)) == bits(stored(taught))


def test_a_teacher_that_cannot_be_trained_ends_the_study_with_the_reason(workspace: Path) -> None:
    recipe = {"epochs": 1, "batch_size": 16, "optimizer": {"lr": 1e30}}
    counting = Counting()
    with pytest.raises(
        InputError, match=rf"pairs\[0\]\.teacher: {TEACHER} could not be trained: non-finite"
    ):
        run(workspace, with_teacher(tiny(["student"]), recipe=recipe), counting)
    assert counting.students == []
    assert not any(path.is_dir() for path in (workspace / "teachers").iterdir())


def test_a_teacher_that_cannot_be_trained_ends_the_cells_of_its_pair_alone(
    workspace: Path,
) -> None:
    wild = {"epochs": 1, "batch_size": 16, "optimizer": {"lr": 1e30}}
    content = two_pairs(recipe=wild)
    summary = run(workspace, content)
    (reason,) = summary.failed.values()
    assert list(summary.failed) == ["other / student / seed 0"]
    assert reason.startswith(f"pairs[1].teacher: {TEACHER} could not be trained: non-finite")
    assert (summary.planned, summary.trained, summary.already_done) == (2, 1, 0)
    assert [cell["pair"] for cell in plan(workspace)["cells"]] == ["pair"]
    assert [teacher["teacher_id"] == "" for teacher in plan(workspace)["teachers"]] == [False, True]

    again = run(workspace, content)
    assert (again.trained, again.already_done, again.failed) == (0, 1, summary.failed)


def test_every_teacher_is_tried_and_each_that_cannot_be_trained_is_named(workspace: Path) -> None:
    wild = {"epochs": 1, "batch_size": 16, "optimizer": {"lr": 1e30}}
    content = two_pairs(recipe={**wild, "epochs": 2})
    content["pairs"][0]["teacher"]["recipe"] = wild
    counting = Counting()
    with pytest.raises(InputError) as raised:
        run(workspace, content, counting)
    assert [line.partition(": ")[2].partition(":")[0] for line in raised.value.args] == [
        "pairs[0].teacher",
        "pairs[1].teacher",
    ]
    assert len(counting.teachers) == 2
    assert counting.students == []


def test_a_teacher_looks_with_the_weights_that_were_stored(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[training_teacher.Teacher] = []
    load = teachers.load

    def kept(*arguments: Any) -> training_teacher.Teacher:
        seen.append(load(*arguments))
        return seen[-1]

    monkeypatch.setattr(teachers, "load", kept)
    run(copy, tiny(["student"]))
    (teacher,) = seen
    store = TeacherStore(Workspace(copy))
    card = store.card(stored(copy).name)
    assert card is not None
    assert teacher.sha256 == card.sha256
    weights = store.weights(card)
    assert all(
        torch.equal(value, weights[name])
        for name, value in teacher.model.network.state_dict().items()
    )


def test_a_teacher_and_a_student_of_one_model_and_seed_start_from_different_weights(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: dict[str, torch.Tensor] = {}
    step = member.Member.step

    def spy(self: member.Member, *arguments: Any) -> None:
        first.setdefault(
            self.task.label, torch.cat([p.detach().flatten() for p in self.student.parameters()])
        )
        step(self, *arguments)

    monkeypatch.setattr(member.Member, "step", spy)
    run(workspace, with_teacher(tiny(["student"]), model=STUDENT))
    teacher, student = first.values()
    assert teacher.shape == student.shape
    assert not torch.equal(teacher, student)


def test_a_second_process_waits_for_a_teacher_that_is_being_trained_and_then_takes_it(
    taught: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []

    class Listening(Counting):
        def warn(self, text: str) -> None:
            warnings.append(text)
            shutil.copytree(
                stored(taught), workspace / "teachers" / key
            )  # the other process is ready
            other.release()

    (key,) = (teacher["id"] for teacher in plan(taught)["teachers"])
    (workspace / "teachers").mkdir(parents=True)
    other = teachers.FileLock(workspace / "teachers" / f"{key}.lock", is_singleton=False)  # type: ignore[attr-defined]
    other.acquire()
    counting = Listening()
    run(workspace, tiny(["student"]), counting)
    assert warnings == [
        f"teacher {TEACHER} is being trained or measured by another process; waiting for it"
    ]
    assert counting.teachers == []
    assert counting.students == ["pair / student / seed 0"]


def test_a_study_waits_while_another_one_repairs_a_teacher_whose_journal_lacks_its_last_record(
    copy: Path,
) -> None:
    folder = stored(copy)
    journal = folder / "journal.jsonl"
    whole = journal.read_bytes()
    cut = b"".join(whole.splitlines(keepends=True)[:-1])
    journal.write_bytes(cut)
    other = teachers.FileLock(copy / "teachers" / f"{folder.name}.lock", is_singleton=False)  # type: ignore[attr-defined]
    found: list[tuple[str, bytes]] = []

    class Healing(Progress):
        def warn(self, text: str) -> None:
            found.append((text, journal.read_bytes()))
            journal.write_bytes(whole)  # the other process is ready
            other.release()

    other.acquire()
    content = prepared(tiny(["student"]), copy)
    (teacher,) = content.teachers
    record = StudyFolder(copy / "tiny").teacher(teacher.key)
    teachers.obtain(teacher, record, content, replace(session(copy), progress=Healing()))

    waiting = "is being trained or measured by another process; waiting for it"
    assert found == [(f"teacher {TEACHER} {waiting}", cut)]
    assert journal.read_bytes() == whole


def test_a_teacher_in_a_store_that_cannot_be_locked_is_checked_and_taken(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(teachers, "exclusive", refuse)
    content = prepared(tiny(["student"]), copy)
    (teacher,) = content.teachers
    record = StudyFolder(copy / "tiny").teacher(teacher.key)
    card = json.loads((stored(copy) / "card.json").read_text())
    taken = teachers.obtain(teacher, record, content, session(copy))
    assert taken.sha256 == card["sha256"]

    (stored(copy) / "done.json").unlink()
    with pytest.raises(InputError, match=r"done\.json: missing; delete the folder"):
        teachers.obtain(teacher, record, content, session(copy))


def test_a_teacher_trains_with_the_studys_recipe_unless_it_has_its_own(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    begin = data.Data.epoch

    def counted(self: data.Data, seed: int, epoch: int, *rest: Any) -> Any:
        epochs.append(epoch)
        return begin(self, seed, epoch, *rest)

    monkeypatch.setattr(data.Data, "epoch", counted)
    run(workspace, with_teacher(tiny(["student"]), recipe=None))
    assert epochs == [0, 1, 0, 1]
    (entry,) = plan(workspace)["teachers"]
    assert entry["recipe"] == plan(workspace)["cells"][0]["recipe"]
