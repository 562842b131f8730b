"""What several commands take: the options before a command, studies, runs, devices and stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.errors import InputError
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study.plan import read_plan

if TYPE_CHECKING:
    from benchmark.study.study import Study
    from benchmark.tracking.store import Store


@dataclass
class Options:
    """What stands before the command."""

    workspace: Path = Path("runs")
    debug: bool = False


options = Options()
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study's file.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's file, or its name.")]

RunName = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A cell's or an MLflow run's identity, or the first digits of one."
    ),
]

Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N; the GPU if there is one by default.")
]
CohortSize = Annotated[
    int | None, typer.Option(min=1, help="Students that train side by side, at most.")
]

TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        show_envvar=True,
        help="MLflow store or server; by default the study's own, else a local one in the workspace.",
    ),
]


def mlflow_store(study: Study | None, uri: str | None) -> Store:
    """The option or the environment first, then the study's own, then the workspace's."""
    from benchmark.tracking import store

    return store.open_store(
        options.workspace, uri or (study.tracking.uri if study is not None else None)
    )


def loaded_study(study: str) -> Study | None:
    """The study of a file; None for a name."""
    from benchmark.study.study import load

    if not study.strip():
        raise InputError("STUDY: empty; give a study's file or its name")
    path = Path(study)
    return load(path) if path.suffix in (".yaml", ".yml") else None


def study_folder(study: str) -> Path:
    """The folder of a study, by file or name. Raises InputError if it was never run here."""
    loaded = loaded_study(study)
    folder = options.workspace / (study if loaded is None else loaded.name)
    if not StudyFolder(folder).plan.exists():
        known = Workspace(options.workspace).studies()
        there = f"there are {', '.join(known)}" if known else "no study was run there yet"
        raise InputError(f"{study}: no such study in {options.workspace}; {there}")
    return folder


def study_experiment(study: str, uri: str | None) -> tuple[str, Store]:
    """A study's experiment in MLflow, and the store that holds it."""
    loaded = loaded_study(study)
    if loaded is not None:
        return loaded.experiment, mlflow_store(loaded, uri)
    plan = Workspace(options.workspace).study(study).plan
    experiment = read_plan(plan).experiment if plan.exists() else f"kd/{study}"
    return experiment, mlflow_store(None, uri)
