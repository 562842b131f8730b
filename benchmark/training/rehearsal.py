"""Measures the steps of a cohort that is not trained, so that a study can be priced beforehand."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field

from benchmark.data import Loaded
from benchmark.errors import InputError
from benchmark.hashing import canonical
from benchmark.models.deployed import DeployedModel
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training import engines, profiling
from benchmark.training.checkpointing import Partial
from benchmark.training.cohort import build_members
from benchmark.training.conditions import Conditions, Task
from benchmark.training.engines import Engine
from benchmark.training.isolation import concerns_all, isolated
from benchmark.training.member import Member
from benchmark.training.precision import float32_products
from benchmark.training.progress import Progress
from benchmark.training.stopwatch import Stopwatch, TeacherTime
from benchmark.training.teacher_outputs import TeacherOutputs
from benchmark.training.writing import Writer

LEAST, MOST = 2, 10
"""Steps that are measured in a stage once the engine has settled: `LEAST` if there is time for
them, `MOST` if they are quick."""

QUICK_SECONDS = 5.0
"""More than `LEAST` steps are measured only while those of a cohort have taken less than this."""

BATCHES, BATCH_SECONDS = 32, 5.0
"""Successive batches that are timed without steps, unless they take longer: they are augmented in
blocks, and the first of a block waits for all of it."""


@dataclass(frozen=True)
class Figures:
    """What was measured of a cell. Times are in seconds.

    Attributes:
        step: Time of a training step, without the teacher.
        early_step: Time of a step of the early stage; 0 without one.
        teacher: Time of the teacher's forward pass of one view of a batch; 0 if no member of the
            cohort needs the teacher.
        batch: Mean time in which a batch is loaded and augmented.
        evaluated: Time of the evaluation of one image.
        built: Time in which the cell's networks are built.
        final: Time in which the costs of a finished cell are measured.
        checkpoint: Time until a checkpoint is on the disk.
        memory: Highest memory use while the cell trained beside the others of its cohort, in MiB;
            see `profiling.peak_memory`.
        steps: Number of measured steps in each stage; 0 if there was no time for more than those in
            which the engine settles.
    """

    step: float
    early_step: float
    teacher: float
    batch: float
    evaluated: float
    built: float
    final: float
    checkpoint: float
    memory: float
    steps: float


def rehearse(
    tasks: Sequence[Task],
    conditions: Conditions,
    seconds: float,
    progress: Progress,
    heart: Heartbeat | None = None,
) -> None:
    """Train all tasks side by side for a few steps, and report their `Figures` as their results.

    Each task is built and trained as `cohort.train` does. One that raises an error is reported as
    failed, and the others continue.

    Args:
        tasks: The members of the cohort. Their folders are of no use afterwards.
        conditions: Data and settings that the members share.
        seconds: Time for the steps. If it is short, fewer are measured; no member is left out.
        progress: Receives the end of each member.
        heart: Receives what the cohort turns to, step by step.

    Raises:
        InputError: A file cannot be read or written.
    """
    heart = heart or Heartbeat()
    with Writer(heart) as writer, closing(engines.create(conditions, progress.warn)) as engine:
        started = time.perf_counter()
        members = build_members(tasks, conditions, progress, writer, heart)
        built = (time.perf_counter() - started) / len(tasks)
        early = [member for member in members if member.length.early]

        rehearsal = _Rehearsal(conditions, engine, heart, writer, built)
        deadline = time.monotonic() + seconds
        if early:
            rehearsal.stage(early, -1, seconds * len(early) / (len(early) + len(members)))
        left = deadline - time.monotonic()
        rehearsal.stage([member for member in members if not member.left], 0, left)

        for member in members:
            if not member.left:
                with isolated(member):
                    figures = rehearsal.figures(member)
                    if not member.left:
                        progress.finished(member.task.label, asdict(figures))


@dataclass
class _Times:
    """The times of one member's steps, and its memory."""

    early: list[float] = field(default_factory=list)
    main: list[float] = field(default_factory=list)
    memory: float = 0.0


class _Rehearsal:
    """Runs the members of a cohort for a few steps, and keeps the times."""

    def __init__(
        self,
        conditions: Conditions,
        engine: Engine,
        heart: Heartbeat,
        writer: Writer,
        built: float,
    ):
        self._conditions = conditions
        self._engine = engine
        self._heart = heart
        self._writer = writer
        self._built = built
        self._watch = Stopwatch(conditions.data.device)
        self._times: dict[Member, _Times] = {}
        self._teacher: list[float] = []
        self._batch = 0.0
        self._evaluated: dict[str, tuple[float, float]] = {}

    def stage(self, members: Sequence[Member], epoch: int, seconds: float) -> None:
        """Measure steps of a stage.

        Args:
            members: The members that take part in the stage.
            epoch: An epoch of the stage.
            seconds: Time for the steps.
        """
        for member in members:
            member.state.enter(epoch)
            member.state.partial = Partial()

        views = any(member.needs.views for member in members)
        if epoch >= 0:
            self._batch = self._batch_seconds(views)
        began = time.monotonic()
        settling = self._engine.settling
        with closing(self._batches(epoch, views)) as batches:
            for measured in range(1 - settling, MOST + 1):
                started = time.monotonic()
                self._step(members, batches)
                if all(member.left for member in members):
                    return

                limit = seconds if measured < LEAST else min(seconds, QUICK_SECONDS)
                ended = time.monotonic()
                expected = ended + (ended - started) - began
                if expected > limit:
                    break

        if epoch < 0:  # the end of the main stage is checked with the figures
            for member in members:
                if not member.left:
                    with isolated(member):
                        self._check(member)

    def figures(self, member: Member) -> Figures:
        """Measure what remains of a member, which leaves if it cannot be saved."""
        times = self._times[member]
        evaluated, final = self._evaluation(member)

        self._heart.beat(heartbeat.SAVING, member.task.name)
        started = time.perf_counter()
        member.save_inside_epoch(TeacherTime())
        self._writer.settle()
        checkpoint = time.perf_counter() - started

        self._check(member)
        stages = [stage for stage in (times.early, times.main) if stage]
        return Figures(
            step=self._typical(times.main),
            early_step=self._typical(times.early),
            teacher=self._typical(self._teacher),
            batch=self._batch,
            evaluated=evaluated,
            built=self._built,
            final=final,
            checkpoint=checkpoint,
            memory=times.memory,
            steps=max(min(len(stage) for stage in stages) - self._engine.settling, 0),
        )

    def _batches(self, epoch: int, views: bool) -> Generator[tuple[int, Loaded]]:
        """Yield the batches of an epoch with their indices, over and over."""
        conditions = self._conditions
        while True:
            batches = conditions.data.epoch(conditions.seed, epoch, conditions.recipe, views)
            yield from enumerate(batches)

    def _batch_seconds(self, views: bool) -> float:
        """Return the mean time of a batch of the main training."""
        self._heart.beat(heartbeat.BATCH)
        count = 0
        started = time.monotonic()
        with closing(self._batches(0, views)) as batches, self._watch.running():
            for _ in itertools.islice(batches, BATCHES):
                count += 1
                if time.monotonic() - started > BATCH_SECONDS:
                    break
        return self._watch.read() / count

    def _step(self, members: Sequence[Member], batches: Iterator[tuple[int, Loaded]]) -> None:
        """Take a step with all members that are still there."""
        self._heart.beat(heartbeat.BATCH)
        step, loaded = next(batches)
        precision = self._conditions.recipe.precision

        present = [member for member in members if not member.left]
        self._engine.load(loaded)
        try:
            with float32_products(precision):
                self._teach(present, loaded)
        except Exception as error:  # such as too little memory
            if isinstance(error, InputError) or concerns_all(error):
                raise
            for member in present:
                member.fail(error)
            return

        for member in present:
            self._heart.beat(heartbeat.STEP, member.task.name, member.state.position, step)
            profiling.forget_peak(loaded.inputs.device)
            with isolated(member), self._watch.running(), float32_products(precision):
                self._engine.step(member, step)
                self._engine.join()

            times = self._times.setdefault(member, _Times())
            stage = times.early if member.state.epoch < 0 else times.main
            stage.append(self._watch.read())
            times.memory = max(times.memory, profiling.peak_memory(loaded.inputs.device))

    def _teach(self, members: Sequence[Member], loaded: Loaded) -> None:
        """Run the teacher on a batch if a member needs it."""
        conditions = self._conditions
        if conditions.teacher is None or not any(member.taught for member in members):
            return

        with self._watch.running():
            self._engine.teach(TeacherOutputs(conditions), 0)
        views = 1 if loaded.second is None else 2
        self._teacher.append(self._watch.read() / views)

    def _check(self, member: Member) -> None:
        """Raise FloatingPointError if a loss was not finite, unless the teacher is untrained.

        What an untrained teacher does to a loss says nothing about the training.
        """
        teacher = self._conditions.teacher
        if teacher is None or teacher.is_trained:
            member.state.partial.log.close(member.state.position + 1)

    def _typical(self, times: Sequence[float]) -> float:
        """Return the median time once the engine has settled; 0 if there are no times."""
        measured = times[self._engine.settling :] or times[-1:]
        return statistics.median(measured) if measured else 0.0

    def _evaluation(self, member: Member) -> tuple[float, float]:
        """Return the time of an image's evaluation and of the measurement of latencies.

        They are measured once for each student; only those with a head of their own differ.
        """
        model = member.parts.model
        key = canonical(member.task.student.identity)
        if isinstance(model, DeployedModel):
            key = member.task.name
        if key not in self._evaluated:
            self._heart.beat(heartbeat.TESTING, member.task.name)
            self._evaluated[key] = profiling.seconds_per_image(model), profiling.duration(model)
        return self._evaluated[key]
