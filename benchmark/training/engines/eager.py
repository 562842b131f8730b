"""Runs every operation of a step when it is called, in order, on any device."""

from __future__ import annotations

from benchmark.data import Loaded
from benchmark.training.engines.base import Engine
from benchmark.training.member import Member
from benchmark.training.teacher_outputs import TeacherOutputs
from methods import Output


class Eager(Engine):
    """Runs every operation when it is called."""

    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._output: Output | None = None

    def load(self, loaded: Loaded) -> None:
        """Take the batch of the next step."""
        self._loaded = loaded
        self._output = None

    def teach(self, outputs: TeacherOutputs, step: int) -> None:
        """Get the teacher's output for the batch."""
        assert self._loaded is not None
        self._output = outputs.of(self._loaded, step)

    def step(self, member: Member, step: int) -> None:
        """Train a member on the batch."""
        assert self._loaded is not None
        member.step(self._loaded, self._output, step)
