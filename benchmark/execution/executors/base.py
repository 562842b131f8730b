"""The contract of an executor, and the plain data that it gets: cohorts of cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from benchmark.study.schema import Dataset, Recipe, Split

if TYPE_CHECKING:
    from benchmark.execution.worker import Resources
    from benchmark.training.progress import Progress


class CellSpec(BaseModel):
    """One cell of a cohort.

    Attributes:
        label: Name of the cell in messages and progress events.
        folder: Folder of the cell's files, relative to the workspace.
        configuration: Everything that decides the cell's numbers; its hash is the cell's identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    folder: str
    configuration: dict[str, Any]


class CohortSpec(BaseModel):
    """Everything that a process needs to train one cohort, without any live object.

    A spec survives pickle and JSON unchanged. A process on another host needs the same paths for
    the workspace and the data set, the same installed code, and a progress listener of its own.

    Attributes:
        workspace: Absolute path of the workspace, which holds the teacher and gets the cells.
        dataset: The study's data set; relative names are resolved against its absolute `root`.
        split: How the training images are divided.
        recipe: Recipe that all cells share. A cell's own learning rate and weight decay stand in
            its configuration.
        select: Which epoch is kept: `last` or `best_val`.
        seed: Seed of every cell of the cohort.
        teacher: Key of the teacher in the workspace's store.
        device: Name of the device, such as `cpu` or `cuda:0`.
        tested: Whether finished cells are evaluated on the test images; trials never are.
        environment: Versions and machine, recorded whenever a cell starts. An executor that
            trains on another machine puts that machine's environment here.
        cells: The cells, which share each batch and each forward pass of the teacher.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workspace: str
    dataset: Dataset
    split: Split
    recipe: Recipe
    select: str
    seed: int
    teacher: str
    device: str
    tested: bool
    environment: dict[str, str]
    cells: tuple[CellSpec, ...]


class Executor(ABC):
    """Trains cohorts, in this process or elsewhere.

    An executor lives in a file of this folder and is known by the file's name. It is created
    without arguments, and is used by one thread.
    """

    @abstractmethod
    def run(self, cohorts: Iterable[CohortSpec], resources: Resources, progress: Progress) -> None:
        """Train all cohorts, each cell from where its folder says that it was.

        When the method returns, every cell is finished, failed, or was taken out by `progress`;
        its journal says which.

        Args:
            cohorts: The cohorts, independent of each other.
            resources: Data and teachers that this process has already loaded. An executor that
                trains in other processes ignores them; `worker.work` loads its own.
            progress: Gets the events of all cells. Its `epoch` may raise `LeaveCohort`, which
                takes the cell out of its cohort before the next epoch.

        Raises:
            InputError: A file cannot be read or written. What was trained until then is kept.
        """
