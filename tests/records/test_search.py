"""A record of a search that cannot be read is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.search import read_search


def test_a_missing_record_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_search(tmp_path / "key.json")
    assert str(caught.value) == (
        f"{tmp_path}/key.json: cannot be read (No such file or directory); `kdbench tune` writes "
        "it again"
    )


def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(InputError, match=r"key\.json: damaged; delete it, and `kdbench tune`"):
        read_search(tmp_path / "key.json")
