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
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.recorder import record_failure, set_aside
from benchmark.training.stopwatch import Stopwatch


def train(tasks: Sequence[Task], conditions: Conditions, progress: Progress) -> None:
    """Train, evaluate and record all tasks side by side, each resuming from its folder.

    A task that raises an error or whose loss is not finite is recorded as failed and removed; the
    others continue.

    Args:
        tasks: The members of the cohort.
        conditions: Data and settings that the members share.
        progress: Receives the progress events of all members.

    Raises:
        InputError: A file that the cohort needs cannot be read or written.
    """
    members = _build_members(tasks, conditions, progress)
    first = min((member.epoch for member in members), default=0)
    last = max((member.length.epochs for member in members), default=0)

    for epoch in range(first, last + 1):
        for member in members:
            if member.done:
                with _isolated(member):
                    member.finish()

        members = [member for member in members if not member.done and not member.left]
        active = [member for member in members if member.active(epoch)]
        if active:
            _train_epoch(active, epoch, conditions)


def _build_members(
    tasks: Sequence[Task], conditions: Conditions, progress: Progress
) -> list[Member]:
    """Build the members; tasks whose member cannot be built are recorded as failed."""
    members = []

    for task in tasks:
        try:
            members.append(_build_member(task, conditions, progress))
        except (InputError, SealedError):
            raise
        except Exception as error:
            record_failure(task, error, progress)

    return members


def _build_member(task: Task, conditions: Conditions, progress: Progress) -> Member:
    """Build a member; if its files are damaged, set them aside and start from the beginning."""
    try:
        return Member(task, conditions, progress)
    except DamageError as error:
        progress.warn(f"{task.label}: {set_aside(task, error)}, and trained again")
        return Member(task, conditions, progress)


def _train_epoch(members: Sequence[Member], epoch: int, conditions: Conditions) -> None:
    data = conditions.data
    teacher = conditions.teacher
    watch = Stopwatch(data.device)
    views = any(member.needs.views for member in members)

    for step, loaded in enumerate(data.epoch(conditions.seed, epoch, conditions.recipe, views)):
        active = [member for member in members if member.active(epoch)]
        if not active:
            return

        output = None
        if teacher is not None and any(member.taught for member in active):
            with watch.running(), conditions.autocast():
                output = teacher.output(loaded)

        for member in active:
            with _isolated(member):
                member.step(loaded, output, step)

    teacher_seconds = watch.read()
    for member in members:
        if member.active(epoch):
            with _isolated(member):
                member.end_epoch(teacher_seconds)


@contextmanager
def _isolated(member: Member) -> Iterator[None]:
    """Confine an error of one member to that member, which is set aside if a file is damaged.

    Errors of the disk and of the seal affect the whole cohort and are re-raised.
    """
    try:
        yield
    except DamageError as error:
        member.fail(error)
    except (InputError, SealedError):
        raise
    except LeaveCohort:
        member.leave()
    except Exception as error:
        member.fail(error)
