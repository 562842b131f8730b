"""The seam between a cohort and the way in which its device works."""

from __future__ import annotations

from abc import ABC, abstractmethod

from benchmark.data import Loaded
from benchmark.training.member import Member
from benchmark.training.teacher import Teacher


class Engine(ABC):
    """Runs the steps of a cohort. In each, it is given a batch, then the teacher, then the members.

    Attributes:
        settling: Number of steps of a stage after which all steps take equally long.
    """

    settling: int = 1

    @abstractmethod
    def load(self, loaded: Loaded) -> None:
        """Take the batch of the next step."""

    @abstractmethod
    def teach(self, teacher: Teacher, precision: str) -> None:
        """Run the teacher on the batch.

        Args:
            teacher: The teacher.
            precision: The recipe's precision.
        """

    @abstractmethod
    def step(self, member: Member, step: int) -> None:
        """Train a member on the batch, with the teacher's output if the teacher has run.

        Args:
            member: The member.
            step: Index of the batch in the epoch.
        """

    def join(self) -> None:  # noqa: B027  (an engine may do its work in order)
        """Make all later work on the device wait for the steps so far."""

    def close(self) -> None:  # noqa: B027
        """Release what the engine holds on the device."""
