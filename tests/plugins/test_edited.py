"""An edited data set of a plug-in trains what depends on it again; an edited neighbour does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.execution.run import Summary
from tests.plugins.conftest import Write
from tests.support.studies import Listening, run, tiny

pytestmark = pytest.mark.trains

DATA = """
import numpy as np
from benchmark.plugins import Arrays, data_source

@data_source("own_noise")
def own_noise():
    images = np.random.default_rng(0).integers(0, BRIGHTEST, (120, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(120) % 10
    return Arrays(images[:96], labels[:96], images[96:], labels[96:])

BRIGHTEST = 200

def beside():
    return 1
"""


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("BRIGHTEST = 200", "BRIGHTEST = 100", True),
        ("    labels = ", "    labels = 0 + ", True),
        ("return 1", "return 2", False),
        ("    labels = ", "    # a comment\n    labels = ", False),
    ],
)
def test_an_edit_counts_where_the_data_use_it(
    tmp_path: Path, write: Write, old: str, new: str, stale: bool
) -> None:
    path = write("own_noise_file.py", DATA)
    content = tiny(["student"], dataset="own_noise", plugins=["./own_noise_file.py"])
    assert run(tmp_path, content) == Summary(planned=1, trained=1)

    path.write_text(DATA.replace(old, new))
    os.utime(path, ns=(1, 1))
    listening = Listening()
    summary = run(tmp_path, content, listening)
    if stale:
        assert summary == Summary(planned=1, trained=1)
        assert "own_noise_file has changed since" in listening.warnings[0]
    else:
        assert summary == Summary(planned=1, already_done=1)
        assert listening.warnings == []
