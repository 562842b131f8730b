"""Executors get cohorts as plain data, from which any process can train them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.execution import executors, study_teachers, worker
from benchmark.execution import run as execution_run
from benchmark.execution.executors import CohortSpec, Executor, Resources
from benchmark.execution.executors.inline import InlineExecutor
from benchmark.execution.specs import cohort_spec
from benchmark.hashing import identity
from benchmark.study.schema import make_dataset
from benchmark.training.progress import Progress
from tests.execution.helpers import Remembering, prepared, session
from tests.support.studies import bits, folders, run, tiny

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]

TUNED = {
    "name": "kd (tuned)",
    "method": "kd",
    "found": {"pair": {"settings": {"temperature": 2.5}, "lr": 0.125}},
    "trials": 4,
    "search_tmac": {"pair": 0.5},
}

FRESH_PROCESS = """
import sys

import tests.support.networks
from benchmark.execution.executors import CohortSpec
from benchmark.execution.worker import work
from benchmark.training.progress import Progress

work(CohortSpec.model_validate_json(sys.stdin.read()), Progress())
"""


class Keeping(Executor):
    """Keeps the cohorts, and trains none of them."""

    def __init__(self) -> None:
        self.specs: list[CohortSpec] = []

    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        self.specs += cohorts


def kept(workspace: Path, content: dict[str, Any]) -> list[CohortSpec]:
    """Return the cohorts of a study whose teachers are in the workspace, and none of its cells."""
    keeping = Keeping()
    study = prepared(content, workspace)
    study_teachers.obtain_teachers(study, session(workspace))
    execution_run.run(study, session(workspace, keeping))
    return keeping.specs


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A study with a plain row, a composition, and a row with settings from a search."""
    rows = ["student", "kd+at", "kd", TUNED]
    return tiny(rows, select="best_val", recipe={"epochs": 2, "optimizer": "dot"})


@pytest.fixture(scope="module")
def inline(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Remembering]:
    """The same study, trained in this process; and what its listener remembers."""
    workspace, remembering = tmp_path_factory.mktemp("inline"), Remembering()
    assert not run(workspace, content, remembering).failed
    return workspace, remembering


@pytest.fixture(scope="module")
def waiting(
    content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CohortSpec]:
    """A workspace with a teacher, and the cohort that is to be trained in it."""
    workspace = tmp_path_factory.mktemp("waiting")
    (spec,) = kept(workspace, content)
    return workspace, spec


def test_a_cohort_survives_json_and_pickle_unchanged(waiting: tuple[Path, CohortSpec]) -> None:
    _, spec = waiting
    text = spec.model_dump_json()
    assert CohortSpec.model_validate_json(text) == spec
    assert CohortSpec.model_validate_json(text).model_dump_json() == text
    assert CohortSpec.model_validate(json.loads(text)) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize("name", ["torch/cifar10", "hfds/org/pictures", "folder/pictures"])
def test_a_cohort_names_its_data_set_by_an_absolute_folder_and_survives_json(
    name: str, waiting: tuple[Path, CohortSpec], workspace: Path
) -> None:
    study = prepared(tiny())
    pictures = make_dataset(name, root="pictures", loading="streamed", image_size=32)
    study = replace(study, study=study.study.model_copy(update={"dataset": pictures}))
    cells = waiting[1].cells
    spec = cohort_spec(study, session(workspace), study.teachers[0], study.study.recipe, 0, cells)

    assert isinstance(spec.dataset, type(pictures))
    assert spec.dataset.root == str(Path("pictures").absolute())  # type: ignore[union-attr]
    assert spec.dataset.identity == pictures.identity
    assert CohortSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_cohort_names_cells_and_teacher_by_what_is_in_the_workspace(
    waiting: tuple[Path, CohortSpec],
) -> None:
    workspace, spec = waiting
    assert spec.workspace == str(workspace)
    assert spec.device == "cpu"
    assert spec.teacher is not None
    assert (workspace / "teachers" / spec.teacher / "card.json").exists()
    for cell in spec.cells:
        assert cell.folder == f"tiny/cells/{identity(cell.configuration)}"
        assert cell.configuration["seed"] == spec.seed


def test_a_fresh_process_trains_a_cohort_from_its_json_to_the_bits_of_a_run_in_this_process(
    waiting: tuple[Path, CohortSpec], inline: tuple[Path, Remembering], tmp_path: Path
) -> None:
    workspace, spec = waiting
    command = [sys.executable, "-W", "error", "-c", FRESH_PROCESS]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        command,
        input=spec.model_dump_json(),
        env=surroundings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr

    expected = folders(inline[0])
    for name, folder in folders(workspace).items():
        assert bits(folder) == bits(expected[name])
        for file in ("student.safetensors", "config.json"):
            assert (folder / file).read_bytes() == (expected[name] / file).read_bytes()


def test_a_cohort_in_which_nothing_is_tested_meets_no_test_image(
    content: dict[str, Any], workspace: Path
) -> None:
    (spec,) = kept(workspace, content)
    untested = spec.model_copy(update={"tested": False, "cells": spec.cells[:1]})
    worker.work(untested, Progress())

    (cell,) = untested.cells
    done = json.loads((workspace / cell.folder / "done.json").read_text())
    assert not [name for name in done["metrics"] if name.startswith("test/")]


def test_the_inline_executor_loads_nothing_that_is_in_memory(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("data and teachers were loaded again")

    monkeypatch.setattr(worker.Worker, "_load", refuse)
    study = prepared(tiny(["student"], recipe={"epochs": 1}), workspace)
    assert execution_run.run(study, session(workspace)).trained == 1


def test_the_events_of_all_cells_reach_the_listener_and_not_the_spec(
    waiting: tuple[Path, CohortSpec], inline: tuple[Path, Remembering]
) -> None:
    labels = [cell.label for cell in waiting[1].cells]
    assert inline[1].trained[1:] == labels  # the first one was the teacher


@pytest.mark.parametrize(
    ("part", "key", "message"),
    [
        ("data", "fingerprint", "pair / student / seed 0: the data set digits has changed; "),
        ("teacher", "sha256", "pair / student / seed 0: the teacher has changed; "),
    ],
)
def test_a_worker_refuses_a_cohort_whose_data_or_teacher_are_others_than_its_own(
    part: str, key: str, message: str, waiting: tuple[Path, CohortSpec]
) -> None:
    _, spec = waiting
    content = json.loads(spec.model_dump_json())
    content["cells"][0]["configuration"][part][key] = "00" * 32
    with pytest.raises(InputError) as error:
        worker.work(CohortSpec.model_validate(content), Progress())
    assert str(error.value).startswith(message)


def test_a_worker_names_a_teacher_that_its_store_lacks(
    waiting: tuple[Path, CohortSpec],
) -> None:
    _, spec = waiting
    with pytest.raises(InputError, match="no teacher 000000000000; run the study again"):
        worker.work(spec.model_copy(update={"teacher": "0" * 12}), Progress())


def test_the_executors_are_the_files_of_the_folder_and_a_session_trains_inline_by_default(
    tmp_path: Path,
) -> None:
    assert "inline" in executors.names()
    assert isinstance(executors.create("inline"), InlineExecutor)
    assert isinstance(session(tmp_path).executor, InlineExecutor)


def test_an_unknown_executor_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="no executor 'inlin'; did you mean 'inline'"):
        executors.create("inlin")


def add_file(folder: Path, name: str, classes: Sequence[str], patch: pytest.MonkeyPatch) -> None:
    """Put a file with executors into a folder that stands in for the package's own."""
    definitions = [f"class {name}(Executor):\n    def run(self, *_): ..." for name in classes]
    head = "from benchmark.execution.executors import Executor"
    (folder / f"{name}.py").write_text("\n\n".join([head, *definitions]))
    patch.setattr(executors, "_FOLDER", folder)
    patch.setattr(executors, "__path__", [str(folder)])


def test_a_new_file_is_a_new_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_file(tmp_path, "distant", ["Distant"], monkeypatch)
    assert executors.names() == ["distant"]
    assert type(executors.create("distant")).__name__ == "Distant"


@pytest.mark.parametrize(("name", "classes"), [("empty", []), ("double", ["One", "Two"])])
def test_a_file_that_does_not_define_exactly_one_executor_is_refused(
    name: str, classes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_file(tmp_path, name, classes, monkeypatch)
    message = rf"{name}.py: defines {len(classes)} executors; define exactly one"
    with pytest.raises(TypeError, match=message):
        executors.create(name)
