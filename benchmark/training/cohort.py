"""The training loop: one data stream and one teacher pass for many students.

A member's results depend only on its own configuration. Every random draw comes from a stream
derived from the study's seed and a role, the teacher runs the same way whatever the members need,
and members share no state. On one CPU, the results of a cell are therefore identical to the last
bit whether it is trained alone, with others, or in pieces with crashes in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmark.errors import DamageError, InputError, LeaveCohort, SealedError
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training.conditions import Conditions, Task
from benchmark.training.isolation import concerns_all
from benchmark.training.member import Member
from benchmark.training.precision import float32_products
from benchmark.training.progress import Progress
from benchmark.training.recorder import record_failure, set_aside
from benchmark.training.saving import Saver, TeacherClock
from benchmark.training.stopwatch import Stopwatch
from benchmark.training.teacher_outputs import TeacherOutputs, teacher_outputs
from benchmark.training.tracing import TEACHER, Tracer


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
    members = build_members(tasks, conditions, progress, heart)
    first = min((member.state.epoch for member in members), default=0)
    last = max((member.length.epochs for member in members), default=0)

    saver = Saver(conditions)
    outputs = teacher_outputs(conditions, members, heart, progress)
    for epoch in range(first, last + 1):
        for member in members:
            if member.done:
                heart.beat(heartbeat.TESTING, member.task.name, member.state.position)
                with isolated(member):
                    member.finish()

        members = [member for member in members if not member.done and not member.left]
        active = [member for member in members if member.active(epoch)]
        if active:
            with tracer.epoch(epoch):
                _train_epoch(active, epoch, conditions, outputs, saver, heart, tracer)


def build_members(
    tasks: Sequence[Task], conditions: Conditions, progress: Progress, heart: Heartbeat
) -> list[Member]:
    """Build the members; tasks whose member cannot be built are recorded as failed."""
    members = []

    for task in tasks:
        heart.beat(heartbeat.BUILDING, task.name)
        try:
            members.append(_build_member(task, conditions, progress))
        except (InputError, SealedError):
            raise
        except BaseException as error:
            if concerns_all(error):
                raise
            record_failure(task, error, progress)

    return members


def _build_member(task: Task, conditions: Conditions, progress: Progress) -> Member:
    """Build a member; if its files are damaged, set them aside and start from the beginning."""
    try:
        return Member(task, conditions, progress)
    except DamageError as error:
        progress.warn(f"{task.label}: {set_aside(task, error)}, and trained again")
        return Member(task, conditions, progress)


def _train_epoch(
    members: Sequence[Member],
    epoch: int,
    conditions: Conditions,
    outputs: TeacherOutputs,
    saver: Saver,
    heart: Heartbeat,
    tracer: Tracer,
) -> None:
    data = conditions.data
    precision = conditions.recipe.precision
    watch = Stopwatch(data.device)
    clock = TeacherClock(watch)
    views = any(member.needs.views for member in members)
    start = min(member.state.partial.step for member in members)

    outputs.enter(epoch, members)
    heart.beat(heartbeat.BATCH)
    batches = data.epoch(conditions.seed, epoch, conditions.recipe, views, start)
    for step, loaded in enumerate(batches, start):
        members = [member for member in members if member.active(epoch)]
        if not members:
            return

        # A member may have been saved later in the epoch than others.
        turn = [member for member in members if member.state.partial.step == step]
        for member in turn:
            clock.enter(member)

        output = None
        taught = [member for member in turn if member.taught]
        if conditions.teacher is not None and taught:
            with watch.running(), tracer.part(TEACHER), float32_products(precision):
                output = outputs.of(loaded, step)
            clock.passed(taught)

        for member in turn:
            heart.beat(heartbeat.STEP, member.task.name, member.state.position, step)
            with isolated(member), tracer.part(member.task.label), float32_products(precision):
                member.step(loaded, output, step)

        for member in saver.due([member for member in turn if member.active(epoch)], step):
            heart.beat(heartbeat.SAVING, member.task.name, member.state.position, step)
            with isolated(member):
                member.save_inside_epoch(clock.since(member))
        tracer.end_step()
        heart.beat(heartbeat.BATCH)

    for member in members:
        if member.active(epoch):
            heart.beat(heartbeat.EPOCH_END, member.task.name, member.state.position)
            with isolated(member):
                member.end_epoch(clock.since(member))
    saver.all_saved()


@contextmanager
def isolated(member: Member) -> Iterator[None]:
    """Confine an error of one member to that member, which is set aside if a file is damaged.

    Errors of the disk, the seal and the device affect the whole cohort and are re-raised.
    """
    try:
        yield
    except DamageError as error:
        member.fail(error)
    except (InputError, SealedError):
        raise
    except LeaveCohort:
        member.leave()
    except BaseException as error:
        if concerns_all(error):
            raise
        member.fail(error)
