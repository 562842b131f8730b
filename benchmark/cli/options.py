"""Options and arguments that several commands share: studies, runs, devices and stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InputError, suggest
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.names import RULE, is_name
from benchmark.study.plan import read_plan
from benchmark.training.engine_choice import EngineChoice

if TYPE_CHECKING:
    from benchmark.execution.executors import Executor
    from benchmark.study.study import Study
    from benchmark.tracking.store import Store


EXECUTOR = "processes"
"""The executor of commands: a method that crashes must not take a night's work with it."""


@dataclass
class Options:
    """The options given before the command, stored as `typer.Context.obj`.

    Attributes:
        workspace: The folder for journals, teachers and the local MLflow store.
        debug: Whether to show the traceback of an error.
    """

    workspace: Path = Path("runs")
    debug: bool = False


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study file, or the name of a study.")
]
RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="Identity of a cell or an MLflow run; a unique prefix is enough."
    ),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N; by default the GPU, if there is one.")
]
CohortSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum number of students that train side by side; by default, as large as possible "
        "while keeping all workers busy.",
    ),
]
ExecutorName = Annotated[
    str,
    typer.Option(
        "--executor",
        envvar="KDBENCH_EXECUTOR",
        show_envvar=True,
        help="processes: train in worker processes, where a cell that crashes or hangs ends alone; "
        "inline: train in this process.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of worker processes, each of which trains one cohort at a time; 1 by default. "
        "Several workers take the GPUs in turn, unless --device names one.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of each worker, which affect the last bits of results; by default 1 if "
        "several workers share a CPU.",
    ),
]
StepMinutes = Annotated[
    float,
    typer.Option(
        min=0.01, help="Minutes after which a step that does not end fails its cell (processes)."
    ),
]
CheckpointMinutes = Annotated[
    float,
    typer.Option(
        min=0.0, help="Minutes between two checkpoints inside an epoch; 0 saves after every batch."
    ),
]
Engine = Annotated[
    EngineChoice,
    typer.Option(
        "--engine",
        help="auto: steps as CUDA graphs on a GPU; eager: without; graphs: only with a GPU. "
        "The results are the same.",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        show_envvar=True,
        help="MLflow store or server; by default the one of the study, else one in the workspace.",
    ),
]


def workspace_of(context: typer.Context) -> Path:
    """Return the workspace given on the command line."""
    options: Options = context.obj
    return options.workspace


def mlflow_store(context: typer.Context, study: Study | None, uri: str | None) -> Store:
    """Return the MLflow store to use.

    Args:
        context: The command's context.
        study: The study, whose file may name a store.
        uri: The option or environment variable, which takes precedence.

    Raises:
        InputError: The address is not that of a usable store.
    """
    from benchmark.tracking.store import open_store

    own = study.tracking.uri if study is not None else None
    return open_store(workspace_of(context), uri or own)


@contextmanager
def opened_executor(
    name: str, workers: int | None = None, *, needed: bool = True
) -> Iterator[Executor]:
    """Open the executor of a command, and close it in the end.

    Args:
        name: Its name.
        workers: Number of its workers; None for the default.
        needed: Whether anything is trained; it then starts while the study is prepared.

    Raises:
        InputError: There is no such executor, or it has no workers.
    """
    from benchmark.execution import executors

    executor = executors.create(name, workers)
    try:
        if needed:
            executor.warm_up()
        yield executor
    finally:
        executor.close()


def load_study(path: Path) -> Study:
    """Load a study file and check its methods.

    Raises:
        InputError: The file contains an error.
    """
    import methods
    from benchmark.study.study import load

    return load(path, methods)


def loaded_study(study: str) -> Study | None:
    """Load the study if a file is given; return None for a name.

    Raises:
        InputError: The argument is empty, or the file contains an error.
    """
    if not study.strip():
        raise InputError("STUDY: empty; give a study file or the name of a study")

    path = Path(study)
    return load_study(path) if path.suffix in (".yaml", ".yml") else None


def study_folder(context: typer.Context, study: str) -> StudyFolder:
    """Return the folder of a study in the workspace.

    Args:
        context: The command's context.
        study: A study file, or the name of a study.

    Raises:
        InputError: The study was never run in this workspace.
    """
    workspace = Workspace(workspace_of(context))
    loaded = loaded_study(study)
    name = _name(study) if loaded is None else loaded.name

    folder = workspace.study(name)
    if not folder.plan.exists():
        names = workspace.studies()
        hint = suggest(name, names) if names else "no study has been run there yet"
        raise InputError(f"{study}: no such study in {workspace.path}; {hint}")
    return folder


def _name(study: str) -> str:
    """Return the name of a study, which cannot lead out of the workspace."""
    if not is_name(study):
        raise InputError(f"{study}: not the name of a study; {RULE}")
    return study


def study_experiment(context: typer.Context, study: str, uri: str | None) -> tuple[str, Store]:
    """Return the MLflow experiment of a study, and the store that contains it."""
    loaded = loaded_study(study)
    if loaded is not None:
        return loaded.experiment, mlflow_store(context, loaded, uri)

    plan = Workspace(workspace_of(context)).study(_name(study)).plan
    experiment = read_plan(plan).experiment if plan.exists() else f"kd/{study}"
    return experiment, mlflow_store(context, None, uri)
