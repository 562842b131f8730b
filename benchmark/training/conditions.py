"""The inputs of a cohort: a task for each member, and the conditions that all members share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmark import seeds
from benchmark.data import Data
from benchmark.models import create
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.precision import autocast
from benchmark.training.teacher import Teacher


@dataclass(frozen=True)
class Task:
    """One cell to train.

    Attributes:
        folder: Folder in which the cell is recorded.
        label: The cell's name in messages.
        configuration: Everything that determines the cell's results; written to `folder`.
        student: The network to train.
        method: Name of the method.
        settings: Settings of the method.
        teacher: The architecture of the pair's teacher, for methods whose companion is an untrained
            network of that architecture.
        recipe: The cell's own recipe, which must agree with the cohort's in `Recipe.stream`; None
            to use the cohort's recipe.
    """

    folder: CellFolder
    label: str
    configuration: dict[str, Any]
    student: Network
    method: str
    settings: dict[str, Any]
    teacher: Network | None = None
    recipe: Recipe | None = None

    @property
    def name(self) -> str:
        """The name of the cell's folder, which is its identity."""
        return self.folder.path.name


@dataclass(frozen=True)
class Conditions:
    """The data and settings that the members of a cohort share.

    Attributes:
        data: Training, validation and test data.
        recipe: A recipe whose batches and precision all members share; also that of tasks without
            a recipe of their own.
        seed: The seed that all random streams derive from.
        select: Which epoch's weights are evaluated: `last` or `best_val`.
        teacher: The trained teacher; None if no method needs one.
        environment: Versions and machine, recorded at each start of a cell.
        tested: Whether finished cells are evaluated on the test data; trials of a search never are.
        checkpoint_minutes: Minutes between two checkpoints inside an epoch; None for none.
        engine: How the device runs the steps.
        outputs: Folder of the teacher's stored outputs, if the recipe has `teacher_cache`; None to
            run the teacher on every batch.
    """

    data: Data
    recipe: Recipe
    seed: int
    select: str
    teacher: Teacher | None
    environment: dict[str, str] = field(default_factory=dict)
    tested: bool = True
    checkpoint_minutes: float | None = None
    engine: EngineChoice = EngineChoice.AUTO
    outputs: Path | None = None

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return self.data.steps(self.recipe.batch_size)

    @property
    def samples_per_epoch(self) -> int:
        """Samples in the batches of an epoch; an incomplete last batch is dropped."""
        return self.steps * self.recipe.batch_size

    def autocast(self) -> torch.autocast:
        """Return a context that runs networks in the recipe's precision.

        Losses are computed outside this context, in float32.
        """
        return autocast(self.recipe.precision, self.data.device)

    def build_network(self, network: Network, role: str, where: str) -> TappedModel:
        """Build a network for the data, on the CPU.

        Args:
            network: The network's description in the study.
            role: Name of the random stream that initialises the network's weights.
            where: The network's name in messages.

        Raises:
            InputError: The network cannot be built.
        """
        data = self.data
        with seeds.seeded(self.seed, role):
            return create.tapped(network, where, data.size, data.classes, data.mean, data.std)
