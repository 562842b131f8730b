"""The seam between a cohort and the way in which its device works."""

from __future__ import annotations

from abc import ABC, abstractmethod

from benchmark.data import Loaded
from benchmark.training.member import Member
from benchmark.training.teacher_outputs import TeacherOutputs


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
    def teach(self, outputs: TeacherOutputs, step: int) -> None:
        """Get the teacher's output for the batch.

        Args:
            outputs: Where the cohort gets it from.
            step: Index of the batch in the epoch.
        """

    @abstractmethod
    def step(self, member: Member, step: int) -> None:
        """Train a member on the batch, with the teacher's output if the teacher has run.

        Args:
            member: The member.
            step: Index of the batch in the epoch.
        """

    def proves(self, member: Member) -> bool:
        """Return whether a member may be saved; if not, it may after one of its next steps."""
        return True

    def join(self) -> None:  # noqa: B027  (an engine may do its work in order)
        """Make all later work on the device wait for the steps so far."""

    def close(self) -> None:  # noqa: B027
        """Release what the engine holds on the device."""
