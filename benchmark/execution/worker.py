"""Trains one cohort from its plain-data description, in any process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution import environment, teachers
from benchmark.execution.executors.base import CellSpec, CohortSpec, Resources
from benchmark.execution.prepare import load_data
from benchmark.execution.teacher_store import TeacherStore
from benchmark.plugins import loading
from benchmark.records.checkpoints import CellFolder
from benchmark.records.layout import Workspace
from benchmark.study.schema import Network, Recipe
from benchmark.training.cohort import train
from benchmark.training.conditions import Conditions, Task
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher


def train_cohort(spec: CohortSpec, resources: Resources, progress: Progress) -> None:
    """Train the cells of a cohort side by side.

    Args:
        spec: The cohort.
        resources: The cohort's data, and at least its teacher.
        progress: Receives the events of all cells.

    Raises:
        InputError: The data set or the teacher has changed since the spec was created, or a file
            cannot be read or written.
    """
    teacher = resources.teachers[spec.teacher]
    for cell in spec.cells:
        _check_resources(cell, resources.data, teacher)

    tasks = [task_of(spec, cell) for cell in spec.cells]
    train(tasks, conditions_of(spec, resources), progress)


def conditions_of(spec: CohortSpec, resources: Resources) -> Conditions:
    """Return the conditions that the cells of a cohort share."""
    return Conditions(
        data=resources.data,
        recipe=spec.recipe,
        seed=spec.seed,
        select=spec.select,
        teacher=resources.teachers[spec.teacher],
        environment=spec.environment,
        tested=spec.tested,
    )


def work(spec: CohortSpec, progress: Progress, say: Callable[[str], None] = lambda _: None) -> None:
    """Train a cohort in a fresh process: the entry point of a worker.

    The process uses the number of threads in the spec's environment, because the last bits of the
    results depend on it.

    Args:
        spec: The cohort.
        progress: Receives the events of all cells.
        say: Receives a line when something slow begins, such as decoding all images.

    Raises:
        InputError: Loading or training fails; see `load_resources` and `train_cohort`.
    """
    for plugin in spec.plugins:
        loading.load(plugin, "plug-in")
    environment.make_repeatable()
    torch.set_num_threads(int(spec.environment["threads"]))
    train_cohort(spec, load_resources(spec, say), progress)


def load_resources(spec: CohortSpec, say: Callable[[str], None]) -> Resources:
    """Load the data and the teacher of a cohort.

    Args:
        spec: The cohort.
        say: Receives a line when something slow begins.

    Raises:
        InputError: The data cannot be read, or the store has no such teacher.
    """
    workspace = Workspace(Path(spec.workspace))
    data = load_data(spec.dataset, spec.split, torch.device(spec.device), workspace, say)

    store = TeacherStore(workspace)
    card = store.card(spec.teacher)
    if card is None:
        raise InputError(f"{store.folder}: no teacher {spec.teacher}; run the study again")

    teacher = teachers.load(card, f"teacher {spec.teacher}", store, data)
    return Resources(data, {spec.teacher: teacher})


def _check_resources(cell: CellSpec, data: Data, teacher: Teacher) -> None:
    if data.fingerprint != cell.configuration["data"]["fingerprint"]:
        raise InputError(f"{cell.label}: the data set {data.name} has changed; run the study again")
    if teacher.sha256 != cell.configuration["teacher"]["sha256"]:
        raise InputError(f"{cell.label}: the teacher has changed; run the study again")


def task_of(spec: CohortSpec, cell: CellSpec) -> Task:
    """Rebuild the training loop's task from the configuration of a cell of a cohort."""
    configuration = cell.configuration
    method = configuration["method"]
    teacher = {key: value for key, value in configuration["teacher"].items() if key != "sha256"}

    return Task(
        folder=CellFolder(Path(spec.workspace) / cell.folder),
        label=cell.label,
        configuration=configuration,
        student=Network.model_validate(configuration["student"]),
        method=method["name"],
        settings=method["settings"],
        teacher=Network.model_validate(teacher),
        recipe=Recipe.model_validate(configuration["recipe"]),
    )
