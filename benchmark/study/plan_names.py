"""The names and paths of a plan, which another workspace or a server may have written."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field


def _inside(path: str) -> str:
    """Return a path relative to the study's folder.

    Raises:
        ValueError: The path leads out of the folder.
    """
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError("leads out of the study's folder")
    return path


def _name(study: str) -> str:
    """Return the name of a study, which is that of a folder.

    Raises:
        ValueError: The name is a path.
    """
    if PurePosixPath(_inside(study)).name != study:
        raise ValueError("is not the name of a study")
    return study


Identity = Annotated[str, Field(pattern=r"^[\w-]+$")]
"""Identity of a cell, or key of a teacher."""

Folder = Annotated[str, AfterValidator(_inside)]
"""Folder of a cell or teacher, relative to the study's folder."""

StudyName = Annotated[str, AfterValidator(_name)]
"""Name of a study."""
