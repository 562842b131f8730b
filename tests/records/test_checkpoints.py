"""The tensors of a cell come back bit for bit, or the damage to them is reported."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import benchmark
from benchmark.errors import InputError
from benchmark.records.chain import Extent
from benchmark.records.checkpoints import CellFolder, Checkpoint, Snapshot
from benchmark.records.done import Done, read_done
from benchmark.records.journal import Trained
from benchmark.records.tensor_files import pack

ROOT = Path(benchmark.__file__).parents[1]
EMPTY = Extent.of([])
DONE = Done(sha256="ab", epoch=1, metrics={"test/acc1": 97.5})

KILLED = """
import os, sys, torch
from pathlib import Path
from benchmark.records.chain import Extent
from benchmark.records.checkpoints import CellFolder, Checkpoint

for failpoint in sys.argv[2:]:
    folder = Path(sys.argv[1]) / failpoint
    folder.mkdir()
    child = os.fork()
    if child == 0:
        os.environ["KDBENCH_FAILPOINT"] = failpoint
        for epoch in range(5):
            tensors = {"w": torch.full((3, 2), float(epoch))}
            checkpoint = Checkpoint(epoch, tensors, {"epoch": epoch})
            CellFolder(folder).save(checkpoint.snapshot(), Extent.of([]))
        os._exit(0)
    print(failpoint, os.waitpid(child, 0)[1])
"""

NEWEST_AFTER_KILL = {
    "checkpoint.tensors:3": 1,
    "checkpoint.written:3": 2,
    "write.before_replace:5": 1,
    "write.before_replace:6": 1,
    "checkpoint.tensors:1": None,
    "checkpoint.taken:4": 2,
}
"""Failpoint -> epoch of the newest checkpoint that must be whole."""


@pytest.fixture
def folder(tmp_path: Path) -> CellFolder:
    """A cell that has begun."""
    folder = CellFolder(tmp_path / "runs" / "cell")
    folder.begin({"seed": 0})
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What killed processes left, by failpoint; they are forked from one that has torch."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", KILLED, str(folder), *NEWEST_AFTER_KILL]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = [f"{failpoint} {signal.SIGKILL:d}" for failpoint in NEWEST_AFTER_KILL]
    assert ended.stdout.splitlines() == expected
    return folder


def checkpoint(epoch: int) -> Snapshot:
    tensors = {"w": torch.full((3, 2), float(epoch)), "n": torch.tensor(epoch)}
    return Checkpoint(epoch, tensors, {"epoch": epoch}).snapshot()


def restored(folder: CellFolder) -> Checkpoint:
    newest, _ = folder.restore()
    assert newest is not None
    return newest


def names(folder: CellFolder) -> set[str]:
    return {file.name for file in folder.path.iterdir()}


def damaged(file: Path) -> Iterator[bytes | None]:
    """Yield every damage to a small file: cut, empty, missing, replaced, each byte changed."""
    whole = file.read_bytes()
    yield from (whole[:-1], whole[: len(whole) // 2], b"", None)
    yield from (b"null", b"[]\n", b"{}", b"\xff" * 20)
    for index in range(len(whole)):
        yield whole[:index] + bytes([whole[index] ^ 4]) + whole[index + 1 :]


def replace(file: Path, content: bytes | None) -> None:
    """Give a file another content, or delete it for None."""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


@pytest.mark.subprocess
@pytest.mark.parametrize("failpoint", NEWEST_AFTER_KILL)
def test_a_process_killed_while_it_saves_leaves_the_newest_whole_checkpoint(
    failpoint: str, killed: Path
) -> None:
    folder = CellFolder(killed / failpoint)
    newest, warnings = folder.restore()
    assert warnings == []
    epoch = None if newest is None else newest.state["epoch"]
    assert epoch == NEWEST_AFTER_KILL[failpoint]

    folder.save(checkpoint(7), EMPTY)
    folder.finish(DONE)

    assert names(folder) == {"done.json"}


def test_a_checkpoint_comes_back_bit_for_bit(folder: CellFolder) -> None:
    transposed = torch.arange(12.0).reshape(3, 4).T
    tensors = {
        "half": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).bfloat16(),
        "transposed": transposed,
        "nan": torch.tensor([float("nan"), -0.0]),
        "empty": torch.empty(0, 2),
        "trained": torch.ones(2, requires_grad=True),
        "same storage": transposed,
    }
    state = {"rng": [1, 2], "lr": 0.1}
    folder.save(Checkpoint(4, tensors, state).snapshot(), EMPTY)

    newest, warnings = folder.restore()

    assert newest is not None
    assert (newest.epoch, newest.state, warnings) == (4, state, [])
    assert newest.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert newest.tensors[name].dtype == value.dtype
        assert torch.equal(newest.tensors[name].nan_to_num(7), value.detach().nan_to_num(7))


def test_a_folder_without_checkpoints_restores_nothing(folder: CellFolder) -> None:
    assert folder.restore() == (None, [])


def test_only_the_last_two_checkpoints_are_kept(folder: CellFolder) -> None:
    for epoch in (0, 1, 8, 9, 10, 11):
        folder.save(checkpoint(epoch), EMPTY)
    assert names(folder) == {
        "config.json",
        "checkpoint-00010.json",
        "checkpoint-00010.safetensors",
        "checkpoint-00011.json",
        "checkpoint-00011.safetensors",
    }
    assert restored(folder).epoch == 11


@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_warning(
    kind: str, folder: CellFolder
) -> None:
    folder.save(checkpoint(1), EMPTY)
    folder.save(checkpoint(2), EMPTY)
    file = folder.path / f"checkpoint-00002.{kind}"
    marker = folder.path / "checkpoint-00002.json"
    for content in damaged(file):
        folder.save(checkpoint(2), EMPTY)
        replace(file, content)
        newest, warnings = folder.restore()
        assert newest is not None
        assert newest.epoch == 1
        assert newest.tensors["w"].eq(1).all()
        if warnings:
            (warning,) = warnings
            assert warning.startswith(f"{marker}: training resumes from an earlier epoch ")
            assert f"({file}: " in warning
            assert "\n" not in warning


def test_damage_to_all_checkpoints_restores_none_with_a_warning_for_each(
    folder: CellFolder,
) -> None:
    for epoch in (1, 2):
        folder.save(checkpoint(epoch), EMPTY)
        (folder.path / f"checkpoint-0000{epoch}.safetensors").write_bytes(b"")
    newest, warnings = folder.restore()
    assert newest is None
    assert len(warnings) == 2
    assert all("training resumes from the beginning (" in warning for warning in warnings)


@pytest.mark.parametrize("whole", [0, 1])
def test_checkpoints_that_follow_damaged_ones_are_kept(whole: int, folder: CellFolder) -> None:
    for epoch in (5, 6):
        folder.save(checkpoint(epoch), EMPTY)
    for epoch in (5, 6)[whole:]:
        (folder.path / f"checkpoint-0000{epoch}.safetensors").write_bytes(b"")
    folder.restore()
    for epoch in (1, 2):
        folder.save(checkpoint(epoch), EMPTY)
    kept = {"checkpoint-00002", "checkpoint-00005" if whole else "checkpoint-00001"}
    assert {path.stem for path in folder.path.glob("checkpoint-*")} == kept


def test_the_best_weights_come_back(folder: CellFolder) -> None:
    folder.save_best(1, pack({"w": torch.ones(2)}))
    folder.save_best(3, pack({"w": torch.full((2,), 3.0)}))
    assert folder.read_best(3)["w"].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("name", ["best.json", "best.safetensors"])
def test_damage_to_the_best_weights_is_refused(name: str, folder: CellFolder) -> None:
    folder.save_best(3, pack({"w": torch.ones(2)}))
    for content in damaged(folder.path / name):
        replace(folder.path / name, content)
        with pytest.raises(InputError, match=name):
            folder.read_best(3)


def test_the_best_weights_of_another_epoch_are_refused(folder: CellFolder) -> None:
    folder.save_best(3, pack({"w": torch.ones(2)}))
    message = (
        r"best\.json: is not from epoch 1; the next run sets the cell aside and trains it again$"
    )
    with pytest.raises(InputError, match=message):
        folder.read_best(1)


def test_a_finished_cell_keeps_its_record_and_its_weights_and_nothing_else(
    folder: CellFolder,
) -> None:
    for epoch in (1, 2):
        folder.save(checkpoint(epoch), EMPTY)
    folder.save_best(1, pack({"w": torch.ones(2)}))
    digest = folder.save_weights({"w": torch.ones(2)})
    folder.journal().append(Trained(epoch=1, sha256=digest))
    assert not folder.done

    folder.finish(DONE)

    assert folder.done
    assert read_done(folder.files.done) == DONE
    assert names(folder) == {"config.json", "journal.jsonl", "student.safetensors", "done.json"}


def test_weights_are_read_with_the_digest_that_they_were_written_with_and_no_other(
    folder: CellFolder,
) -> None:
    digest = folder.save_weights({"w": torch.ones(2)})
    assert folder.read_weights(digest)["w"].tolist() == [1.0, 1.0]
    message = (
        rf"student\.safetensors: SHA-256 is {digest[:12]}\.\.\., but 000000000000\.\.\. was written"
    )
    with pytest.raises(InputError, match=message):
        folder.read_weights("0" * 64)


def test_the_configuration_is_written_once(folder: CellFolder) -> None:
    folder.begin({"seed": 1})
    assert json.loads((folder.path / "config.json").read_text()) == {"seed": 0}
