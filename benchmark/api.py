"""The Python interface, which the package `kdbench` re-exports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError
from benchmark.records.layout import Workspace
from benchmark.study.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from benchmark.execution.prepare import Prepared
    from benchmark.execution.run import Summary
    from benchmark.execution.session import Session
    from benchmark.search.tune import Outcome
    from benchmark.tracking.store import Store
    from benchmark.training.progress import Progress


@dataclass(frozen=True)
class LoadedStudy:
    """A study that has been read and checked.

    Attributes:
        study: Its content.
        text: The same as YAML.
        path: Its file; `study` if it does not come from a file.
    """

    study: Study
    text: str
    path: Path

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.study.name


AnyStudy = LoadedStudy | str | Path | Mapping[str, Any]
"""A study: loaded, the path of its file, or its content."""


def load_study(source: str | Path | Mapping[str, Any]) -> LoadedStudy:
    """Read a study and check it; load its plug-ins.

    Args:
        source: The path of a YAML file, or the content of one. Plug-ins are then relative to the
            current folder.

    Raises:
        InputError: The study contains an error; the message has one line per mistake.
    """
    import methods
    from benchmark.study import yamlfile
    from benchmark.study.study import load, load_document

    if isinstance(source, str | Path):
        path = Path(source)
        return LoadedStudy(load(path, methods), path.read_text(encoding="utf-8"), path)

    path = Path("study")
    text = yamlfile.dump(source)
    return LoadedStudy(load_document(yamlfile.parse(path, text), methods), text, path)


def run(
    study: AnyStudy,
    *,
    workspace: str | Path = "runs",
    device: str | None = None,
    track: bool = True,
    tracking_uri: str | None = None,
    cohort_size: int | None = None,
    tuned: bool = False,
    keep_stale: bool = False,
    retrain: bool = False,
) -> Summary:
    """Train the unfinished cells of a study, as `kdbench run` does.

    Args:
        study: The study.
        workspace: Folder for journals, teachers and the local MLflow store.
        device: `cpu`, `cuda` or `cuda:N`; None for the GPU if there is one, else the CPU.
        track: Whether to record in MLflow while training.
        tracking_uri: Address of an MLflow store or server; None for that of the study, or else a
            store in the workspace.
        cohort_size: Maximum number of students that train side by side; None for no limit.
        tuned: Whether to add rows with the settings that `tune` found.
        keep_stale: Whether to keep finished cells whose code has changed since.
        retrain: Whether to set finished cells aside and train them again.

    Returns:
        How many cells were trained, were done before, and failed.

    Raises:
        InputError: The study contains an error, or cannot run here.
    """
    from benchmark.execution import run as execution
    from benchmark.search.tuned import settings_file, with_tuned_rows
    from benchmark.tracking.follower import following

    loaded = _loaded(study)
    if tuned:
        rows = with_tuned_rows(loaded.study, settings_file(loaded.path))
        loaded = LoadedStudy(rows, loaded.text, loaded.path)

    folder = Workspace(Path(workspace).absolute()).study(loaded.name).path
    store = _store(loaded, workspace, tracking_uri) if track else None
    with (
        _session(loaded, workspace, device) as (prepared, session),
        following(folder, store, session.progress.warn),
    ):
        return execution.run(prepared, session, cohort_size, keep_stale=keep_stale, retrain=retrain)


def tune(
    study: AnyStudy,
    *,
    workspace: str | Path = "runs",
    device: str | None = None,
    storage: str | None = None,
    track: bool = True,
    tracking_uri: str | None = None,
    cohort_size: int | None = None,
) -> Outcome:
    """Search for every method's best settings, as `kdbench tune` does.

    Args:
        study: The study, with a section `search`.
        workspace: Folder for journals, teachers and the local MLflow store.
        device: `cpu`, `cuda` or `cuda:N`; None for the GPU if there is one, else the CPU.
        storage: Address of Optuna's database; None for a file in the workspace.
        track: Whether to record the trials in MLflow.
        tracking_uri: As for `run`.
        cohort_size: As for `run`.

    Returns:
        The best trial of each search. If the study comes from a file, `run(tuned=True)` uses
        their settings.

    Raises:
        InputError: The study contains an error, or cannot run here.
    """
    from benchmark.search import tune as search
    from benchmark.search import tuned
    from benchmark.tracking.sync_search import recorder

    loaded = _loaded(study)
    folder = Workspace(Path(workspace).absolute()).study(loaded.name).search
    store = _store(loaded, workspace, tracking_uri) if track else None
    with _session(loaded, workspace, device) as (prepared, session):
        record = recorder(store, session.progress.warn)
        outcome = search.tune(prepared, session, storage, cohort_size, record)
        record(folder.path)

    if outcome.best:
        tuned.write(tuned.settings_file(loaded.path), loaded.study, outcome.best)
    return outcome


def leaderboard(
    study: AnyStudy,
    *,
    workspace: str | Path = "runs",
    tracking_uri: str | None = None,
    mix_environments: bool = False,
) -> pd.DataFrame:
    """Return the leaderboard of a study, computed from its MLflow runs.

    Args:
        study: The study, or the name of one.
        workspace: The workspace with the local MLflow store.
        tracking_uri: As for `run`.
        mix_environments: Whether to compare runs of different devices or versions.

    Returns:
        One line per row and pair, with the columns that docs/reading-a-leaderboard.md explains.

    Raises:
        InputError: The store has no such study, or its runs cannot form a table.
        TrackingError: The store cannot be reached.
    """
    from benchmark.leaderboard import table
    from benchmark.tracking import runs as tracking_runs

    experiment, store = _experiment(study, workspace, tracking_uri)
    plan = tracking_runs.plan(experiment, store)
    try:
        return table.leaderboard(tracking_runs.runs(experiment, store), plan, mix_environments)
    except ValueError as error:
        raise InputError(f"experiment {experiment}: {error}") from error


def runs(
    study: AnyStudy, *, workspace: str | Path = "runs", tracking_uri: str | None = None
) -> pd.DataFrame:
    """Return the MLflow runs of a study's students and teachers, one per line.

    Args:
        study: The study, or the name of one.
        workspace: The workspace with the local MLflow store.
        tracking_uri: As for `run`.

    Raises:
        InputError: The store has no such study.
        TrackingError: The store cannot be reached.
    """
    from benchmark.tracking import runs as tracking_runs

    return tracking_runs.runs(*_experiment(study, workspace, tracking_uri))


def load_student(cell: str, *, workspace: str | Path = "runs") -> nn.Module:
    """Load a trained student, which maps images [N, C, H, W] in [0, 1] to logits [N, classes].

    On a GPU, torch by default rounds the factors of convolutions to TF32; kdbench evaluates without
    that, so set `torch.backends.cudnn.conv.fp32_precision = "ieee"` to get the recorded accuracy.

    Args:
        cell: The identity of its cell, as in the column `cell` of `runs`; a unique prefix is
            enough.
        workspace: The workspace that contains the cell.

    Raises:
        InputError: No finished cell or several have this identity, or its files are damaged.
    """
    from benchmark.execution import students

    return students.load_student(Workspace(Path(workspace)), cell)


def _loaded(study: AnyStudy) -> LoadedStudy:
    return study if isinstance(study, LoadedStudy) else load_study(study)


def _store(loaded: LoadedStudy | None, workspace: str | Path, uri: str | None) -> Store:
    from benchmark.tracking.store import open_store

    own = None if loaded is None else loaded.study.tracking.uri
    return open_store(Path(workspace).absolute(), uri or own)


def _experiment(study: AnyStudy, workspace: str | Path, uri: str | None) -> tuple[str, Store]:
    """Return the MLflow experiment of a study, or of the name of one, and its store."""
    from benchmark.study.plan import read_plan

    if isinstance(study, str) and not study.endswith((".yaml", ".yml")):
        plan = Workspace(Path(workspace)).study(study).plan
        experiment = read_plan(plan).experiment if plan.exists() else f"kd/{study}"
        return experiment, _store(None, workspace, uri)

    loaded = _loaded(study)
    return loaded.study.experiment, _store(loaded, workspace, uri)


@contextmanager
def _session(
    loaded: LoadedStudy, workspace: str | Path, device: str | None
) -> Iterator[tuple[Prepared, Session]]:
    """Prepare a study, and show progress while it runs."""
    from benchmark.cli.screen import progress_display, say
    from benchmark.execution import cell_code, environment, prepare
    from benchmark.execution.session import Session

    chosen = environment.device(device)
    files = Workspace(Path(workspace).absolute())
    source = str(loaded.path)
    prepared = prepare.prepare(loaded.study, loaded.text, source, chosen, files, say)
    environment.make_repeatable()
    versions = environment.environment(chosen, cell_code.sources(prepared))

    progress: Progress
    with progress_display() as progress:
        yield prepared, Session(files, source, chosen, versions, progress)
