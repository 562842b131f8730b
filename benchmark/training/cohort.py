"""The training loop: one data stream and one teacher pass for many students.

A member's results depend only on its own configuration. Every random draw comes from a stream
derived from the study's seed and a role, the teacher runs the same way whatever the members need,
and members share no state. On one CPU, the results of a cell are therefore identical to the last
bit whether it is trained alone, with others, or in pieces with crashes in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from benchmark.errors import DamageError, InputError, SealedError
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training import engines
from benchmark.training.conditions import Conditions, Task
from benchmark.training.engines import Engine
from benchmark.training.isolation import concerns_all, isolated
from benchmark.training.member import Member
from benchmark.training.precision import float32_products
from benchmark.training.progress import Progress
from benchmark.training.recorder import record_failure, set_aside
from benchmark.training.saving import Saver, TeacherClock
from benchmark.training.stopwatch import Stopwatch
from benchmark.training.teacher_outputs import TeacherOutputs, teacher_outputs
from benchmark.training.tracing import TEACHER, Tracer
from benchmark.training.writing import Writer


def train(
    tasks: Sequence[Task],
    conditions: Conditions,
    progress: Progress,
    heart: Heartbeat | None = None,
    tracer: Tracer | None = None,
) -> None:
    """Train, evaluate and record all tasks side by side, each resuming from its folder.

    A task that raises an error or whose loss is not finite is recorded as failed and removed; the
    others continue.

    Args:
        tasks: The members of the cohort.
        conditions: Data and settings that the members share.
        progress: Receives the progress events of all members.
        heart: Receives what the cohort turns to, step by step.
        tracer: Receives the parts of the steps.

    Raises:
        InputError: A file that the cohort needs cannot be read or written.
    """
    heart = heart or Heartbeat()
    tracer = tracer or Tracer()
    with Writer(heart) as writer, closing(engines.create(conditions, progress.warn)) as engine:
        members = build_members(tasks, conditions, progress, writer, heart)
        first = min((member.state.epoch for member in members), default=0)
        last = max((member.length.epochs for member in members), default=0)

        outputs = teacher_outputs(conditions, members, heart, progress)
        means = _Means(engine, outputs, Saver(conditions), writer, heart, tracer)
        for epoch in range(first, last + 1):
            if any(member.done for member in members):
                writer.settle()  # some of them may leave
            for member in members:
                if member.done:
                    heart.beat(heartbeat.TESTING, member.task.name, member.state.position)
                    with isolated(member):
                        member.finish()

            members = [member for member in members if not member.done and not member.left]
            active = [member for member in members if member.active(epoch)]
            if active:
                with tracer.epoch(epoch):
                    _train_epoch(active, epoch, conditions, means)


def build_members(
    tasks: Sequence[Task],
    conditions: Conditions,
    progress: Progress,
    writer: Writer,
    heart: Heartbeat,
) -> list[Member]:
    """Build the members; tasks whose member cannot be built are recorded as failed."""
    members = []

    for task in tasks:
        heart.beat(heartbeat.BUILDING, task.name)
        try:
            members.append(_build_member(task, conditions, progress, writer))
        except (InputError, SealedError):
            raise
        except BaseException as error:
            if concerns_all(error):
                raise
            record_failure(task, error, progress)

    return members


def _build_member(task: Task, conditions: Conditions, progress: Progress, writer: Writer) -> Member:
    """Build a member; if its files are damaged, set them aside and start from the beginning."""
    try:
        return Member(task, conditions, progress, writer)
    except DamageError as error:
        progress.warn(f"{task.label}: {set_aside(task, error)}, and trained again")
        return Member(task, conditions, progress, writer)


@dataclass(frozen=True)
class _Means:
    """What a cohort trains with, besides its members and their conditions."""

    engine: Engine
    outputs: TeacherOutputs
    saver: Saver
    writer: Writer
    heart: Heartbeat
    tracer: Tracer


def _train_epoch(
    members: Sequence[Member], epoch: int, conditions: Conditions, means: _Means
) -> None:
    engine, heart, tracer = means.engine, means.heart, means.tracer
    data = conditions.data
    precision = conditions.recipe.precision
    watch = Stopwatch(data.device)
    clock = TeacherClock(watch)
    views = any(member.needs.views for member in members)
    start = min(member.state.partial.step for member in members)

    means.outputs.enter(epoch, members)
    heart.beat(heartbeat.BATCH)
    batches = data.epoch(conditions.seed, epoch, conditions.recipe, views, start)
    for step, loaded in enumerate(batches, start):
        means.writer.report()
        members = [member for member in members if member.active(epoch)]
        if not members:
            return

        # A member may have been saved later in the epoch than others.
        turn = [member for member in members if member.state.partial.step == step]
        for member in turn:
            clock.enter(member)

        engine.load(loaded)
        taught = [member for member in turn if member.taught]
        if conditions.teacher is not None and taught:
            with watch.running(), tracer.part(TEACHER), float32_products(precision):
                engine.teach(means.outputs, step)
            clock.passed(taught)

        for member in turn:
            heart.beat(heartbeat.STEP, member.task.name, member.state.position, step)
            with isolated(member), tracer.part(member.task.label), float32_products(precision):
                engine.step(member, step)

        _save_due([member for member in turn if member.active(epoch)], step, clock, means)
        tracer.end_step()
        heart.beat(heartbeat.BATCH)

    engine.join()
    means.writer.settle()
    for member in members:
        if member.active(epoch):
            heart.beat(heartbeat.EPOCH_END, member.task.name, member.state.position)
            with isolated(member):
                member.end_epoch(clock.since(member))
    means.saver.all_saved()


def _save_due(members: Sequence[Member], step: int, clock: TeacherClock, means: _Means) -> None:
    """Save members inside an epoch if it is time for it."""
    due = means.saver.due(members, step, means.engine.proves)
    if not due:
        return

    means.engine.join()
    means.writer.settle()
    for member in due:
        if not member.left:
            means.heart.beat(heartbeat.SAVING, member.task.name, member.state.position, step)
            with isolated(member):
                member.save_inside_epoch(clock.since(member))
