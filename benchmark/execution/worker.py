"""Trains one cohort from its plain-data description, in any process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.code import changed_modules
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution import environment, teachers
from benchmark.execution.cell_code import code_of_parts
from benchmark.execution.executors.base import CellSpec, CohortSpec, Resources
from benchmark.execution.output_folder import output_folder
from benchmark.execution.prepare import load_data
from benchmark.execution.recorded_code import CODE
from benchmark.execution.stand_in import teacher_on_trial
from benchmark.execution.teacher_store import TeacherStore
from benchmark.plugins import loading
from benchmark.records.checkpoints import CellFolder
from benchmark.records.heartbeat import Heartbeat
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.schema import Network, Recipe
from benchmark.training.cohort import train
from benchmark.training.conditions import Conditions, Task
from benchmark.training.progress import Progress
from benchmark.training.rehearsal import rehearse
from benchmark.training.teacher import Teacher
from benchmark.training.tracing import FileTracer, Tracer


def train_cohort(
    spec: CohortSpec, resources: Resources, progress: Progress, heart: Heartbeat | None = None
) -> None:
    """Train or rehearse the cells of a cohort side by side.

    Args:
        spec: The cohort.
        resources: The cohort's data, and at least its teacher.
        progress: Receives the events of all cells.
        heart: Receives what the cohort turns to, step by step.

    Raises:
        InputError: The data set or the teacher has changed since the spec was created, or a file
            cannot be read or written.
    """
    conditions = conditions_of(spec, resources)
    for cell in spec.cells:
        _check_resources(cell, resources.data, conditions.teacher)

    tasks = [task_of(spec, cell) for cell in spec.cells]
    if spec.rehearsal is None:
        train(tasks, conditions, progress, heart, _tracer(spec, progress))
    else:
        rehearse(tasks, conditions, spec.rehearsal, progress, heart)


def _tracer(spec: CohortSpec, progress: Progress) -> Tracer:
    """Return what traces the steps of a cohort."""
    if spec.profile is None:
        return Tracer()
    folder = study_folder(spec).profiles
    return FileTracer(folder, spec.profile, torch.device(spec.device), progress.warn)


def conditions_of(spec: CohortSpec, resources: Resources) -> Conditions:
    """Return the conditions that the cells of a cohort share."""
    teacher = None if spec.teacher is None else resources.teachers[spec.teacher]
    return Conditions(
        data=resources.data,
        recipe=spec.recipe,
        seed=spec.seed,
        select=spec.select,
        teacher=teacher,
        environment=spec.environment,
        tested=spec.tested,
        checkpoint_minutes=spec.checkpoint_minutes,
        engine=spec.engine,
        outputs=_outputs(spec, resources.data, teacher),
    )


def _outputs(spec: CohortSpec, data: Data, teacher: Teacher | None) -> Path | None:
    """Return the folder of the stored outputs that a cohort reads, if it does.

    A rehearsal stores nothing, and its teacher may be untrained.
    """
    if teacher is None or spec.recipe.teacher_cache is None or spec.rehearsal is not None:
        return None

    workspace = Workspace(Path(spec.workspace))
    network = _network_of(spec.cells[0].configuration["teacher"])
    return output_folder(
        workspace, data, network, teacher.sha256, spec.recipe, spec.seed, spec.environment
    )


class Worker:
    """Trains cohorts in a process that knows only their descriptions.

    Data and teachers stay loaded until a cohort needs others.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None):
        """Create a worker that has loaded nothing yet.

        Args:
            say: Receives a line when something slow begins, such as decoding all images.
        """
        self._say = say
        self._data_key: Any = None
        self._data: Data | None = None
        self._teachers: dict[str, Teacher] = {}

    def work(self, spec: CohortSpec, progress: Progress, heart: Heartbeat | None = None) -> None:
        """Train a cohort.

        The process uses the number of threads in the spec's environment, because the last bits of
        the results depend on it.

        Args:
            spec: The cohort.
            progress: Receives the events of all cells.
            heart: Receives what the cohort turns to, step by step.

        Raises:
            InputError: The code has changed since the spec was created, or loading or training
                fails; see `train_cohort`.
        """
        loading.load_installed()
        for plugin in spec.plugins:
            loading.load(plugin, "plug-in")
        for cell in spec.cells:
            _check_code(spec, cell)

        environment.make_repeatable()
        torch.set_num_threads(int(spec.environment["threads"]))
        device = torch.device(spec.device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)  # events and streams without a device belong to it
        train_cohort(spec, self._load(spec), progress, heart)

    def _load(self, spec: CohortSpec) -> Resources:
        """Load the data and the teacher of a cohort, unless they are loaded.

        Raises:
            InputError: The data cannot be read, or the store has no such teacher.
        """
        workspace = Workspace(Path(spec.workspace))
        key = (spec.workspace, spec.dataset, spec.split, spec.device)

        if self._data is None or self._data_key != key:
            device = torch.device(spec.device)
            self._data = load_data(spec.dataset, spec.split, device, workspace, self._say)
            self._data_key = key
            self._teachers = {}

        if spec.rehearsal is not None:
            return Resources(self._data, _teachers_on_trial(spec, workspace, self._data))
        if spec.teacher is not None and spec.teacher not in self._teachers:
            self._teachers = {spec.teacher: _load_teacher(spec.teacher, workspace, self._data)}
        return Resources(self._data, self._teachers)


def _load_teacher(key: str, workspace: Workspace, data: Data) -> Teacher:
    store = TeacherStore(workspace)
    card = store.card(key)
    if card is None:
        raise InputError(f"{store.folder}: no teacher {key}; run the study again")
    return teachers.load(card, f"teacher {key}", store, data)


def _teachers_on_trial(spec: CohortSpec, workspace: Workspace, data: Data) -> dict[str, Teacher]:
    """Return the teacher of a rehearsal, which need not be in the store."""
    if spec.teacher is None:
        return {}

    network = _network_of(spec.cells[0].configuration["teacher"])
    return {spec.teacher: teacher_on_trial(spec.teacher, network, TeacherStore(workspace), data)}


def work(spec: CohortSpec, progress: Progress, say: Callable[[str], None] = lambda _: None) -> None:
    """Train a single cohort in a fresh process; see `Worker.work`.

    Args:
        spec: The cohort.
        progress: Receives the events of all cells.
        say: Receives a line when something slow begins.

    Raises:
        InputError: Loading or training fails.
    """
    Worker(say).work(spec, progress)


def _check_code(spec: CohortSpec, cell: CellSpec) -> None:
    """Refuse a cell whose code this process would take from files that were edited meanwhile."""
    expected = cell.configuration.get(CODE)
    if expected is None:
        return

    task = task_of(spec, cell)
    assert task.recipe is not None
    networks = [task.student, *filter(None, [task.teacher])]
    code = code_of_parts(task.method, networks, spec.dataset, task.recipe)
    if code != expected:
        changed = ", ".join(changed_modules(expected, code))
        raise InputError(f"{cell.label}: {changed} changed during the run; run the study again")


def _check_resources(cell: CellSpec, data: Data, teacher: Teacher | None) -> None:
    if data.fingerprint != cell.configuration["data"]["fingerprint"]:
        raise InputError(f"{cell.label}: the data set {data.name} has changed; run the study again")
    if teacher is not None and teacher.sha256 != cell.configuration["teacher"]["sha256"]:
        raise InputError(f"{cell.label}: the teacher has changed; run the study again")


def study_folder(spec: CohortSpec) -> StudyFolder:
    """Return the folder of the study or search that the cells of a cohort belong to."""
    cell = Path(spec.workspace) / spec.cells[0].folder
    return StudyFolder(cell.parents[1])


def task_of(spec: CohortSpec, cell: CellSpec) -> Task:
    """Rebuild the training loop's task from the configuration of a cell of a cohort."""
    configuration = cell.configuration
    method = configuration["method"]
    teacher = configuration.get("teacher")

    return Task(
        folder=CellFolder(Path(spec.workspace) / cell.folder),
        label=cell.label,
        configuration=configuration,
        student=Network.model_validate(configuration["student"]),
        method=method["name"],
        settings=method["settings"],
        teacher=None if teacher is None else _network_of(teacher),
        recipe=Recipe.model_validate(configuration["recipe"]),
    )


def _network_of(teacher: Mapping[str, Any]) -> Network:
    return Network.model_validate({key: teacher[key] for key in teacher if key != "sha256"})
