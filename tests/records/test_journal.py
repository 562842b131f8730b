"""A cell's record on disk survives crashes and damage: whatever was written is read back, or its loss is said."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import benchmark
from benchmark.errors import InputError, SealedError
from benchmark.files import write_all, write_atomically, write_json
from benchmark.records.checkpoints import CellFolder, Checkpoint
from benchmark.records.journal import Journal, read_journal
from benchmark.records.seal import Finished

ROOT = Path(benchmark.__file__).parents[1]


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("start", time=1)
    journal.append(
        "epoch", time=2, epoch=0, loss=0.1, text="é\n\t\"{'}", values=[1.5, None, {"3": 4}]
    )
    journal.append("epoch", time=3, epoch=1, loss=1e-17)
    return journal.path


@pytest.fixture
def folder(tmp_path):
    folder = CellFolder(tmp_path / "runs" / "cell")
    folder.begin({"seed": 0})
    return folder


def state(epoch):
    return Checkpoint(
        epoch, {"w": torch.full((3, 2), float(epoch)), "n": torch.tensor(epoch)}, {"epoch": epoch}
    )


@contextlib.contextmanager
def files_limited_to(size):
    """The disk refuses what would make a file larger, as a full one does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


KILLED = """
import os, sys, torch
from pathlib import Path
from benchmark.files import write_atomically
from benchmark.journal import CellFolder, Checkpoint

def save(folder):
    for epoch in range(5):
        CellFolder(folder).save(Checkpoint(epoch, {"w": torch.full((3, 2), float(epoch))}, {"epoch": epoch}))

def replace(folder):
    for content in (b"old", b"new" * 100_000):
        write_atomically(folder / "file", content)

for case in sys.argv[2:]:
    folder = Path(sys.argv[1]) / case
    folder.mkdir()
    child = os.fork()
    if child == 0:
        work, os.environ["KDBENCH_FAILPOINT"] = case.split("@")
        globals()[work](folder)
        os._exit(0)
    print(case, os.waitpid(child, 0)[1])
"""

KILLS = {
    "save@checkpoint.tensors:3": 1,
    "save@checkpoint.written:3": 2,
    "save@write.before_replace:5": 1,
    "save@write.before_replace:6": 1,
    "save@checkpoint.tensors:1": None,
}

REPLACED = "replace@write.before_replace:2"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder with what each process left that was killed at its failpoint; all forked from one, which is quick."""
    folder, cases = tmp_path_factory.mktemp("killed"), [*KILLS, REPLACED]
    command = [sys.executable, "-c", KILLED, str(folder), *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{case} {signal.SIGKILL:d}" for case in cases]
    return folder


def test_what_was_appended_is_read_back_and_a_journal_can_be_gone_on_with(path):
    journal = Journal(path)
    assert journal.records == read_journal(path)
    assert journal.records[1] == {
        "kind": "epoch",
        "time": 2,
        "epoch": 0,
        "loss": 0.1,
        "text": "é\n\t\"{'}",
        "values": [1.5, None, {"3": 4}],
    }
    journal.append("trained")
    assert [record["kind"] for record in read_journal(path)] == [
        "start",
        "epoch",
        "epoch",
        "trained",
    ]
    assert (journal.count("epoch"), journal.last("epoch")["epoch"], journal.last("final")) == (
        2,
        1,
        None,
    )
    assert journal.records == read_journal(path)


def test_a_journal_that_does_not_exist_is_empty(tmp_path):
    assert (
        read_journal(tmp_path / "journal.jsonl")
        == Journal(tmp_path / "journal.jsonl").records
        == []
    )
    assert not (tmp_path / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({10: 1, 9: 2}, "{'9': 2, '10': 1}"),
        ((1, 2), "[1, 2]"),
    ],
)
def test_a_value_that_json_does_not_give_back_as_it_was_leaves_a_whole_record(path, value, read):
    Journal(path).append("epoch", value=value)
    assert str(read_journal(path)[-1]["value"]) == read


def test_a_torn_last_line_is_passed_over_and_repaired_wherever_it_was_torn(path):
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(read_journal(path)) == 2
        assert path.read_bytes() == whole[:cut]
        Journal(path).append("epoch", time=3, epoch=1, loss=1e-17)
        assert path.read_bytes() == whole


def test_any_changed_byte_of_a_whole_line_is_refused_with_the_lines_number(path):
    whole = path.read_bytes()
    ends = [place for place, byte in enumerate(whole) if byte == ord("\n")]
    for place in range(ends[0] + 1, ends[1]):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError) as error:
            Journal(path)
        assert str(error.value) == (
            f"{path}:2: this record is damaged; delete the folder to train the cell again"
        )


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b'"text"', b'{"record":{}}', b"\xff\xfe", b"[" * 5000]
)
def test_a_line_that_is_no_record_is_refused(path, line):
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(InputError, match=":1: this record is damaged"):
        read_journal(path)


def test_a_full_disk_leaves_the_journal_as_it_was_and_it_can_be_gone_on_with(path):
    journal, before = Journal(path), path.read_bytes()
    with (
        files_limited_to(len(before) + 20),
        pytest.raises(InputError, match=r"journal\.jsonl: cannot be written \("),
    ):
        journal.append("epoch", epoch=2)
    assert path.read_bytes() == before
    journal.append("failed", reason="disk")
    assert [record["kind"] for record in read_journal(path)] == [
        "start",
        "epoch",
        "epoch",
        "failed",
    ]
    assert journal.records == read_journal(path)


def test_a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path):
    for content in (b"old", b"", b"new" * 100_000):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    write_json(tmp_path / "file", {"b": 1, "a": [None]})
    assert json.loads((tmp_path / "file").read_text()) == {"a": [None], "b": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"content")
        Journal(tmp_path / "journal.jsonl").append("start")
    finally:
        os.umask(before)
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [mode, mode]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("missing/file", "No such file or directory"),
        ("file/below", "Not a directory"),
        ("folder", "Is a directory"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path, place, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError) as error:
        write_atomically(tmp_path / place, b"new")
    assert str(error.value).startswith(f"{tmp_path / place}: cannot be written ({reason}")
    assert str(error.value).endswith(")")
    with pytest.raises(InputError, match=r"file/folder: cannot be written \(Not a directory"):
        write_all(tmp_path / "file" / "folder", {"name": b"new"})
    assert {file.name for file in tmp_path.iterdir()} == {"folder", "file"}


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    with (
        files_limited_to(1000),
        pytest.raises(InputError, match=r"file: cannot be written \(.*; \d+ MiB free\)$"),
    ):
        write_atomically(tmp_path / "file", b"new" * 1000)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"old")]


def test_a_process_killed_before_the_replacement_leaves_the_old_file(killed):
    assert (killed / REPLACED / "file").read_bytes() == b"old"


@pytest.mark.parametrize("case", KILLS)
def test_a_process_killed_while_it_saves_leaves_the_newest_whole_checkpoint(killed, case):
    folder = CellFolder(killed / case)
    found, warnings = folder.restore()
    assert (found and found.state["epoch"], warnings) == (KILLS[case], [])
    folder.save(state(7))
    folder.finish({})
    assert {file.name for file in folder.path.iterdir()} == {"done.json"}


def test_a_checkpoint_comes_back_bit_for_bit(folder):
    tensors = {
        "half": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "turned": torch.arange(12.0).reshape(3, 4).T,
        "nan": torch.tensor([float("nan"), -0.0]),
        "none": torch.empty(0, 2),
        "trained": torch.ones(2, requires_grad=True),
    }
    folder.save(
        Checkpoint(4, tensors | {"same storage": tensors["turned"]}, {"rng": [1, 2], "lr": 0.1})
    )
    found, warnings = folder.restore()
    assert (found.epoch, found.state, warnings) == (4, {"rng": [1, 2], "lr": 0.1}, [])
    assert found.tensors.keys() == tensors.keys() | {"same storage"}
    for name, value in tensors.items():
        assert found.tensors[name].dtype == value.dtype
        assert torch.equal(found.tensors[name].nan_to_num(7), value.detach().nan_to_num(7))


def test_a_folder_without_checkpoints_restores_nothing(folder):
    assert folder.restore() == (None, [])


def test_only_the_last_two_checkpoints_are_kept(folder):
    for epoch in (0, 1, 8, 9, 10, 11):
        folder.save(state(epoch))
    kept = {file.name for file in folder.path.iterdir()} - {"config.json"}
    assert kept == {
        f"checkpoint-{epoch:05d}.{kind}" for epoch in (10, 11) for kind in ("json", "safetensors")
    }
    assert folder.restore()[0].epoch == 11


def damaged(file):
    """Every way in which a small file can be hurt: cut, emptied, gone, replaced, and each byte in turn changed."""
    whole = file.read_bytes()
    yield from (
        whole[:-1],
        whole[: len(whole) // 2],
        b"",
        None,
        b"null",
        b"[]\n",
        b"{}",
        b"\xff" * 20,
    )
    for place in range(len(whole)):
        yield whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]


@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_line(folder, kind):
    folder.save(state(1))
    folder.save(state(2))
    newest = folder.path / f"checkpoint-00002.{kind}"
    for content in damaged(newest):
        if content is None:
            newest.unlink()
        else:
            newest.write_bytes(content)
        found, warnings = folder.restore()
        assert found.epoch == 1
        assert found.tensors["w"].eq(1).all()
        if (folder.path / "checkpoint-00002.json").exists():
            (line,) = warnings
            assert line.startswith(f"{folder.path / 'checkpoint-00002.json'}: damaged, ")
            assert f"({newest}: " in line
            assert "\n" not in line


def test_all_checkpoints_damaged_is_none_with_a_line_for_each(folder):
    for epoch in (1, 2):
        folder.save(state(epoch))
        (folder.path / f"checkpoint-0000{epoch}.safetensors").write_bytes(b"")
    found, warnings = folder.restore()
    assert (found, len(warnings)) == (None, 2)


def test_the_best_weights_come_back_and_damage_to_them_is_refused(folder):
    folder.save_best(1, {"w": torch.ones(2)})
    folder.save_best(3, {"w": torch.full((2,), 3.0)})
    assert folder.best(3)["w"].tolist() == [3.0, 3.0]
    for name in ("best.json", "best.safetensors"):
        file = folder.path / name
        whole = file.read_bytes()
        for content in damaged(file):
            if content is None:
                file.unlink()
            else:
                file.write_bytes(content)
            with pytest.raises(InputError, match=name):
                folder.best(3)
        file.write_bytes(whole)
    with pytest.raises(InputError, match="not of epoch 1"):
        folder.best(1)


def test_a_finished_cell_keeps_its_record_and_its_student_and_nothing_else(folder):
    for epoch in (1, 2):
        folder.save(state(epoch))
    folder.save_best(1, {"w": torch.ones(2)})
    digest = folder.save_student({"w": torch.ones(2)})
    folder.journal().append("trained")
    assert not folder.done
    folder.finish({"acc1": 97.5})
    assert folder.done
    assert json.loads((folder.path / "done.json").read_text()) == {"acc1": 97.5}
    assert {file.name for file in folder.path.iterdir()} == {
        "config.json",
        "journal.jsonl",
        "student.safetensors",
        "done.json",
    }
    assert folder.read_tensors("student.safetensors", digest)["w"].tolist() == [1.0, 1.0]
    with pytest.raises(
        InputError,
        match=rf"student\.safetensors: SHA-256 is {digest[:12]}\.\.\., 000000000000\.\.\.",
    ):
        folder.read_tensors("student.safetensors", "0" * 64)


def test_the_configuration_is_written_once(folder):
    folder.begin({"seed": 1})
    assert json.loads((folder.path / "config.json").read_text()) == {"seed": 0}


def test_only_a_trained_record_on_the_disk_is_evidence_that_a_cell_is_finished(folder):
    evidence, journal = Finished(folder.path), folder.journal()
    for kind in (None, "start", "epoch", "failed"):
        if kind is not None:
            journal.append(kind, text="trained")
        with pytest.raises(SealedError, match="stay sealed"):
            evidence.verify()
    journal.append("trained")
    evidence.verify()
    journal.append("final")
    evidence.verify()
    shutil.rmtree(folder.path)
    with pytest.raises(SealedError):
        evidence.verify()
