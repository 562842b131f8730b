"""The context of a command that trains: workspace, device, executor and progress listener."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from benchmark.execution import executors
from benchmark.execution.executors import Executor
from benchmark.execution.teacher_store import TeacherStore
from benchmark.records.layout import Workspace
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.progress import Progress


@dataclass(frozen=True)
class Session:
    """The context shared by the steps of one command, apart from the study itself.

    Attributes:
        workspace: Folder of studies and teachers.
        source: Name of the study's file, for messages.
        device: Device that everything is trained on.
        environment: Versions and machine, recorded whenever a cell starts.
        progress: Receives the events of all cells.
        executor: Trains the cohorts.
        step_minutes: Minutes without progress in a training step after which a cell hangs.
        checkpoint_minutes: Minutes between two checkpoints inside an epoch; None for none.
        engine: How the device runs the steps.
        profile: Whether a few steps of each cohort of students are traced.
    """

    workspace: Workspace
    source: str
    device: torch.device
    environment: dict[str, str]
    progress: Progress = field(default_factory=Progress)
    executor: Executor = field(default_factory=lambda: executors.create(executors.DEFAULT))
    step_minutes: float = executors.STEP_MINUTES
    checkpoint_minutes: float | None = executors.CHECKPOINT_MINUTES
    engine: EngineChoice = EngineChoice.AUTO
    profile: bool = False

    @property
    def workers(self) -> int:
        """Number of cohorts that are trained at once."""
        return self.executor.workers

    @property
    def store(self) -> TeacherStore:
        """The teachers of the workspace."""
        return TeacherStore(self.workspace)
