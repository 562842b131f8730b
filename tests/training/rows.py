"""The rows that tests of the engine train."""

from __future__ import annotations

from typing import Any

import methods

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
