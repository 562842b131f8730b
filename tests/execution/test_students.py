"""A student that is loaded from a workspace is the network that was tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution.students import load_student
from benchmark.records.done import read_done
from benchmark.records.layout import CellFiles, Workspace
from benchmark.records.seal import Finished
from benchmark.study.schema import Split, make_dataset
from tests.support.studies import folders, run, tiny

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a bare student, and one with a head of its method."""
    workspace = tmp_path_factory.mktemp("trained")
    assert run(workspace, tiny(["student", "simkd"])).trained == 2
    return workspace


@pytest.mark.parametrize("row", ["student", "simkd"])
def test_a_loaded_student_has_the_accuracy_that_was_recorded(trained: Path, row: str) -> None:
    files = CellFiles(folders(trained)[f"{row}/0"])
    student = load_student(Workspace(trained), files.path.name[:8])

    device = torch.device("cpu")
    data = Data(make_dataset("digits"), Split(val=0), device, trained / "data", print)
    inputs = data.test(Finished(files.path))
    with torch.no_grad():
        logits = torch.cat([student(images) for images in inputs.batches()])

    correct = (logits.argmax(dim=1) == inputs.labels).double().mean()
    assert 100 * correct.item() == read_done(files.done).metrics["test/acc1"]


@pytest.mark.parametrize("cell", ["", "zz", "0" * 12])
def test_a_cell_that_is_not_there_is_named(trained: Path, cell: str) -> None:
    with pytest.raises(InputError, match=f"no finished cell '{cell}'; see `kdbench status STUDY`"):
        load_student(Workspace(trained), cell)
