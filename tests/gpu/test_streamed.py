"""Streamed images on a pretended GPU: the numbers of the CPU, and no wait for a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.data.streamed import StreamedSource
from benchmark.training.member import Member
from benchmark.training.teacher import Teacher
from tests.support.datasources import class_folders
from tests.support.networks import STUDENT, TEACHER
from tests.support.pretended import CUDA, pretended_gpu
from tests.support.pretended.loaders import loaders_on_gpu
from tests.support.studies import bits, folders, run, tiny

pytestmark = pytest.mark.trains

AUGMENTATION = {"resized_crop": 0.3, "flip": True, "randaugment": {}, "cutout": 20}

LOAD = StreamedSource.load.__qualname__


def study(folder: Path) -> dict[str, Any]:
    """Return a study on 18 training images, in two batches an epoch."""
    dataset = {
        "name": "folder/mine",
        "root": str(folder),
        "image_size": 56,
        "loading": "streamed",
        "workers": 0,
    }
    return {
        **tiny(["student", "kd"], split={"val": 6}),
        "dataset": dataset,
        "pairs": [{"name": "pair", "teacher": TEACHER, "student": STUDENT}],
        "recipe": {"epochs": 2, "batch_size": 9, "augmentation": AUGMENTATION},
    }


def test_streamed_cells_on_the_gpu_equal_those_of_the_cpu_and_wait_for_no_batch(
    tmp_path: Path,
) -> None:
    class_folders(tmp_path / "mine", suffix="jpg", width=80, height=60)
    content = study(tmp_path)
    assert not run(tmp_path / "cpu", content).failed
    with pretended_gpu() as gpu, loaders_on_gpu():
        assert not run(tmp_path / "gpu", content, device=CUDA).failed

    expected = folders(tmp_path / "cpu")
    for name, cell in folders(tmp_path / "gpu").items():
        assert bits(cell) == bits(expected[name])

    steps = {Member.step.__qualname__, Teacher.output.__qualname__}
    known = {"Lane.record", "_same"}  # when graphs are recorded and compared
    waits = [sync for sync in gpu.record.syncs if steps & set(sync.callers)]
    assert [str(sync) for sync in waits if sync.function not in known] == []
    loading = {sync.place for sync in gpu.record.syncs if LOAD in sync.callers}
    assert len(loading) == 1, "only the constants of a loader are copied, not its batches"
