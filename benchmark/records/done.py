"""The marker of a finished cell, `done.json`: which weights were evaluated, and the results.

It states the extent of the journal and the digest of the weights, so that damage to them is found.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import DamageError
from benchmark.files import write_json
from benchmark.records.chain import Extent
from benchmark.records.reading import RETRAIN, read_file


class Done(BaseModel):
    """The result of a cell.

    Attributes:
        sha256: Digest of the weights' file.
        epoch: Epoch of the weights, counted from 0.
        metrics: Test metrics and costs.
        size: Size of the weights' file in bytes; None in markers of earlier versions.
        time: Time of the record of the results, in milliseconds since 1970; None in markers of
            earlier versions.
        journal: What the journal contained when the cell was finished; None in markers of earlier
            versions, whose journals are not chained.
        configuration: Digest of the configuration; None in markers of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    epoch: int
    metrics: dict[str, float]
    size: int | None = None
    time: int | None = None
    journal: Extent | None = None
    configuration: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the marker states all that this version writes."""
        return None not in (self.size, self.time, self.journal, self.configuration)


def write_done(path: Path, done: Done) -> None:
    """Write the marker atomically.

    Raises:
        InputError: The file cannot be written.
    """
    write_json(path, done.model_dump(exclude_none=True))


def read_done(path: Path) -> Done:
    """Read a marker.

    Raises:
        DamageError: The file is missing or damaged.
        InputError: The file cannot be read.
    """
    try:
        return Done.model_validate_json(read_file(path))
    except ValidationError:
        raise DamageError(f"{path}: damaged", RETRAIN) from None
