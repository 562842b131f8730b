"""The notebook in `docs/`, which takes a researcher from a loss to a leaderboard."""

from __future__ import annotations

import os

import nbformat
import pytest
from nbformat import NotebookNode

from tools.execute_notebook import ROOT, clean, execute

PATH = ROOT / "docs" / "own-method.ipynb"


def text(notebook: NotebookNode, cell: str, stream: str | None = None) -> str:
    """Return the result of a cell as text, or what it printed to a stream."""
    (outputs,) = [each.outputs for each in notebook.cells if each.id == cell]
    if stream is not None:
        return "".join(item["text"] for item in outputs if item.get("name") == stream)
    return "".join(item["data"]["text/plain"] for item in outputs if "data" in item)


@pytest.fixture(scope="module")
def executed() -> NotebookNode:
    """The notebook, executed with one epoch of each training; an error in a cell is raised."""
    notebook: NotebookNode = nbformat.read(PATH, as_version=4)
    (study,) = [cell for cell in notebook.cells if cell.id == "study"]
    source = study.source.replace("epochs: 12", "epochs: 1").replace("epochs: 8", "epochs: 1")
    assert source.count("epochs: 1") == source.count("epochs: ") == 2
    study.source = source
    execute(notebook)
    return notebook


@pytest.mark.slow  # the notebook takes more than a minute
@pytest.mark.subprocess
@pytest.mark.trains
@pytest.mark.mlflow
def test_the_own_method_is_a_row_of_the_leaderboard(executed: NotebookNode) -> None:
    assert text(executed, "run") == "Summary(planned=9, trained=9, already_done=0, failed={})"
    rows = [line.split()[0] for line in text(executed, "compare").splitlines()[2:]]
    assert sorted(rows) == ["centered_huber", "kd", "student", "teacher"]


@pytest.mark.slow  # the notebook takes more than a minute
@pytest.mark.subprocess
@pytest.mark.trains
@pytest.mark.mlflow
def test_a_function_that_is_defined_again_trains_only_its_row(executed: NotebookNode) -> None:
    assert text(executed, "edit") == "Summary(planned=9, trained=3, already_done=6, failed={})"
    stale = "centered_huber: 3 finished cells are stale: __main__.centered_huber has changed since"
    assert stale in text(executed, "edit", "stderr")
    (explained,) = [cell.source for cell in executed.cells if cell.id == "stale-text"]
    assert stale in " ".join(explained.split())

    trained = [line.split()[1:3] for line in text(executed, "changed").splitlines()[1:]]
    assert trained == [["centered_huber", seed] for seed in "012"]


@pytest.mark.slow  # the notebook takes more than a minute
@pytest.mark.subprocess
@pytest.mark.trains
@pytest.mark.mlflow
def test_a_trained_student_predicts(executed: NotebookNode) -> None:
    assert text(executed, "predict", "stdout").startswith("label 0, predicted ")


@pytest.mark.slow  # the notebook takes more than a minute
@pytest.mark.subprocess
@pytest.mark.trains
@pytest.mark.mlflow
def test_progress_in_a_notebook_is_lines_without_cursor_movements(executed: NotebookNode) -> None:
    progress = text(executed, "run", "stderr")
    assert "resnet18-byobnet / centered_huber / seed 2: test " in progress
    assert "\x1b" not in progress


def test_the_stored_outputs_belong_to_no_installation() -> None:
    stored = nbformat.read(PATH, as_version=4)
    cleaned = nbformat.read(PATH, as_version=4)
    clean(cleaned)
    assert cleaned == stored  # neither warnings, progress nor times
    assert all(cell.execution_count for cell in stored.cells if cell.cell_type == "code")

    for cell in stored.cells:
        for output in cell.get("outputs", []):
            assert output["output_type"] in ("stream", "execute_result")
            assert f"{os.sep}tmp" not in str(output)
            assert "site-packages" not in str(output)
