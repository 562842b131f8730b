"""`teachers`: trains, imports, lists and verifies teachers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.options import (
    EXECUTOR,
    CheckpointMinutes,
    Device,
    Engine,
    ExecutorName,
    StepMinutes,
    StudyFile,
    Threads,
    TrackingUri,
    load_study,
    mlflow_store,
    opened_executor,
    workspace_of,
)
from benchmark.cli.screen import print_line, print_wide, progress_display, say, tell
from benchmark.errors import InputError, suggest
from benchmark.execution.executors import CHECKPOINT_MINUTES, STEP_MINUTES
from benchmark.records.layout import Workspace
from benchmark.training.engine_choice import EngineChoice

if TYPE_CHECKING:
    import torch

    from benchmark.execution.teacher_store import TeacherCard, TeacherStore
    from benchmark.study.schema import Pair
    from benchmark.study.study import Study

teachers = typer.Typer(no_args_is_help=True, help="Train, import, list and verify teachers.")


@teachers.command("train")
def train_teachers(
    context: typer.Context,
    study: StudyFile,
    device: Device = None,
    engine: Engine = EngineChoice.AUTO,
    executor: ExecutorName = EXECUTOR,
    threads: Threads = None,
    step_minutes: StepMinutes = STEP_MINUTES,
    checkpoint_minutes: CheckpointMinutes = CHECKPOINT_MINUTES,
) -> None:
    """Train or download the teachers of a study that are not stored yet. Train no students."""
    from benchmark.execution import cell_code, environment, machine, prepare, study_teachers
    from benchmark.execution.session import Session

    workspace = Workspace(workspace_of(context))
    loaded, chosen = load_study(study), environment.device(device)
    environment.check_engine(engine, chosen)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
    environment.make_repeatable()
    with opened_executor(executor, needed=False) as opened, progress_display() as progress:
        machine.use_threads(threads, chosen, opened.workers)
        versions = environment.environment(chosen, cell_code.sources(prepared))
        session = Session(
            workspace,
            str(study),
            chosen,
            versions,
            progress,
            opened,
            step_minutes,
            checkpoint_minutes,
            engine,
        )
        study_teachers.obtain_teachers(prepared, session)
    list_teachers(context)


@teachers.command("import")
def import_teacher(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A .safetensors or PyTorch file, or runs:/RUN/PATH of an MLflow artifact."
        ),
    ],
    study: StudyFile,
    pair: Annotated[
        str | None, typer.Option(help="The pair whose teacher it is; by default, the first pair.")
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            help=(
                "Which weights of the file to take if it contains several, such as "
                "state_dict_ema; by default, the plain ones."
            )
        ),
    ] = None,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Store weights that were trained elsewhere as a study's teacher, and measure them."""
    from benchmark.execution import environment, prepare
    from benchmark.execution.session import Session
    from benchmark.execution.teachers import import_weights
    from benchmark.tracking.runs import fetch

    workspace = Workspace(workspace_of(context))
    loaded, chosen = load_study(study), environment.device(device)
    target = _pair(loaded, study, pair)
    data = prepare.load_data(loaded.dataset, loaded.split, chosen, workspace, say)
    environment.make_repeatable()

    with tempfile.TemporaryDirectory() as folder:
        file, name = Path(source), Path(source).name
        if source.startswith("runs:/"):
            store = mlflow_store(context, loaded, tracking_uri)
            file, name = fetch(source, store, Path(folder)), source
        versions = environment.environment(chosen)
        with progress_display() as progress:
            session = Session(workspace, str(study), chosen, versions, progress)
            origin = name if entry is None else f"{name}: {entry}"
            card = import_weights(file, origin, target, loaded, data, session, entry)

    digits, accuracy = card.sha256[:12], card.test_acc1
    key = f'weights: "{digits}"'  # YAML reads some digests without quotes as numbers
    print_line(f"{target.teacher.model}: {accuracy:.2f} % test accuracy; {key}")
    wanted = target.teacher.weights
    if wanted is None:
        tell(f"to use it, write `{key}` under the teacher in {study}")
    elif not card.sha256.startswith(wanted):
        tell(f"{study} specifies other weights: {wanted}")


@teachers.command("list")
def list_teachers(context: typer.Context) -> None:
    """List the stored teachers: weights, model, data, accuracies and source."""
    from benchmark.cli import status
    from benchmark.execution.teacher_store import TeacherStore

    print_wide(status.teachers(TeacherStore(Workspace(workspace_of(context)))))


@teachers.command("verify")
def verify_teachers(
    context: typer.Context,
    weights: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WEIGHTS]...",
            help="First digits of the weights, as in `teachers list`; by default, all teachers.",
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Check that stored teachers are unchanged and reach their recorded accuracy.

    Networks and data of plug-ins are found through the studies that used a teacher.
    """
    from benchmark.execution import environment
    from benchmark.execution.teacher_store import TeacherStore

    workspace = Workspace(workspace_of(context))
    store, chosen = TeacherStore(workspace), environment.device(device)
    cards, damaged = store.cards()
    if weights:
        cards, damaged = [store.find(digits, "verify") for digits in weights], []

    for line in damaged:
        print_line(line)
    failures = len(damaged)
    for card in cards:
        name = f"{card.sha256[:12]} {card.network.model}"
        try:
            accuracy = _verified(card, store, workspace, chosen)
        except InputError as error:
            failures += 1
            print_line(f"{name}: {error}")
            continue

        agrees = round(accuracy, 4) == round(card.test_acc1, 4)
        failures += not agrees
        verdict = "as stored" if agrees else f"stored with {card.test_acc1:.2f} %"
        print_line(f"{name}: {accuracy:.2f} % test accuracy, {verdict}")
    if failures:
        raise SystemExit(1)


def _pair(study: Study, file: Path, name: str | None) -> Pair:
    """Return the pair of a study with this name, or the first pair if the name is None."""
    if name is None:
        return study.pairs[0]

    pairs = {pair.name: pair for pair in study.pairs}
    if name not in pairs:
        raise InputError(f"--pair: {file} has no pair {name!r}; {suggest(name, pairs)}")
    return pairs[name]


def _verified(
    card: TeacherCard, store: TeacherStore, workspace: Workspace, device: torch.device
) -> float:
    """Return the test accuracy that a stored teacher reaches now, in percent."""
    from benchmark.execution.plan_plugins import load_plugins_of_teacher
    from benchmark.execution.prepare import load_data
    from benchmark.execution.teachers import current_accuracy
    from benchmark.models import create
    from benchmark.study.schema import OwnData, Split

    if isinstance(card.dataset, OwnData) or not create.names(card.network.model):
        load_plugins_of_teacher(card.key, workspace)
    split = Split(val=0, **(card.test_part or {}))
    data = load_data(card.dataset, split, device, workspace, say)
    if data.fingerprint != card.fingerprint:
        raise InputError(f"{data.name}: not the data that the teacher was measured on")
    return current_accuracy(card, store, data)
