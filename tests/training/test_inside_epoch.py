"""Training that stops inside an epoch resumes there, and ends with the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from benchmark.data import Loaded, resident
from benchmark.data.mixing import Mixer
from benchmark.records.chain import Extent
from benchmark.records.checkpoints import CellFolder, Checkpoint, Snapshot
from benchmark.records.layout import CellFiles
from benchmark.study.schema import Recipe
from benchmark.training import checkpointing, cohort
from benchmark.training.saving import Saver
from benchmark.training.stopwatch import Stopwatch
from tests.execution.helpers import prepared
from tests.support.records import read_journal
from tests.support.studies import bits, folders, metrics, records, run, tiny
from tests.training.rows import KINDS, row

pytestmark = pytest.mark.trains


class Killing:
    """Ends the run after a number of checkpoints inside epochs, and remembers where they were."""

    def __init__(self, patch: pytest.MonkeyPatch, every: int):
        self.every = every
        self.count = 0
        self.killed = False
        self.saved: list[tuple[int, int]] = []
        self._save = CellFolder.save
        patch.setattr(CellFolder, "save", lambda *arguments: self.save(*arguments))

    def save(self, folder: CellFolder, snapshot: Snapshot, journal: Extent) -> None:
        if self.killed:  # others that wait to be written
            raise KeyboardInterrupt

        self._save(folder, snapshot, journal)
        if snapshot.step == 0:
            return

        if "cells" in folder.path.parts:  # the teacher has a recipe of its own
            self.saved.append((snapshot.epoch, snapshot.step))
        self.count += 1
        self.killed = self.count % self.every == 0
        if self.killed:
            raise KeyboardInterrupt


def run_in_pieces(workspace: Path, content: dict[str, Any], every: int) -> list[tuple[int, int]]:
    """Run a study that is killed again and again; return where it was saved inside epochs."""
    with pytest.MonkeyPatch.context() as patch:
        killing = Killing(patch, every)
        for _ in range(100):
            try:
                assert not run(workspace, content, checkpoint_minutes=0.0).failed
            except KeyboardInterrupt:
                killing.killed = False
                continue
            return killing.saved
    raise AssertionError("the study never ended")


def run_and_kill(workspace: Path, content: dict[str, Any], after: int) -> None:
    """Run a study that is killed after a number of checkpoints inside epochs."""
    with pytest.MonkeyPatch.context() as patch:
        Killing(patch, after)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, content, checkpoint_minutes=0.0)


def assert_equal_cells(workspace: Path, whole: Path, rows: Sequence[str]) -> None:
    for name in rows:
        folder = folders(workspace)[f"{name}/0"]
        assert bits(folder) == bits(folders(whole)[f"{name}/0"])
        assert not list(folder.glob("checkpoint-*"))


def test_members_of_every_kind_that_stop_inside_an_epoch_end_with_the_same_bits(
    kinds: Path, workspace: Path
) -> None:
    # With 11 members and 13 checkpoints per run, members go on from different steps.
    saved = run_in_pieces(workspace, tiny([row(name) for name in KINDS]), every=13)
    assert {step for _, step in saved} == {1, 2}
    assert_equal_cells(workspace, kinds, KINDS)
    for name in KINDS:
        journal = read_journal(folders(workspace)[f"{name}/0"] / "journal.jsonl")
        epochs = [record["epoch"] for record in journal if record["kind"] == "epoch"]
        assert epochs == [*range(len(epochs))]


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"ema": 0.5}, id="averaged weights"),
        pytest.param({"accumulate": 2}, id="accumulated gradients"),
        pytest.param({"precision": "fp16"}, id="scaled losses"),
        pytest.param({"optimizer": "dot"}, id="two gradients", marks=pytest.mark.slow),
        pytest.param({"optimizer": "adamw"}, id="moments", marks=pytest.mark.slow),
        pytest.param({"mixup": 0.2, "cutmix": 1.0}, id="mixed batches"),
        pytest.param(
            {"augmentation": {"flip": True, "cutout": 8}}, id="cutout", marks=pytest.mark.slow
        ),
    ],
)
def test_every_part_of_a_recipe_is_the_same_after_a_stop_inside_an_epoch(
    recipe: dict[str, Any], workspace: Path
) -> None:
    content = tiny(["student", "kd"], recipe=recipe)
    assert not run(workspace / "whole", content).failed
    saved = run_in_pieces(workspace, content, every=1)
    assert {step for _, step in saved} == ({2} if "accumulate" in recipe else {1, 2})
    assert_equal_cells(workspace, workspace / "whole", ["student", "kd"])


@pytest.mark.broad
@pytest.mark.slow
@pytest.mark.parametrize("name", methods.names())
def test_every_method_that_stops_inside_an_epoch_ends_with_the_same_bits(
    name: str, workspace: Path
) -> None:
    content = tiny([row(name)])
    if run(workspace / "whole", content).planned == 0:
        pytest.skip("does not apply to these networks")
    run_in_pieces(workspace, content, every=1)
    assert_equal_cells(workspace, workspace / "whole", [name])


def test_a_checkpoint_without_the_values_of_the_batches_changes_the_result(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = checkpointing.take

    def forgetting(*args: Any) -> Checkpoint:
        checkpoint = take(*args)
        if checkpoint.step:
            checkpoint.tensors["log/rows"] = torch.zeros_like(checkpoint.tensors["log/rows"])
        return checkpoint

    monkeypatch.setattr(checkpointing, "take", forgetting)
    run_in_pieces(workspace, tiny(["kd"]), every=1)
    found, expected = bits(folders(workspace)["kd/0"]), bits(folders(kinds)["kd/0"])
    assert found["sha256"] == expected["sha256"]
    assert found["epochs"] != expected["epochs"]


def test_a_damaged_checkpoint_inside_an_epoch_is_passed_over_and_the_result_is_the_same(
    kinds: Path, workspace: Path
) -> None:
    run_and_kill(workspace, tiny(["kd"]), after=6)

    markers = CellFiles(folders(workspace)["kd/0"]).checkpoint_markers()
    names = [path.stem for path in markers]
    assert names == ["checkpoint-00001-0000002", "checkpoint-00001-0000001"]
    for path in markers[:1]:
        path.with_suffix(".safetensors").write_bytes(b"")

    assert not run(workspace, tiny(["kd"])).failed
    assert_equal_cells(workspace, kinds, ["kd"])


def test_a_checkpoint_heals_a_journal_that_lacks_the_record_of_the_last_whole_epoch(
    kinds: Path, workspace: Path
) -> None:
    run_and_kill(workspace, tiny(["kd"]), after=5)

    journal = folders(workspace)["kd/0"] / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))
    assert not run(workspace, tiny(["kd"])).failed
    assert_equal_cells(workspace, kinds, ["kd"])
    assert [record["epoch"] for record in records(folders(workspace)["kd/0"], "start")] == [0, 1]


class Counted(Stopwatch):
    """Takes a second for every piece of work."""

    @contextmanager
    def running(self) -> Iterator[None]:
        yield
        self._seconds += 1.0


def test_a_member_that_was_saved_later_than_another_is_billed_for_its_own_batches_alone(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "Stopwatch", Counted)
    content = tiny(["kd", "at"])
    run_and_kill(workspace, content, after=5)
    newest = [
        CellFiles(folders(workspace)[f"{name}/0"]).checkpoint_markers()[0].stem
        for name in ("kd", "at")
    ]
    assert newest == ["checkpoint-00000-0000002", "checkpoint-00000-0000001"]
    assert not run(workspace, content).failed

    (kd,), (at,) = (metrics(folders(workspace)[f"{name}/0"], "final") for name in ("kd", "at"))
    assert (kd["cost/teacher_seconds"], at["cost/teacher_seconds"]) == (6.0, 6.0)


def test_the_end_of_an_epoch_counts_as_a_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bool] = []
    monkeypatch.setattr(Saver, "all_saved", lambda saver: saved.append(True))
    assert not run(workspace, tiny(["kd", "at"])).failed
    assert len(saved) == 3  # an epoch of the teacher, and two of the members


def test_a_loss_that_is_not_finite_is_never_saved_and_is_named_as_without_checkpoints(
    workspace: Path,
) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    expected = run(workspace / "whole", tiny([wild])).failed
    assert run(workspace, tiny([wild]), checkpoint_minutes=0.0).failed == expected
    files = [path.name for path in folders(workspace)["wild/0"].glob("checkpoint-*")]
    assert not [name for name in files if "-0000003" in name]


@pytest.mark.parametrize("together", [resident.BLOCK, 2 * 16 * 3 * 8 * 8, 1])
@pytest.mark.parametrize("views", [False, True])
def test_an_epoch_can_be_entered_at_any_batch_without_reading_the_others(
    views: bool, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation = {"flip": True, "crop_padding": 2, "randaugment": {"operations": 2}}
    recipe = Recipe.model_validate(
        {
            "epochs": 1,
            "batch_size": 16,
            "mixup": 0.2,
            "cutmix": 1.0,
            "augmentation": {**augmentation, "cutout": 3},
        }
    )
    blocks = prepared(tiny()).data.epoch(3, 1, recipe, views)
    one_block = [loaded.inputs for loaded in blocks]
    monkeypatch.setattr(resident, "BLOCK", together)
    data = prepared(tiny()).data
    whole = list(data.epoch(3, 1, recipe, views))
    assert all(map(torch.equal, one_block, (loaded.inputs for loaded in whole)))

    read: list[int] = []
    mix = Mixer.mix

    def counted(self: Mixer, loaded: Loaded, step: int) -> Loaded:
        read.append(1)
        return mix(self, loaded, step)

    monkeypatch.setattr(Mixer, "mix", counted)
    for start in range(len(whole) + 1):
        read.clear()
        rest = list(data.epoch(3, 1, recipe, views, start))
        assert len(read) == len(rest) * (2 if views else 1)
        assert len(rest) == len(whole) - start
        for found, expected in zip(rest, whole[start:], strict=True):
            for key in ("inputs", "labels", "index", "targets", "second"):
                one, other = getattr(found, key), getattr(expected, key)
                assert (one is None and other is None) or torch.equal(one, other)
