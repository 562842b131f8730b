"""The marker of a finished cell, `done.json`: which weights were evaluated, and the results."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import InputError
from benchmark.files import write_json


class Done(BaseModel):
    """The result of a cell.

    Attributes:
        sha256: Digest of the weights' file.
        epoch: Epoch of the weights, counted from 0.
        metrics: Test metrics and costs.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    epoch: int
    metrics: dict[str, float]


def write_done(path: Path, done: Done) -> None:
    """Write the marker atomically.

    Raises:
        InputError: The file cannot be written.
    """
    write_json(path, done.model_dump())


def read_done(path: Path) -> Done:
    """Read a marker.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        return Done.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError:
        remedy = "delete the folder to train the cell again"
        raise InputError(f"{path}: damaged; {remedy}") from None
