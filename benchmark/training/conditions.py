"""What the members of a cohort are given: a task each, and in common data, recipe, seed and teacher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from benchmark.data import Data
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe
from benchmark.training.teacher import Teacher


@dataclass(frozen=True)
class Task:
    """One cell to train.

    label: its name for people. settings: the method's. teacher: the architecture of the pair's teacher, for methods
    that learn from an untrained one. recipe: with a learning rate and weight decay of its own, where it has such.
    """

    folder: CellFolder
    label: str
    configuration: dict[str, Any]
    student: Network
    method: str
    settings: dict[str, Any]
    teacher: Network | None = None
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Conditions:
    """What the members of a cohort share.

    environment: recorded at the start of each cell. tested: whether finished cells meet the test images; those of a
    search never do.
    """

    data: Data
    recipe: Recipe
    seed: int
    select: str
    teacher: Teacher | None
    environment: dict[str, str] = field(default_factory=dict)
    tested: bool = True

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self.data.steps(self.recipe.batch_size)

    def autocast(self) -> torch.autocast:
        """The recipe's precision for the networks; losses are computed outside, in float32."""
        return torch.autocast(
            self.data.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"
        )
