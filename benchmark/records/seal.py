"""The seal of the test data: evidence that a training is over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import SealedError
from benchmark.records.journal import Trained, read_journal
from benchmark.records.layout import CellFiles


@dataclass(frozen=True)
class Finished:
    """Evidence that a cell's training is over, which opens the test data. It reads the journal on disk."""

    folder: Path

    def verify(self) -> None:
        """Raises SealedError unless the cell's journal says `trained`."""
        records = read_journal(CellFiles(self.folder).journal)
        if not any(isinstance(record, Trained) for record in records):
            raise SealedError(
                f"{self.folder}: the test data stay sealed until this cell's training is finished"
            )
