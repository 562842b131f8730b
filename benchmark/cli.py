"""The command line. Heavy packages are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType

from benchmark.errors import InputError, TrackingError, first_line

if TYPE_CHECKING:
    from benchmark.conditions import Progress
    from benchmark.execute import Prepared, Summary
    from benchmark.study import Study
    from benchmark.track import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="kdbench: compare knowledge-distillation methods fairly, and keep every number.",
)
keepers = typer.Typer(no_args_is_help=True, help="Train, import, list and verify teachers.")
app.add_typer(keepers, name="teachers")

UNFOLDED = 10_000
"""Columns: more than any table has."""

output, messages = Console(highlight=False), Console(stderr=True, highlight=False)


class Choices(StrEnum):
    """Which settings a comparison runs with."""

    published = "published"
    tuned = "tuned"


@dataclass
class Options:
    """What stands before the command."""

    workspace: Path = Path("runs")
    debug: bool = False


options = Options()

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study's file.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's file, or its name.")]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A cell's or an MLflow run's identity, or the first digits of one.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; the GPU if there is one by default.")]
CohortSize = Annotated[int | None, typer.Option(min=1, help="Students that train side by side, at most.")]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        envvar="MLFLOW_TRACKING_URI",
        show_envvar=True,
        help="MLflow store or server; by default the study's own, else a local one in the workspace.",
    ),
]


@app.callback()
def before(
    workspace: Annotated[
        Path, typer.Option(envvar="KDBENCH_WORKSPACE", help="Folder for journals, teachers and the local MLflow store.")
    ] = Path("runs"),
    debug: Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")] = False,
) -> None:
    """Options for all commands."""
    options.workspace, options.debug = workspace.absolute(), debug


@app.command()
def run(
    study: StudyFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print cells, cohorts and cost; train nothing.")] = False,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record in MLflow while training.")] = True,
    cohort_size: CohortSize = None,
    settings: Annotated[
        Choices, typer.Option(help="tuned: a second row for each that `kdbench tune` found settings for.")
    ] = Choices.published,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train what a study asks for and is not done, then show its leaderboard."""
    from benchmark import environment, execute, found
    from benchmark.study import load

    loaded = load(study)
    if settings is Choices.tuned:
        loaded = found.with_tuned_rows(loaded, found.place(study))
    where = _store(loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    prepared = execute.prepare(loaded, study.read_text(), str(study), chosen, options.workspace, _say)
    if dry_run:
        _print_plan(prepared, cohort_size)
        return
    environment.make_repeatable()
    folder = options.workspace / loaded.name
    with _progress() as progress, _follower(folder, where, progress) as recorded:
        summary = execute.run(
            prepared, options.workspace, str(study), environment.environment(chosen), progress, cohort_size
        )
    _print_summary(summary, prepared)
    if not recorded():
        messages.print(f"recorded in {folder}; `kdbench sync {study}` puts it into MLflow", soft_wrap=True)
    elif where is not None:
        try:
            _publish(loaded.experiment, where, *_print_leaderboard(loaded.experiment, where), None)
            messages.print(
                f"\n`kdbench leaderboard {study}` writes this table to results/{loaded.name}/", soft_wrap=True
            )
        except InputError as error:
            # What was trained is whole and recorded: only its table is refused.
            messages.print(f"no table: {error}", markup=False, soft_wrap=True)
        messages.print("`kdbench ui` opens the runs in MLflow", soft_wrap=True)
    if summary.failed:
        raise SystemExit(1)


@app.command()
def tune(
    study: StudyFile,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="KDBENCH_STORAGE",
            show_envvar=True,
            metavar="URL",
            help="Optuna's database, such as postgresql+psycopg2://user@host/name; by default a file of the study's.",
        ),
    ] = None,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record the trials in MLflow.")] = True,
    cohort_size: CohortSize = None,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start optuna-dashboard, and search nothing.")] = False,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Search the settings of every method of a study, with the same number of trials each, on validation images."""
    from benchmark import environment, execute, found
    from benchmark import tune as searching
    from benchmark.study import load

    loaded, folder = load(study), options.workspace
    if dashboard:
        _dashboard(storage or searching.default_storage(folder / loaded.name / "search"))
        return
    where = _store(loaded, tracking_uri) if track else None
    chosen = environment.device(device)
    prepared = execute.prepare(loaded, study.read_text(), str(study), chosen, folder, _say)
    environment.make_repeatable()
    known = environment.environment(chosen)
    with _progress() as progress:
        told = _recorder(where, progress)
        outcome = searching.tune(prepared, folder, str(study), known, progress, storage, cohort_size, told)
        told(folder / loaded.name / "search")
    if outcome.best:
        found.write(found.place(study), loaded, outcome.best)
        _show(found.summary(outcome))
        messages.print(f"wrote {found.place(study)}; `kdbench run {study} --settings tuned` compares", soft_wrap=True)
    if where is not None:
        messages.print("`kdbench ui` opens the trials in MLflow", soft_wrap=True)
    for name, reason in prepared.not_applicable.items():
        messages.print(f"not applicable: {name}: {reason}", markup=False, soft_wrap=True)
    for label in outcome.failed:
        journals = folder / loaded.name / "search" / "cells"
        messages.print(
            f"failed: {label}: no trial is complete; see the journals in {journals}", markup=False, soft_wrap=True
        )
    if outcome.failed:
        raise SystemExit(1)


def _recorder(where: Store | None, progress: Progress) -> Callable[[Path], None]:
    """What puts the records of a search into MLflow; a store that refuses is a warning, and the next time comes."""

    def told(folder: Path) -> None:
        from benchmark.track_search import sync_search

        if where is not None:
            try:
                sync_search(folder, where, warn=progress.warn)
            except TrackingError as error:
                progress.warn(f"not in MLflow yet: {error}; `kdbench tune` again brings it there")

    return told


def _dashboard(storage: str) -> None:
    """Serves optuna-dashboard on this machine alone, until it is stopped."""
    from importlib.util import find_spec

    from benchmark import tune as searching
    from benchmark.track import shown

    if find_spec("optuna_dashboard") is None:
        raise InputError("--dashboard: needs the package optuna-dashboard; pip install 'kdbench[dashboard]'")
    opened = searching.open_storage(storage)
    from optuna_dashboard import run_server

    messages.print(f"http://127.0.0.1:8080/ shows {shown(storage)}; Ctrl+C stops it", soft_wrap=True)
    run_server(opened, host="127.0.0.1", port=8080)


@app.command()
def leaderboard(
    study: StudyName,
    results: Annotated[Path, typer.Option(help="Folder that gets a folder with the study's tables.")] = Path("results"),
    mix_environments: Annotated[
        bool, typer.Option("--mix-environments", help="Compare runs of other devices or versions too, and mark them.")
    ] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Print a study's table, from its MLflow runs alone; write it as CSV, Markdown, HTML, LaTeX and pictures."""
    from benchmark import publish, track

    experiment, where = _experiment(study, tracking_uri)
    board, costs, plan, provenance = _print_leaderboard(experiment, where, mix_environments)
    histories = track.histories(experiment, where, "val/acc1")
    files = publish.write(board, costs, plan, results / plan.study, provenance, histories)
    for path in files:
        messages.print(f"wrote {path}", soft_wrap=True)
    _publish(experiment, where, board, costs, plan, provenance, files)


@app.command()
def gallery(
    results: Annotated[Path, typer.Option(help="Folder with a folder of tables per study.")] = Path("results"),
    studies: Annotated[Path, typer.Option(help="Folder with the study files.")] = Path("studies"),
) -> None:
    """Write the front page of all results there are, README.md and index.html, from files alone."""
    from benchmark import gallery as pages

    between = Path(os.path.relpath(studies.absolute(), results.absolute())).as_posix()
    for path in pages.write(results, studies, between):
        messages.print(f"wrote {path}", soft_wrap=True)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="A method, for its card.")] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the page of all methods, and where each runs.")
    ] = None,
) -> None:
    """List the distillation methods, or show the card of one: paper, formula, settings, search space."""
    from benchmark import cards

    if page is None:
        _show(cards.catalogue() if name is None else cards.card(name))
        return
    from benchmark import applicability

    if name is not None:
        raise typer.BadParameter("the page is of all methods; leave the name out", param_hint="--page")
    try:
        page.write_text(applicability.page(_say))
    except OSError as error:
        raise InputError(f"{page}: cannot be written ({error.strerror})") from None


@app.command()
def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a name with * in it.")],
    size: Annotated[int, typer.Option(min=8, help="Height and width of the images.")] = 32,
    classes: Annotated[int, typer.Option(min=2, help="Classes of the data set.")] = 100,
) -> None:
    """List the models whose name matches: parameters, operations, and what methods can tap."""
    from benchmark import catalogue

    _show(catalogue.table(catalogue.models(pattern, (3, size, size), classes)))


@keepers.command("train")
def train_teachers(study: StudyFile, device: Device = None) -> None:
    """Train or fetch the teachers of a study that are not in the store, and no student."""
    from benchmark import environment, execute
    from benchmark.study import load

    loaded, chosen = load(study), environment.device(device)
    prepared = execute.prepare(loaded, study.read_text(), str(study), chosen, options.workspace, _say)
    environment.make_repeatable()
    with _progress() as progress:
        known = environment.environment(chosen)
        execute.obtain_teachers(prepared, options.workspace, str(study), known, progress)
    list_teachers()


@keepers.command("import")
def import_teacher(
    source: Annotated[
        str, typer.Argument(help="A .safetensors file, a file of PyTorch, or runs:/RUN/PATH of an artifact in MLflow.")
    ],
    study: StudyFile,
    pair: Annotated[str | None, typer.Option(help="The pair whose teacher this is; the first by default.")] = None,
    device: Device = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Bring weights that were trained elsewhere, as the teacher that a study describes; measure and store them."""
    import tempfile

    from benchmark import environment, execute, teachers, track
    from benchmark.store import Store as Teachers
    from benchmark.study import load

    loaded, chosen = load(study), environment.device(device)
    names = [one.name for one in loaded.pairs]
    if pair is not None and pair not in names:
        raise InputError(f"--pair: {study} has no pair {pair!r}; there are {', '.join(names)}")
    taught = loaded.pairs[0 if pair is None else names.index(pair)]
    data = execute.load_data(loaded, chosen, options.workspace, _say)
    environment.make_repeatable()
    with tempfile.TemporaryDirectory() as folder:
        remote = source.startswith("runs:/")
        file = track.fetch(source, _store(loaded, tracking_uri), Path(folder)) if remote else Path(source)
        shown = source if remote else file.name
        known = environment.environment(chosen)
        card = teachers.take(shown, file, taught, loaded, Teachers(options.workspace), data, known)
    digits = card["sha256"][:12]
    output.print(f"{taught.teacher.model}: {card['test/acc1']:.2f} % on the test images; weights: {digits}")
    wanted = taught.teacher.weights
    if wanted is None:
        messages.print(f"write `weights: {digits}` under the teacher in {study} to teach from it", soft_wrap=True)
    elif not card["sha256"].startswith(wanted):
        messages.print(f"{study} asks for other weights, {wanted}", soft_wrap=True)


@keepers.command("list")
def list_teachers() -> None:
    """List the stored teachers: what they are, what they reach, where they came from."""
    from benchmark import overview
    from benchmark.store import Store as Teachers

    _show(overview.teachers(Teachers(options.workspace)))


@keepers.command("verify")
def verify_teachers(
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[WEIGHTS]...", help="First digits of the weights; all by default.")
    ] = None,
    device: Device = None,
) -> None:
    """Check that stored teachers are what was stored, and reach what they reached."""
    from benchmark import environment, teachers
    from benchmark.data import Data
    from benchmark.store import Store as Teachers
    from benchmark.study import Dataset, Split

    store, chosen = Teachers(options.workspace), environment.device(device)
    every, damaged = store.cards()
    cards = [store.find(digits, "verify") for digits in weights] if weights else every
    broken = 0 if weights else len(damaged)
    for line in [] if weights else damaged:
        output.print(line, soft_wrap=True)
    for card in cards:
        name = f"{card['key']} {card['network']['model']}"
        try:
            data = Data(Dataset(**card["dataset"]), Split(val=0), chosen, options.workspace / "data", _say)
            if data.fingerprint != card["fingerprint"]:
                raise InputError(f"{data.name}: other images than those that it was measured on")
            now = teachers.check(card, store, data)
        except InputError as error:
            broken += 1
            output.print(f"{name}: {error}", soft_wrap=True)
            continue
        agrees = round(now, 4) == round(card["test/acc1"], 4)
        broken += not agrees
        verdict = "as stored" if agrees else f"stored with {card['test/acc1']:.2f} %"
        output.print(f"{name}: {now:.2f} % on the test images, {verdict}", soft_wrap=True)
    if broken:
        raise SystemExit(1)


@app.command()
def sync(
    study: StudyName,
    tracking_uri: TrackingUri = None,
    follow: Annotated[bool, typer.Option(hidden=True, help="Go on until standard input ends.")] = False,
) -> None:
    """Bring a study's journals into MLflow; at any time, as often as you like."""
    from benchmark import track

    where = _store(_loaded(study), tracking_uri)
    if follow:
        for each in (signal.SIGINT, signal.SIGTERM):  # whoever stops all processes; the parent's end is this one's
            signal.signal(each, signal.SIG_IGN)
        threading.Thread(target=_read_all, args=(ended := threading.Event(),), daemon=True).start()
        raise SystemExit(0 if track.follow(options.workspace / study, where, ended.is_set, warn=_say) else 3)
    found = track.sync(_folder(study), where)
    output.print(
        f"{found.created} runs added, {found.updated} updated, {found.unchanged} unchanged in {track.shown(where.uri)}",
        soft_wrap=True,
    )


@app.command()
def status(study: StudyName) -> None:
    """Show how far a study is, from its journals."""
    from benchmark import overview

    _show(overview.state(_folder(study)))


@app.command()
def show(run: RunName, tracking_uri: TrackingUri = None) -> None:
    """Show a run in MLflow: settings, results, the curve of its validation accuracy, and its address."""
    from benchmark import lookup

    where = _store(None, tracking_uri)
    (found,) = lookup.find([run], where)
    _show(lookup.show(found, where))


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two runs or more, as in `show`.")],
    tracking_uri: TrackingUri = None,
) -> None:
    """Show in which settings and results runs differ."""
    from benchmark import lookup

    if len(runs) < 2:
        raise typer.BadParameter("give two runs or more", param_hint="RUN")
    _show(lookup.compare(lookup.find(runs, _store(None, tracking_uri))))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
    tracking_uri: TrackingUri = None,
) -> None:
    """Start MLflow's page on this workspace's runs, on 127.0.0.1, until Ctrl+C."""
    from benchmark import server, track

    where = track.store(options.workspace, tracking_uri)
    if where.database is None:
        output.print("this server is running already")
        _print_addresses(where.uri, where)
        return
    base = f"http://127.0.0.1:{port}"
    process = server.serve(where, port=port)
    try:
        _print_addresses(base, where)
        output.print("Ctrl+C stops the server")
        process.wait()
    finally:
        server.end(process)


def _print_addresses(base: str, where: Store) -> None:
    """Where a browser finds each study's leaderboard, runs and curves, and each search."""
    from benchmark import pages

    for name, found in pages.addresses(base, where).items():
        if len(found) == 1:
            output.print(f"{name}: {next(iter(found.values()))}", markup=False, soft_wrap=True)
            continue
        output.print(name, markup=False, soft_wrap=True)
        for what, address in found.items():
            output.print(f"  {what:<11} {address}", markup=False, soft_wrap=True)


def _read_all(ended: threading.Event) -> None:
    """Waits for the end of standard input."""
    sys.stdin.read()
    ended.set()


def _show(what: RenderableType) -> None:
    """Prints tables, folded to a terminal's width; elsewhere not at all, because a program looks for whole words."""
    wide = output if output.is_terminal else Console(highlight=False, width=UNFOLDED)
    wide.print(what)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _store(study: Study | None, uri: str | None) -> Store:
    """The option or the environment first, then the study's own, then the workspace's."""
    from benchmark import track

    return track.store(options.workspace, uri or (study.tracking.uri if study is not None else None))


def _loaded(study: str) -> Study | None:
    """The study of a file; None for a name."""
    from benchmark.study import load

    path = Path(study)
    return load(path) if path.suffix in (".yaml", ".yml") else None


def _folder(study: str) -> Path:
    """The folder of a study, by file or name. Raises InputError if it was never run here."""
    loaded = _loaded(study)
    folder = options.workspace / (study if loaded is None else loaded.name)
    if not (folder / "plan.json").exists():
        known = sorted(path.parent.name for path in options.workspace.glob("*/plan.json"))
        there = f"there are {', '.join(known)}" if known else "no study was run there yet"
        raise InputError(f"{study}: no such study in {options.workspace}; {there}")
    return folder


def _experiment(study: str, uri: str | None) -> tuple[str, Store]:
    """A study's experiment in MLflow, and the store that holds it."""
    import json

    loaded = _loaded(study)
    if loaded is not None:
        return loaded.experiment, _store(loaded, uri)
    plan = options.workspace / study / "plan.json"
    experiment = json.loads(plan.read_text())["experiment"] if plan.exists() else f"kd/{study}"
    return experiment, _store(None, uri)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A live display on a terminal, lines elsewhere."""
    from benchmark.console import LiveProgress, PlainProgress

    if messages.is_terminal:
        with LiveProgress(messages) as live:
            yield live
    else:
        yield PlainProgress(messages)


@contextmanager
def _follower(folder: Path, store: Store | None, progress: Progress) -> Iterator[Callable[[], bool]]:
    """A process that feeds MLflow from the journals while this one trains; afterwards, whether all is recorded.

    It ends by itself when its standard input does, however this process ends.
    """
    if store is None:
        yield lambda: False
        return
    command = [sys.executable, "-m", "benchmark", "--workspace", str(folder.parent), "sync", folder.name, "--follow"]
    address = {**os.environ, "MLFLOW_TRACKING_URI": store.uri}  # not an argument: it may hold a password
    process = subprocess.Popen(  # in a group of its own: Ctrl+C could reach it before it has learned to ignore that
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=address, process_group=0
    )
    assert process.stdin is not None
    assert process.stderr is not None
    reader = threading.Thread(target=_pass_on, args=(process.stderr, progress), daemon=True)
    reader.start()
    try:
        yield lambda: process.returncode == 0
    finally:
        process.stdin.close()
        process.wait()
        reader.join()


def _pass_on(lines: IO[str], progress: Progress) -> None:
    with lines:
        for line in lines:
            progress.warn(line.rstrip())


def _print_plan(prepared: Prepared, cohort_size: int | None) -> None:
    """What `run` would do: cells, cohorts, cost."""
    from benchmark import overview

    _show(overview.plan(prepared, options.workspace, cohort_size))


def _print_summary(summary: Summary, prepared: Prepared) -> None:
    """Counts, rows that cannot run, and failures, on standard error."""
    messages.print(
        f"{summary.trained} {'cell' if summary.trained == 1 else 'cells'} trained, {summary.already_done} done before, "
        f"{len(summary.failed)} failed",
        soft_wrap=True,
    )
    for what, reasons in (("not applicable", prepared.not_applicable), ("failed", summary.failed)):
        for name, reason in reasons.items():
            messages.print(f"{what}: {name}: {reason}", markup=False, soft_wrap=True)


def _print_leaderboard(
    experiment: str, store: Store, mix_environments: bool = False
) -> tuple[Any, Any, Any, list[str]]:
    """Prints the table of an experiment; returns table, costs, plan and provenance."""
    from benchmark import findings, terminal, track
    from benchmark import leaderboard as tables

    plan = track.plan(experiment, store)
    runs = track.runs(experiment, store)
    try:
        board, costs = tables.leaderboard(runs, plan, mix_environments), tables.costs(runs, plan)
    except ValueError as error:
        raise InputError(f"experiment {experiment}: {error}") from error
    terminal.to_console(board, costs, plan, output)
    return board, costs, plan, findings.provenance(runs)


def _publish(
    experiment: str, store: Store, board: Any, costs: Any, plan: Any, provenance: list[str], files: list[Path] | None
) -> None:
    """Puts a leaderboard into MLflow: files, description, views. What fails is a warning.

    files: the leaderboard's; None where they have not been written.
    """
    import tempfile

    from benchmark import markdown, pages, publish, track

    def warn(text: str) -> None:
        messages.print(f"warning: {text}", style="yellow", markup=False, soft_wrap=True)

    try:
        note = markdown.to_note(board, plan, track.LONGEST_TAG)
        with tempfile.TemporaryDirectory() as folder:
            if files is None:
                histories = track.histories(experiment, store, "val/acc1")
                files = publish.write(board, costs, plan, Path(folder), provenance, histories)
            pages.publish(experiment, store, plan, note, files, warn)
    except Exception as error:
        warn(f"{experiment}: its report in MLflow could not be written ({first_line(error)})")


def _stop(number: int, _: object) -> None:
    print("kdbench: stopped; the same command goes on from here", file=sys.stderr)
    raise SystemExit(128 + number)


def main() -> None:
    """Runs the command line; every expected error is one line and a code."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        raise SystemExit(app(standalone_mode=False))
    except Exception as error:
        if options.debug:
            raise
        for line in _lines(error):
            print(f"kdbench: {line}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) or _is_usage(error) else 1) from None


def _is_usage(error: Exception) -> bool:
    """Whether the command line itself was wrong. Typer's own class for it is private."""
    return hasattr(error, "format_message")


def _lines(error: Exception) -> list[str]:
    if isinstance(error, InputError | TrackingError):
        return str(error).splitlines()
    if _is_usage(error):
        message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
        return [f"{message}; `kdbench --help` shows what there is"] if message else []
    return [f"{type(error).__name__}: {first_line(error)}; `kdbench --debug ...` shows where"]
