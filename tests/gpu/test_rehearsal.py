"""A rehearsal on a pretended GPU: the steps that a training will take, graphs included."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from benchmark.execution import environment, prepare
from benchmark.execution.rehearse import rehearse
from benchmark.execution.session import Session
from benchmark.records.layout import Workspace
from benchmark.study import study
from tests.support.pretended import CUDA, pretended_gpu
from tests.support.studies import tiny, write_study

pytestmark = pytest.mark.trains


def test_steps_are_measured_once_they_are_replayed(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study.yaml", tiny(["kd", "ab"]))
    loaded, files = study.load(path, methods), Workspace(tmp_path)
    with pretended_gpu() as gpu:
        prepared = prepare.prepare(loaded, path.read_text(), str(path), CUDA, files, print)
        known = environment.environment(CUDA)
        found = rehearse(prepared, Session(files, str(path), CUDA, known))

    assert found.failed == {}
    assert all(figures.steps > 0 for figures in found.figures.values())
    assert gpu.record.launches["cudaGraphLaunch"] > 0
