"""The rows that tests of the engine train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import methods
from tests.support.studies import folders, tiny

ALL = (*methods.names(), "kd+at")

ON_MAPS = ("catkd", "fsp", "ft")
"""Need as many channels in both networks, or larger last maps than the tiny pair has."""

KINDS = (
    "student",
    "kd",
    "fitnet",
    "simkd",
    "ab",
    "dml",
    "born_again",
    "random_teacher",
    "mlld",
    "crd",
    "longer",
)
"""One of each kind that the engine treats in a way of its own."""


def row(name: str) -> dict[str, Any]:
    """Return a row of a study, with settings that make the method quick."""
    known = name in methods.names()
    return {"method": name, "settings": methods.get(name).small if known else {}}


def studies() -> list[dict[str, Any]]:
    """Return studies of all methods: most on the tiny pair, some on two networks with maps."""
    with_maps = {
        "name": "pair",
        "teacher": {"model": "cifar_resnet8", "seed": 1},
        "student": "cifar_resnet8",
    }
    return [
        tiny([row(name) for name in ALL if name not in ON_MAPS]),
        tiny([row(name) for name in ON_MAPS], name="maps", pairs=[with_maps]),
    ]


def cells(workspace: Path) -> dict[str, Path]:
    """Return the folders of the cells of those studies, by "row/seed"."""
    return folders(workspace) | folders(workspace, "maps")
