"""The test data open to a cell only after its training, as its journal on disk says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.errors import SealedError
from benchmark.records.journal import Epoch, Failed, Final, Journal, Start, Trained
from benchmark.records.seal import Finished


def test_only_a_trained_record_on_the_disk_is_evidence_that_a_cell_is_finished(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "cell"
    folder.mkdir()
    evidence = Finished(folder)
    with pytest.raises(SealedError, match="stay sealed"):
        evidence.verify()

    journal = Journal(folder / "journal.jsonl")
    for record in (
        Start(epoch=0, environment={"kind": "trained"}),
        Epoch(epoch=0, metrics={"trained": 1.0}),
        Failed(reason="trained"),
    ):
        journal.append(record)
        with pytest.raises(SealedError, match="stay sealed"):
            evidence.verify()

    journal.append(Trained(epoch=0, sha256="ab"))
    evidence.verify()
    journal.append(Final(metrics={}))
    evidence.verify()

    shutil.rmtree(folder)
    with pytest.raises(SealedError):
        evidence.verify()
