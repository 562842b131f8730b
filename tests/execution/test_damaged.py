"""Damage to a cell is healed, or the cell is set aside and trained again; the others go on."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark import files as files_module
from benchmark.errors import InputError
from benchmark.execution import damaged
from benchmark.execution.run import Summary
from benchmark.execution.teacher_store import TeacherStore
from benchmark.execution.verification import verify_files
from benchmark.files import write_json
from benchmark.records import checkpoints, journal
from benchmark.records.integrity import check_cell
from benchmark.records.journal import Journal, Record, decode_line, encode_line
from benchmark.records.layout import CellFiles, Workspace
from tests.execution.helpers import Remembering
from tests.support.commandline import ended, launched
from tests.support.records import make_early
from tests.support.studies import Interrupt, Listening, bits, folders, run, tiny

pytestmark = pytest.mark.trains

Damage = Callable[[CellFiles], object]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose two cells were interrupted after three of four epochs; never changed."""
    workspace = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        run(workspace, long(), Interrupt(after=6))
    return workspace


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study without an interruption."""
    workspace = tmp_path_factory.mktemp("whole")
    assert run(workspace, long()).trained == 2
    return workspace


def long() -> dict[str, Any]:
    return tiny(select="best_val", recipe={"epochs": 4})


def copied(workspace: Path, folder: Path) -> Path:
    """Copy a workspace; without the notes of the last run, everything is checked."""
    return Path(shutil.copytree(workspace, folder / "copy"))


def files_of(workspace: Path, name: str = "kd/0") -> CellFiles:
    return CellFiles(folders(workspace)[name])


def cut(files: CellFiles, keep: int) -> None:
    """Keep the first records of a journal, or all but the last ones for a negative number."""
    lines = files.journal.read_bytes().splitlines(keepends=True)
    files.journal.write_bytes(b"".join(lines[:keep]))


def without(files: CellFiles, number: int) -> None:
    """Remove a record of a journal."""
    lines = files.journal.read_bytes().splitlines(keepends=True)
    del lines[number]
    files.journal.write_bytes(b"".join(lines))


def flip(path: Path) -> None:
    """Change a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_record(files: CellFiles, number: int, **values: Any) -> None:
    """Change metrics of a record, and correct its checksum as somebody who cheats would."""
    lines = files.journal.read_bytes().splitlines(keepends=True)
    content = decode_line(lines[number])
    assert content is not None
    content["metrics"] |= values
    lines[number] = encode_line(content)
    files.journal.write_bytes(b"".join(lines))


def edit_json(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text()) | values)


def unlink(name: str) -> Damage:
    return lambda files: (files.path / name).unlink()


def edit_done(files: CellFiles) -> None:
    metrics = json.loads(files.done.read_text())["metrics"]
    edit_json(files.done, metrics=metrics | {"test/acc1": 99.0})


def rename_key(files: CellFiles, old: str, new: str = "") -> None:
    """Rename a key of a marker, as a flipped bit can, or remove it."""
    content = json.loads(files.done.read_text())
    value = content.pop(old)
    write_json(files.done, content | ({new: value} if new else {}))


HEALED: dict[str, Damage] = {
    "lost its last record": lambda files: cut(files, -1),
    "last record torn": lambda files: files.journal.write_bytes(files.journal.read_bytes()[:-9]),
    "done.json deleted": unlink("done.json"),
    "done.json emptied": lambda files: files.done.write_bytes(b""),
    "accuracy in done.json edited": edit_done,
    "done.json of another epoch": lambda files: edit_json(files.done, epoch=7),
    "extent in done.json renamed": lambda files: rename_key(files, "journal", "jourmal"),
    "size in done.json removed": lambda files: rename_key(files, "size"),
    "time in done.json removed": lambda files: rename_key(files, "time"),
    "configuration in done.json removed": lambda files: rename_key(files, "configuration"),
}
"""Damage to a finished cell that its other files make good."""

RETRAINED: dict[str, Damage] = {
    "lost its last two records": lambda files: cut(files, -2),
    "emptied": lambda files: cut(files, 0),
    "journal deleted": unlink("journal.jsonl"),
    "without start": lambda files: without(files, 0),
    "without an epoch": lambda files: without(files, 1),
    "changed line": lambda files: flip(files.journal),
    "first accuracy edited": lambda files: edit_record(files, 1, **{"val/acc1": 99.0}),
    "last accuracy edited": lambda files: edit_record(files, -1, **{"test/acc1": 99.0}),
    "weights flipped": lambda files: flip(files.weights),
    "weights cut": lambda files: files.weights.write_bytes(files.weights.read_bytes()[:-1]),
    "weights deleted": unlink("student.safetensors"),
    "configuration edited": lambda files: edit_json(files.config, seed=7),
    "configuration damaged": lambda files: files.config.write_text("{"),
    "configuration deleted": unlink("config.json"),
}
"""Damage to a finished cell that nothing makes good."""


@pytest.mark.parametrize("damage", HEALED)
def test_a_finished_cell_is_healed_without_training(damage: str, ran: Path, tmp_path: Path) -> None:
    workspace, listening = copied(ran, tmp_path), Listening()
    files = files_of(workspace)
    before = files.journal.read_bytes(), files.done.read_bytes()
    HEALED[damage](files)

    assert run(workspace, tiny(), listening) == Summary(planned=2, already_done=2)

    (warning,) = listening.warnings
    assert warning.startswith(f"pair / kd / seed 0: {files.path}/")
    assert (files.journal.read_bytes(), files.done.read_bytes()) == before
    assert not (workspace / "tiny" / "forgotten").exists()


@pytest.mark.parametrize("damage", RETRAINED)
def test_a_finished_cell_that_cannot_be_healed_is_set_aside_and_trained_again(
    damage: str, ran: Path, tmp_path: Path
) -> None:
    workspace, listening = copied(ran, tmp_path), Listening()
    files = files_of(workspace)
    RETRAINED[damage](files)
    before = {path.name: path.read_bytes() for path in files.path.iterdir()}

    assert run(workspace, tiny(), listening) == Summary(planned=2, trained=1, already_done=1)

    (warning,) = listening.warnings
    place = f"forgotten/{files.path.name}-1"
    assert warning.startswith(f"pair / kd / seed 0: {files.path}/")
    assert warning.endswith(f"; set aside in {place}, it is trained again")
    kept = {path.name: path.read_bytes() for path in (workspace / "tiny" / place).iterdir()}
    assert kept == before
    assert bits(files.path) == bits(folders(ran)["kd/0"])
    assert run(workspace, tiny()) == Summary(planned=2, already_done=2)


UNFINISHED: dict[str, Damage] = {
    "emptied": lambda files: cut(files, 0),
    "journal deleted": unlink("journal.jsonl"),
    "cut to its start": lambda files: cut(files, 1),
    "without start": lambda files: without(files, 0),
    "changed line": lambda files: flip(files.journal),
    "best weights flipped": lambda files: flip(files.best),
    "best weights deleted": unlink("best.safetensors"),
    "marker of the best weights damaged": lambda files: flip(files.best_marker),
}
"""Damage to a cell in training, from which it cannot resume."""


@pytest.mark.parametrize("damage", UNFINISHED)
def test_a_cell_that_cannot_resume_starts_again_and_the_others_resume(
    damage: str, interrupted: Path, whole: Path, tmp_path: Path
) -> None:
    workspace, listening = copied(interrupted, tmp_path), Listening()
    files = files_of(workspace)
    UNFINISHED[damage](files)

    assert run(workspace, long(), listening) == Summary(planned=2, trained=2)

    (warning,) = listening.warnings
    assert warning.endswith(f"; set aside in forgotten/{files.path.name}-1, it is trained again")
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(whole)[name])
        starts = [
            line
            for line in (folder / "journal.jsonl").read_text().splitlines()
            if '"start"' in line
        ]
        assert len(starts) == (1 if name == "kd/0" else 2)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_journal_that_lost_no_more_than_its_checkpoints_cover_goes_on_from_there(
    lost: int, interrupted: Path, whole: Path, tmp_path: Path
) -> None:
    workspace, listening = copied(interrupted, tmp_path), Listening()
    files = files_of(workspace)
    cut(files, -lost)

    assert run(workspace, long(), listening) == Summary(planned=2, trained=2)

    assert len(listening.warnings) == lost - 1
    assert not (workspace / "tiny" / "forgotten").exists()
    assert bits(files.path) == bits(folders(whole)["kd/0"])


def with_journal_of_another(files: CellFiles, other: CellFiles, *, weights: bool = False) -> None:
    """Give a cell that has just started the journal of a finished one, as a wrong copy would."""
    for path in (files.done, files.weights):
        path.unlink()
    shutil.copyfile(other.journal, files.journal)
    if weights:
        shutil.copyfile(other.weights, files.weights)


@pytest.mark.parametrize("weights", [False, True])
def test_the_journal_of_another_cell_is_told_and_the_cell_is_trained_again(
    weights: bool, ran: Path, tmp_path: Path
) -> None:
    workspace, listening = copied(ran, tmp_path), Listening()
    files = files_of(workspace)
    with_journal_of_another(files, files_of(workspace, "student/0"), weights=weights)

    assert run(workspace, tiny(), listening) == Summary(planned=2, trained=1, already_done=1)

    (warning,) = listening.warnings
    assert (
        f"{files.journal}: is not the journal of the cell in config.json; set aside in forgotten/"
        in warning
    )
    assert bits(files.path) == bits(folders(ran)["kd/0"])


def test_results_of_other_weights_in_a_journal_of_an_earlier_version_are_never_taken(
    ran: Path, tmp_path: Path
) -> None:
    workspace = copied(ran, tmp_path)
    files, other = files_of(workspace), files_of(workspace, "student/0")
    make_early(other)
    with_journal_of_another(files, other)

    failed = run(workspace, tiny()).failed

    (reason,) = failed.values()
    assert reason.startswith(f"{files.journal}: states other weights than were trained; set aside")
    assert run(workspace, tiny()) == Summary(planned=2, trained=1, already_done=1)
    assert bits(files.path) == bits(folders(ran)["kd/0"])


def test_a_cell_of_a_later_version_is_left_alone_and_the_others_are_trained(
    interrupted: Path, tmp_path: Path
) -> None:
    class Paused(Record):
        kind: str = "paused"

    workspace = copied(interrupted, tmp_path)
    files = files_of(workspace)
    Journal(files.journal).append(Paused())
    before = files.journal.read_bytes()

    summary = run(workspace, long())

    assert (summary.trained, summary.already_done) == (1, 0)
    assert list(summary.failed) == ["pair / kd / seed 0"]
    assert "unknown record 'paused'; open it with the" in summary.failed["pair / kd / seed 0"]
    assert files.journal.read_bytes() == before


def test_a_damaged_record_of_a_teacher_is_made_again_and_nothing_is_trained(
    ran: Path, tmp_path: Path
) -> None:
    workspace, listening, remembering = copied(ran, tmp_path), Listening(), Remembering()
    (folder,) = (workspace / "tiny" / "teachers").iterdir()
    before = (folder / "journal.jsonl").read_bytes()
    flip(folder / "journal.jsonl")
    assert run(workspace, tiny(), listening) == Summary(planned=2, already_done=2)
    assert len(listening.warnings) == 1
    assert (folder / "journal.jsonl").read_bytes() == before
    run(workspace, tiny(), remembering)
    assert remembering.trained == []


def test_the_record_of_another_teacher_is_found_and_made_again(ran: Path, tmp_path: Path) -> None:
    content = tiny()
    content["pairs"][0]["teacher"]["seed"] = 7
    run(tmp_path / "other", content)
    (other,) = (tmp_path / "other" / "tiny" / "teachers").iterdir()

    workspace, listening = copied(ran, tmp_path), Listening()
    (folder,) = (workspace / "tiny" / "teachers").iterdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    shutil.copytree(other, folder)

    (finding,) = verify_files(Workspace(workspace).study("tiny"), Workspace(workspace)).findings
    said = f"{folder}: is the record of another teacher"
    assert finding == f"{said}; `kdbench run` makes it again"
    assert run(workspace, tiny(), listening) == Summary(planned=2, already_done=2)
    (warning,) = listening.warnings
    assert f"{said}; set aside in forgotten/" in warning
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("key", ["val/acc1", "test/acc1", "sha256", "source"])
def test_an_edited_card_passes_no_gate(key: str, ran: Path, tmp_path: Path) -> None:
    workspace = copied(ran, tmp_path)
    (card,) = TeacherStore(Workspace(workspace)).folder.glob("*/card.json")
    edit_json(card, **{key: 99.0 if "acc1" in key else "ab"})
    content = tiny()
    content["pairs"][0]["teacher"]["min_accuracy"] = 95
    with pytest.raises(InputError) as error:
        run(workspace, content)
    assert str(error.value).endswith(
        f"{card}: has been changed since it was written; "
        f"delete the folder {card.parent} to train or import this teacher again"
    )


@pytest.mark.parametrize("key", ["val/acc1", "test/acc1"])
def test_an_edited_card_of_an_earlier_version_contradicts_its_record(
    key: str, ran: Path, tmp_path: Path
) -> None:
    workspace = copied(ran, tmp_path)
    (card,) = TeacherStore(Workspace(workspace)).folder.glob("*/card.json")
    content = json.loads(card.read_text())
    del content["digest"]
    write_json(card, content)
    with pytest.raises(InputError, match=f"{card}: has lost its digest; delete the folder "):
        run(workspace, tiny())

    make_early(CellFiles(card.parent))
    assert run(workspace, tiny()) == Summary(planned=2, already_done=2)

    write_json(card, content | {key: 99.0})
    with pytest.raises(InputError, match=f"{card}: {key} is 99.0, but "):
        run(workspace, tiny())


@pytest.mark.parametrize("place", ["teachers", "tiny/teachers"])
def test_an_edited_configuration_of_a_teacher_is_found(
    place: str, ran: Path, tmp_path: Path
) -> None:
    workspace, listening = copied(ran, tmp_path), Listening()
    (config,) = (workspace / place).glob("*/config.json")
    edit_json(config, recipe={})
    study = Workspace(workspace).study("tiny")
    (finding,) = verify_files(study, Workspace(workspace)).findings
    problem = f"{config}: has changed since the cell was finished"
    assert finding.startswith(problem)

    if place == "teachers":
        with pytest.raises(InputError, match=problem):
            run(workspace, tiny())
    else:
        assert run(workspace, tiny(), listening) == Summary(planned=2, already_done=2)
        assert [problem in warning for warning in listening.warnings] == [True]


POWERLESS = """
import ctypes
from pathlib import Path
from tests.support.studies import run, tiny
header, none = (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
print(run(Path({workspace!r}), tiny()))
"""
"""Runs a study as root without its powers, to whom access is denied as to anybody else."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_cell_whose_folder_may_not_be_read_is_named_and_the_others_are_trained(
    ran: Path, tmp_path: Path
) -> None:
    workspace = copied(ran, tmp_path)
    denied, deleted = (files_of(workspace, name).path for name in ("student/0", "kd/0"))
    shutil.rmtree(deleted)
    os.chown(denied, 65534, 65534)
    denied.chmod(0o700)

    code = POWERLESS.format(workspace=str(workspace))
    found = ended(launched(command=[sys.executable, "-c", code]))
    assert found.err == ""
    assert "planned=2, trained=1, already_done=0" in found.out
    assert f"{denied}: cannot be read (Permission denied); restore access" in found.out


def test_a_kill_at_any_write_leaves_nothing_that_looks_damaged(
    whole: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0]

    def killed(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    for module in (files_module, checkpoints, journal):
        monkeypatch.setattr(module, "failpoint", killed)

    kills = 0
    finished = False
    while not finished:
        left[0] = 9 + kills % 7
        listening = Listening()
        try:
            run(workspace, long(), listening)
            finished = True
        except KeyboardInterrupt:
            kills += 1
        assert listening.warnings == []
        study = Workspace(workspace).study("tiny")
        assert verify_files(study, Workspace(workspace)).findings == []

    assert kills > 8
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(folders(whole)[name])


def test_files_that_were_found_intact_are_read_again_only_if_they_have_changed(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def counted(files: CellFiles, *, weights: bool) -> bool:
        checked.append(files.path.name)
        return check_cell(files, weights=weights)

    monkeypatch.setattr(damaged, "check_cell", counted)
    workspace = copied(ran, tmp_path)
    run(workspace, tiny())
    assert len(checked) == 3

    checked.clear()
    run(workspace, tiny())
    assert checked == []

    files = files_of(workspace)
    files.weights.write_bytes(files.weights.read_bytes())
    run(workspace, tiny())
    assert checked == [files.path.name]
