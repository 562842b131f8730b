"""`rehearse`: measures a few steps of every kind of cell, and prices the study."""

from __future__ import annotations

import typer

from benchmark.cli.options import (
    EXECUTOR,
    CohortSize,
    Device,
    Engine,
    ExecutorName,
    StepMinutes,
    StudyFile,
    Threads,
    Workers,
    load_study,
    opened_executor,
    workspace_of,
)
from benchmark.cli.screen import messages, print_wide, say, tell
from benchmark.records.layout import Workspace
from benchmark.training.engine_choice import EngineChoice

STEP_MINUTES = 5.0
"""A rehearsal does not wait for a hanging step as long as a training does."""


def rehearse(
    context: typer.Context,
    study: StudyFile,
    cohort_size: CohortSize = None,
    executor: ExecutorName = EXECUTOR,
    workers: Workers = None,
    threads: Threads = None,
    step_minutes: StepMinutes = STEP_MINUTES,
    device: Device = None,
    engine: Engine = EngineChoice.AUTO,
) -> None:
    """Take a few steps of every row, name what will not run, and price the study in hours.

    Nothing is recorded. The exit code is 2 if a row fails.
    """
    from benchmark.cli import price_table
    from benchmark.cli.progress import PlainProgress
    from benchmark.execution import environment, machine, prepare
    from benchmark.execution import rehearse as execution
    from benchmark.execution.price import price
    from benchmark.execution.session import Session

    workspace = Workspace(workspace_of(context))
    loaded = load_study(study)
    with opened_executor(executor, workers) as opened:
        chosen = environment.device(device)
        environment.check_engine(engine, chosen)
        machine.use_threads(threads, chosen, opened.workers)
        prepared = prepare.prepare(loaded, study.read_text(), str(study), chosen, workspace, say)
        environment.make_repeatable()
        session = Session(
            workspace,
            str(study),
            chosen,
            environment.environment(chosen),
            PlainProgress(messages),
            opened,
            step_minutes,
            engine=engine,
        )
        rehearsal = execution.rehearse(prepared, session, cohort_size, say)

    priced = price(prepared, rehearsal, cohort_size, session.workers)
    print_wide(price_table.priced(prepared, rehearsal, priced, session.workers))
    for name, reason in prepared.not_applicable.items():
        tell(f"not applicable: {name}: {reason}")
    for name, reason in rehearsal.failed.items():
        tell(f"will fail: {name}: {reason}")
    if rehearsal.failed:
        raise SystemExit(2)
