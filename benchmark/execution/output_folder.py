"""Where the outputs of a teacher are stored: a folder named after everything that decides them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark import RULES
from benchmark.data import Data
from benchmark.execution.cell_code import code_of_network
from benchmark.hashing import identity
from benchmark.records.layout import Workspace
from benchmark.study.schema import Network, Recipe
from benchmark.training.stored_taps import FORMAT
from benchmark.training.teacher_outputs import BATCH_SIZE

_ENVIRONMENT = (
    "torch",
    "timm",
    "device",
    "device_name",
    "cpu_capability",
    "threads",
    "cuda",
    "cudnn",
)
"""Parts of the environment that can change the last bits of a network's output."""


def output_folder(
    workspace: Workspace,
    data: Data,
    network: Network,
    sha256: str,
    recipe: Recipe,
    seed: int,
    environment: Mapping[str, str],
) -> Path:
    """Return the folder for the outputs of a teacher for all views of a seed.

    Args:
        workspace: The workspace.
        data: The data, whose training images the teacher sees.
        network: The teacher's network.
        sha256: SHA-256 of the teacher's weights.
        recipe: The recipe of its students.
        seed: Seed of its students.
        environment: Versions and machine; see `environment.environment`.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "rules": RULES,
        "batch_size": BATCH_SIZE,
        "teacher": {**network.identity, "sha256": sha256},
        "code": code_of_network(network),
        "data": data.fingerprint,
        "images": hashlib.sha256(data.train_index.numpy().data).hexdigest(),
        "augmentation": recipe.augmentation.model_dump(exclude_none=True),
        "precision": recipe.precision,
        "seed": seed,
        "environment": {name: environment[name] for name in _ENVIRONMENT},
    }
    return workspace.teacher_outputs / identity(content)
