"""The chain of a journal shows every record that is missing, moved or changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import DamageError
from benchmark.records.chain import Extent
from benchmark.records.journal import (
    Epoch,
    Journal,
    Start,
    Trained,
    decode_line,
    encode_line,
    parse_journal,
    read_journal,
)

PLAIN = b"".join(
    encode_line(content)
    for content in (
        {"kind": "start", "time": 1, "epoch": 0, "environment": {}},
        {"kind": "epoch", "time": 2, "epoch": 0, "metrics": {"lr": 0.5}},
    )
)
"""A journal of a version without a chain."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of five records."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(Start(epoch=0, environment={}))
    for epoch in range(3):
        journal.append(Epoch(epoch=epoch, metrics={"val/acc1": 50.0 + epoch}))
    journal.append(Trained(epoch=2, sha256="ab"))
    return journal.path


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_records_are_numbered_and_name_the_line_before(path: Path) -> None:
    contents = [decode_line(line) or {} for line in lines_of(path)]
    assert [content["number"] for content in contents] == [1, 2, 3, 4, 5]
    extents = [Extent.of([line]) for line in lines_of(path)]
    digests = ["", *(extent.sha256[:16] for extent in extents)]
    assert [content["previous"] for content in contents] == digests[:-1]


@pytest.mark.parametrize("number", range(4))
def test_a_missing_record_is_noticed_at_the_one_that_follows(number: int, path: Path) -> None:
    lines = lines_of(path)
    del lines[number]
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamageError, match=rf":{number + 1}: this record does not follow the one"):
        read_journal(path)


@pytest.mark.parametrize("number", range(4))
def test_records_that_were_swapped_or_repeated_are_noticed(number: int, path: Path) -> None:
    lines = lines_of(path)
    swapped = [*lines[:number], lines[number + 1], lines[number], *lines[number + 2 :]]
    repeated = [*lines[: number + 1], *lines[number:]]
    for changed in (swapped, repeated):
        path.write_bytes(b"".join(changed))
        with pytest.raises(DamageError, match="does not follow the one before"):
            read_journal(path)


@pytest.mark.parametrize("number", range(1, 4))
def test_an_edited_metric_is_noticed_even_if_its_checksum_was_corrected(
    number: int, path: Path
) -> None:
    lines = lines_of(path)
    content = decode_line(lines[number]) or {}
    content["metrics"]["val/acc1"] = 99.0
    lines[number] = encode_line(content)
    path.write_bytes(b"".join(lines))
    with pytest.raises(DamageError, match=rf":{number + 2}: this record does not follow"):
        read_journal(path)


def test_the_extent_is_that_of_the_lines_and_shows_whether_the_end_is_missing(path: Path) -> None:
    journal = Journal(path)
    whole = path.read_bytes()
    assert journal.extent == Extent.of(lines_of(path))
    assert (journal.extent.records, journal.extent.size) == (5, len(whole))
    assert journal.extent.begins(whole)
    assert journal.extent.begins(whole + b"more")
    assert not journal.extent.begins(whole[:-1])
    assert not journal.extent.begins(b"x" + whole[1:])


def test_a_journal_of_an_earlier_version_is_continued_with_a_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(PLAIN)
    journal = Journal(path)
    journal.append(Epoch(epoch=1, metrics={}))
    journal.append(Epoch(epoch=2, metrics={}))

    assert len(read_journal(path)) == 4
    _, chain = parse_journal(path, path.read_bytes())
    assert (chain.linked, chain.whole) == (True, False)

    lines = lines_of(path)
    for number in range(3):
        path.write_bytes(b"".join([*lines[:number], *lines[number + 1 :]]))
        with pytest.raises(DamageError):
            read_journal(path)


def test_a_record_without_a_link_does_not_follow_one_with_a_link(path: Path) -> None:
    with path.open("ab") as file:
        file.write(PLAIN.splitlines(keepends=True)[1])
    with pytest.raises(DamageError, match=":6: this record does not follow"):
        read_journal(path)
