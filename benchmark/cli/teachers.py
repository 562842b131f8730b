"""`teachers`: trains, imports, lists and verifies them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Device, StudyFile, TrackingUri, mlflow_store, options
from benchmark.cli.screen import messages, output, print_wide, progress_display, say
from benchmark.errors import InputError
from benchmark.records.layout import Workspace

keepers = typer.Typer(no_args_is_help=True, help="Train, import, list and verify teachers.")


@keepers.command("train")
def train_teachers(study: StudyFile, device: Device = None) -> None:
    """Train or fetch the teachers of a study that are not in the store, and no student."""
    from benchmark.execution import environment, prepare, run
    from benchmark.execution.session import Session
    from benchmark.study.study import load

    loaded, chosen = load(study), environment.device(device)
    workspace = Workspace(options.workspace)
    prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
    environment.make_repeatable()
    with progress_display() as progress:
        session = Session(workspace, str(study), chosen, environment.environment(chosen), progress)
        run.obtain_teachers(prepared, session)
    list_teachers()


@keepers.command("import")
def import_teacher(
    source: Annotated[
        str,
        typer.Argument(
            help="A .safetensors file, a file of PyTorch, or runs:/RUN/PATH of an artifact in MLflow."
        ),
    ],
    study: StudyFile,
    pair: Annotated[
        str | None, typer.Option(help="The pair whose teacher this is; the first by default.")
    ] = None,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Bring weights that were trained elsewhere, as the teacher that a study describes; measure and store them."""
    import tempfile

    from benchmark.execution import environment, prepare, teachers
    from benchmark.execution.session import Session
    from benchmark.study.study import load
    from benchmark.tracking import runs

    loaded, chosen = load(study), environment.device(device)
    names = [one.name for one in loaded.pairs]
    if pair is not None and pair not in names:
        raise InputError(f"--pair: {study} has no pair {pair!r}; there are {', '.join(names)}")
    taught = loaded.pairs[0 if pair is None else names.index(pair)]
    workspace = Workspace(options.workspace)
    data = prepare.load_data(loaded.dataset, loaded.split, chosen, workspace, say)
    environment.make_repeatable()
    with tempfile.TemporaryDirectory() as folder:
        remote = source.startswith("runs:/")
        file = (
            runs.fetch(source, mlflow_store(loaded, tracking_uri), Path(folder))
            if remote
            else Path(source)
        )
        shown = source if remote else file.name
        session = Session(workspace, str(study), chosen, environment.environment(chosen))
        card = teachers.import_weights(file, shown, taught, loaded, data, session)
    digits = card.sha256[:12]
    output.print(
        f"{taught.teacher.model}: {card.test_acc1:.2f} % on the test images; weights: {digits}"
    )
    wanted = taught.teacher.weights
    if wanted is None:
        messages.print(
            f"write `weights: {digits}` under the teacher in {study} to teach from it",
            soft_wrap=True,
        )
    elif not card.sha256.startswith(wanted):
        messages.print(f"{study} asks for other weights, {wanted}", soft_wrap=True)


@keepers.command("list")
def list_teachers() -> None:
    """List the stored teachers: what they are, what they reach, where they came from."""
    from benchmark.cli import status
    from benchmark.execution.teacher_store import TeacherStore

    print_wide(status.teachers(TeacherStore(Workspace(options.workspace))))


@keepers.command("verify")
def verify_teachers(
    weights: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WEIGHTS]...", help="First digits of the weights; all by default."),
    ] = None,
    device: Device = None,
) -> None:
    """Check that stored teachers are what was stored, and reach what they reached."""
    from benchmark.execution import environment, prepare, teachers
    from benchmark.execution.teacher_store import TeacherStore
    from benchmark.study.schema import Split

    workspace, chosen = Workspace(options.workspace), environment.device(device)
    store = TeacherStore(workspace)
    every, damaged = store.cards()
    cards = [store.find(digits, "verify") for digits in weights] if weights else every
    broken = 0 if weights else len(damaged)
    for line in [] if weights else damaged:
        output.print(line, soft_wrap=True)
    for card in cards:
        name = f"{card.sha256[:12]} {card.network.model}"
        try:
            data = prepare.load_data(card.dataset, Split(val=0), chosen, workspace, say)
            if data.fingerprint != card.fingerprint:
                raise InputError(f"{data.name}: other images than those that it was measured on")
            now = teachers.current_accuracy(card, store, data)
        except InputError as error:
            broken += 1
            output.print(f"{name}: {error}", soft_wrap=True)
            continue
        agrees = round(now, 4) == round(card.test_acc1, 4)
        broken += not agrees
        verdict = "as stored" if agrees else f"stored with {card.test_acc1:.2f} %"
        output.print(f"{name}: {now:.2f} % on the test images, {verdict}", soft_wrap=True)
    if broken:
        raise SystemExit(1)
