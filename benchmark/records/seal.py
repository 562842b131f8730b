"""The seal on the test data, which can be opened only with the journal of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import SealedError
from benchmark.records.journal import Trained, read_journal
from benchmark.records.layout import CellFiles


@dataclass(frozen=True)
class Finished:
    """Evidence that a cell's training is over: the only key to the test data.

    Attributes:
        folder: The folder of the cell.
    """

    folder: Path

    def verify(self) -> None:
        """Check in the journal on disk, not in memory, that training has finished.

        Raises:
            SealedError: The journal has no `trained` record.
        """
        records = read_journal(CellFiles(self.folder).journal)

        if not any(isinstance(record, Trained) for record in records):
            raise SealedError(
                f"{self.folder}: the test data stay sealed until this cell's training is finished"
            )
