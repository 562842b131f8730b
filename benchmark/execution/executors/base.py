"""The executor contract, and the plain-data cohorts of cells that executors receive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from benchmark.plugins.loading import Plugin
from benchmark.study.schema import Dataset, Recipe, Split
from benchmark.training.engine_choice import EngineChoice

if TYPE_CHECKING:
    from benchmark.data import Data
    from benchmark.training.progress import Progress
    from benchmark.training.teacher import Teacher


STEP_MINUTES = 30.0
"""A step of a large network takes seconds; only one that never ends takes as long as this."""


CHECKPOINT_MINUTES = 15.0
"""A checkpoint of a large cohort takes some ten seconds, about a hundredth of this time."""


class CellSpec(BaseModel):
    """One cell of a cohort.

    Attributes:
        label: Name of the cell in messages and progress events.
        folder: Folder for the cell's files, relative to the workspace; absolute in a rehearsal,
            which leaves the workspace alone.
        configuration: Everything that determines the cell's results; its hash is the cell's
            identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    folder: str
    configuration: dict[str, Any]


class CohortSpec(BaseModel):
    """Everything that a process needs to train one cohort, as plain data.

    A spec survives pickle and JSON unchanged. A process on another host needs the same paths to
    the workspace and the data set, the same installed code, and its own progress listener.

    Attributes:
        workspace: Absolute path of the workspace that contains the teacher and receives the cells.
        dataset: The study's data set; relative names are resolved against its absolute `root`.
        split: How the training images are split.
        recipe: Recipe shared by all cells. A cell's own learning rate and weight decay are in its
            configuration.
        select: Which epoch's weights are kept: `last` or `best_val`.
        seed: Seed of every cell in the cohort.
        teacher: Key of the teacher in the workspace's teacher store; None for a cohort without one,
            such as a teacher that is trained itself.
        device: Name of the device, such as `cpu` or `cuda:0`.
        tested: Whether finished cells are evaluated on the test images; always false for trials.
        environment: Versions and machine, recorded whenever a cell starts. An executor that
            trains on another machine replaces it with that machine's environment.
        cells: The cells, which share every batch and the teacher's forward passes.
        plugins: The plug-ins that the cells may need, which a fresh process loads first.
        step_minutes: Minutes without progress in a training step after which an executor that can
            stop a cell takes it for hanging.
        checkpoint_minutes: Minutes between two checkpoints inside an epoch; None for none.
        engine: How the device runs the steps.
        rehearsal: Seconds for a rehearsal, in which the cells take only a few steps, and report
            what these cost as their results; see `benchmark.training.rehearsal`. None for a
            training.
        profile: Name of the trace of a few steps in the study's folder; None for no trace.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: str
    dataset: Dataset
    split: Split
    recipe: Recipe
    select: str
    seed: int
    teacher: str | None
    device: str
    tested: bool
    environment: dict[str, str]
    cells: tuple[CellSpec, ...]
    plugins: tuple[Plugin, ...] = ()
    step_minutes: float = STEP_MINUTES
    checkpoint_minutes: float | None = CHECKPOINT_MINUTES
    engine: EngineChoice = EngineChoice.AUTO
    rehearsal: float | None = None
    profile: str | None = None


@dataclass(frozen=True)
class Resources:
    """The data and teachers that the cohorts of a study share in one process.

    Attributes:
        data: The study's images.
        teachers: Loaded teachers by key.
    """

    data: Data
    teachers: Mapping[str, Teacher]


class Executor(ABC):
    """Trains cohorts, in this process or elsewhere.

    Each executor is defined in a file of this folder and named after that file. An executor is
    used from a single thread. If it is `parallel`, it is constructed with the number of workers, or
    None for the default; otherwise without arguments.
    """

    parallel: ClassVar[bool] = False
    """Whether it can train several cohorts at once."""

    def __init__(self, workers: int | None = None) -> None:  # noqa: B027
        """Create an executor that has started nothing yet.

        Args:
            workers: Number of workers, for executors that are `parallel`.
        """

    @property
    def workers(self) -> int:
        """Number of cohorts that are trained at once."""
        return 1

    def warm_up(self) -> None:  # noqa: B027  (most executors have nothing to start)
        """Start what takes time before the first cohort is ready."""

    def close(self) -> None:  # noqa: B027
        """End what the executor has started. It may be used again."""

    @abstractmethod
    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        """Train all cohorts, resuming each cell from the state saved in its folder.

        When this method returns, every cell has finished, failed, or been removed by `progress`,
        as recorded in its journal.

        Args:
            cohorts: The cohorts, which are independent of each other.
            resources: Data and teachers already loaded in this process. An executor that trains in
                other processes ignores them, because `worker.work` loads its own.
            progress: Receives the events of all cells. Its `epoch` may raise `LeaveCohort`, which
                removes the cell from its cohort. The cell may be in its next epoch, of which
                nothing is recorded then.

        Raises:
            InputError: A file cannot be read or written. Training progress up to then is kept.
        """
