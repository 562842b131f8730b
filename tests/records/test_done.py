"""The marker of a finished cell is written and read as by earlier versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.done import Done, read_done, write_done

WRITTEN_BY_AN_EARLIER_VERSION = """{
  "epoch": 2,
  "metrics": {
    "cost/params": 78042.0,
    "test/acc1": 17.817371937639198
  },
  "sha256": "ab"
}
"""

DONE = Done(sha256="ab", epoch=2, metrics={"test/acc1": 17.817371937639198, "cost/params": 78042.0})


def test_a_marker_has_the_bytes_that_earlier_versions_wrote(tmp_path: Path) -> None:
    path = tmp_path / "done.json"
    write_done(path, DONE)
    assert path.read_text() == WRITTEN_BY_AN_EARLIER_VERSION


def test_a_marker_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "done.json"
    path.write_text(WRITTEN_BY_AN_EARLIER_VERSION)
    assert read_done(path) == DONE


def test_a_metric_that_is_not_finite_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "done.json"
    write_done(path, Done(sha256="ab", epoch=0, metrics={"test/ece": float("inf")}))
    assert read_done(path).metrics == {"test/ece": float("inf")}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": "ab"}', "\x00"])
def test_a_damaged_marker_is_refused_with_a_remedy(text: str, tmp_path: Path) -> None:
    path = tmp_path / "done.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_done(path)
    assert (
        str(error.value) == f"{path}: damaged; the next run sets the cell aside and trains it again"
    )


def test_a_missing_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"done\.json: missing; the next run "):
        read_done(tmp_path / "done.json")
