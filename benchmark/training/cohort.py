"""The training loop: one data stream and one teacher pass for a list of students, each with a method of its own.

A member's numbers depend on its own configuration alone. Every random draw comes from a stream named by the study's
seed and a role, the teacher always runs the same way whatever is asked of it, and members share no state; so a cell
trained in company, alone, or in pieces with crashes between them gives the same bits on one CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmark.errors import InputError, LeaveCohort, SealedError
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member, record_failure
from benchmark.training.progress import Progress
from benchmark.training.stopwatch import Stopwatch


def train(tasks: Sequence[Task], conditions: Conditions, progress: Progress) -> None:
    """Trains, evaluates and records all tasks side by side, each from where its folder says it was.

    A task that raises, or whose loss is not finite, is recorded as failed and leaves; the others go on. Raises
    InputError where nothing can be written, or a file to go on from cannot be read.
    """
    members = []
    for task in tasks:
        try:
            members.append(Member(task, conditions, progress))
        except (InputError, SealedError):
            raise
        except Exception as error:
            record_failure(task, error, progress)
    first = min((member.epoch for member in members), default=0)
    last = max((member.length.epochs for member in members), default=0)
    for epoch in range(first, last + 1):
        for member in filter(lambda one: one.done, members):
            with _isolated(member):
                member.finish()
        members = [member for member in members if not member.done and not member.out]
        active = [member for member in members if member.active(epoch)]
        if active:
            _train_epoch(active, epoch, conditions)


def _train_epoch(members: Sequence[Member], epoch: int, conditions: Conditions) -> None:
    data, teacher = conditions.data, conditions.teacher
    watch = Stopwatch(data.device)
    views = any(member.needs.views for member in members)
    for step, loaded in enumerate(data.epoch(conditions.seed, epoch, conditions.recipe, views)):
        active = [member for member in members if member.active(epoch)]
        if not active:
            return
        seen = None
        if teacher is not None and any(member.taught for member in active):
            with watch.running(), conditions.autocast():
                seen = teacher.look(loaded)
        for member in active:
            with _isolated(member):
                member.step(loaded, seen, step)
    seconds = watch.read()
    for member in members:
        if member.active(epoch):
            with _isolated(member):
                member.end_epoch(seconds)


@contextmanager
def _isolated(member: Member) -> Iterator[None]:
    """One member's error does not end the cohort; what concerns them all (the disk, the seal) does."""
    try:
        yield
    except (InputError, SealedError):
        raise
    except LeaveCohort:
        member.leave()
    except Exception as error:
        member.fail(error)
