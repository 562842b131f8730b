"""Runs the steps of a cohort on a GPU as CUDA graphs, on several streams at once.

A step of a small network is a few hundred operations that each take microseconds, so that a GPU
waits for Python most of the time. A graph is launched as a whole. Each member has graphs of its
own, and so does the teacher: a failure stays with its member, and the bits are those of a member
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmark import seeds
from benchmark.data import Loaded
from benchmark.training.conditions import Conditions
from benchmark.training.engines.base import Engine
from benchmark.training.engines.replays import Lane, Moment, Replays
from benchmark.training.engines.slots import Slot
from benchmark.training.member import Member
from benchmark.training.stage import Stage
from benchmark.training.teacher_outputs import TeacherOutputs
from benchmark.training.work import Work
from methods import Output

LANES = 4
"""Streams on which members train side by side. Small networks leave most of a GPU idle."""


@dataclass
class _Seat:
    """Where and how a member trains.

    Attributes:
        lane: The member's lane.
        stage: The stage that the replays belong to.
        replays: The member's graphs.
        epoch: The epoch of the latest step.
        is_due: Whether the member is to be saved as soon as its state is proven.
    """

    lane: Lane
    stage: Stage
    replays: Replays
    epoch: int | None = None
    is_due: bool = False


class Graphs(Engine):
    """Records the steps of members and teacher, and replays those that are proven equal."""

    settling = 5  # of the teacher: one to fill each slot, one more, and one recorded for each slot

    def __init__(self, conditions: Conditions, warn: Callable[[str], None]):
        """Start without graphs.

        Args:
            conditions: The conditions of the cohort, on a GPU.
            warn: Receives a line if graphs turn out not to work for a member or the teacher.
        """
        self._device = conditions.data.device
        self._steps = conditions.steps
        self._warn = warn
        self._lanes = [Lane(self._device) for _ in range(LANES)]
        self._slots: list[Slot] = []
        self._turn = 0
        self._seats: dict[Member, _Seat] = {}
        self._taught = Replays(Lane(self._device))

    def load(self, loaded: Loaded) -> None:
        """Copy the batch of the next step into a slot that no step reads any more."""
        if not self._slots or not self._slots[0].fits(loaded):
            self._renew(loaded)
        for lane in self._lanes:
            self._slots[self._turn].read.append(lane.stream.record_event())

        self._turn = 1 - self._turn
        self._slots[self._turn].fill(loaded, torch.cuda.current_stream(self._device))

    def teach(self, outputs: TeacherOutputs, step: int) -> None:
        """Run the teacher on the batch, beside the members' steps on the batch before."""
        slot = self._slots[self._turn]
        if not outputs.computes:
            self._hold(outputs.of(slot.loaded, step))
            return

        work = Work(
            begin=lambda: None,
            run=lambda: slot.hold(outputs.of(slot.loaded, step)),
            tensors=slot.tensors,
        )
        if slot.output is None:
            work.run()
            return

        self._taught.step(work, self._turn, Moment.WITHIN if step else Moment.FIRST)
        self._tell("the teacher", self._taught)

    def step(self, member: Member, step: int) -> None:
        """Train a member on the batch, in its lane."""
        slot = self._slots[self._turn]
        seat = self._seat(member)
        moment = self._moment(seat, member, step)

        run = partial(seat.replays.step, slot=self._turn, moment=moment)
        seat.lane.stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(seat.lane.stream):
            member.step(slot.loaded, slot.output, step, run)

        member.note = seat.replays.note
        self._tell(member.task.label, seat.replays)
        if seeds.has_drawn(self._device):
            self._move_first(seat)

    def proves(self, member: Member) -> bool:
        """Return whether a member's state is not the outcome of replays that are yet to be proven.

        If it is, the member's next step proves it.
        """
        seat = self._seats.get(member)
        if seat is None or seat.replays.proven:
            return True
        seat.is_due = True
        return False

    def join(self) -> None:
        """Make the main stream wait for all lanes, and drop the graphs of members that left."""
        main = torch.cuda.current_stream(self._device)
        for lane in self._lanes:
            main.wait_stream(lane.stream)
        self._seats = {
            member: seat for member, seat in self._seats.items() if not (member.left or member.done)
        }

    def close(self) -> None:
        """Release all graphs and slots, after their work."""
        self.join()
        self._seats = {}
        self._taught.forget()
        self._slots = []

    def _renew(self, loaded: Loaded) -> None:
        """Make slots for batches like this one. Graphs that read other slots are of no use."""
        self.join()
        self._slots = [Slot(loaded), Slot(loaded)]
        self._taught.forget()
        for seat in self._seats.values():
            seat.replays.forget()

    def _hold(self, output: Output) -> None:
        """Copy an output that was stored into the slot of the batch."""
        slot = self._slots[self._turn]
        if not slot.can_hold(output):  # members need other taps than in the epoch before
            self._renew(slot.loaded)
            loaded, slot = slot.loaded, self._slots[self._turn]
            slot.fill(loaded, torch.cuda.current_stream(self._device))
        slot.hold(output)

    def _seat(self, member: Member) -> _Seat:
        """Return the seat of a member; a new one at the start of each stage."""
        seat = self._seats.get(member)
        if seat is not None and seat.stage is member.state.stage:
            return seat

        lane = self._lanes[len(self._seats) % len(self._lanes)] if seat is None else seat.lane
        seat = _Seat(lane, member.state.stage, _replays(member, lane))
        self._seats[member] = seat
        return seat

    def _moment(self, seat: _Seat, member: Member, step: int) -> Moment:
        is_first = seat.epoch != member.state.epoch
        is_last = step == self._steps - 1 or seat.is_due
        seat.epoch, seat.is_due = member.state.epoch, False
        if is_first:
            return Moment.FIRST
        return Moment.LAST if is_last else Moment.WITHIN

    def _move_first(self, seat: _Seat) -> None:
        """Move a member to the first lane, which all share that draw random numbers on the GPU.

        Some versions of PyTorch keep the seed of all graphs in one place on the device, so that
        graphs that draw must not run at the same time.
        """
        first = self._lanes[0]
        if seat.lane is not first:
            first.stream.wait_stream(seat.lane.stream)
            seat.lane = first
            seat.replays.move(first)

    def _tell(self, name: str, replays: Replays) -> None:
        """Warn once if graphs turned out not to work."""
        if replays.unexpected:
            replays.unexpected = False
            self._warn(f"{name}: runs without CUDA graphs, more slowly: {replays.reason}")


def _replays(member: Member, lane: Lane) -> Replays:
    method = member.parts.method
    reason = "" if method.capturable else "the method's steps wait for the device"
    return Replays(
        lane, reason or member.state.stage.unrecordable, by_epoch=method.changes_by_epoch
    )
