"""A journal survives crashes and damage: records are read back, or their loss is reported."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.journal import (
    EarlyEpoch,
    Epoch,
    Failed,
    Final,
    Journal,
    Record,
    Start,
    Stopped,
    Trained,
    decode_line,
    metrics_of,
    parse_record,
    read_journal,
)
from tests.support.records import files_limited_to

TEXT = "é\n\t\"{'}"

WRITTEN_BY_AN_EARLIER_VERSION = (
    b'{"crc":"b7384594","record":{"environment":{"python":"3.11"},"epoch":0,"kind":"start","time":1}}\n'
    b'{"crc":"7da264f5","record":{"epoch":0,"kind":"early","metrics":{"early/lr":0.05},"time":2}}\n'
    b'{"crc":"3bc10bde","record":{"epoch":0,"kind":"epoch","metrics":{"lr":0.05},"time":3}}\n'
    b'{"crc":"3c796b5e","record":{"epoch":0,"kind":"trained","sha256":"ab","time":4}}\n'
    b'{"crc":"f0260368","record":{"kind":"final","metrics":{"test/acc1":97.5},"time":5}}\n'
    b'{"crc":"4b717486","record":{"kind":"failed","reason":"out of luck","time":6}}\n'
)

RECORDS = [
    Start(time=1, epoch=0, environment={"python": "3.11"}),
    EarlyEpoch(time=2, epoch=0, metrics={"early/lr": 0.05}),
    Epoch(time=3, epoch=0, metrics={"lr": 0.05}),
    Trained(time=4, epoch=0, sha256="ab"),
    Final(time=5, metrics={"test/acc1": 97.5}),
    Failed(time=6, reason="out of luck"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of three records."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(Start(time=1, epoch=0, environment={"text": TEXT}))
    journal.append(Epoch(time=2, epoch=0, metrics={"loss": 0.1, TEXT: 1.5}))
    journal.append(Epoch(time=3, epoch=1, metrics={"loss": 1e-17}))
    return journal.path


def kinds(records: list[Record]) -> list[type[Record]]:
    return [type(record) for record in records]


def test_appended_records_are_read_back_and_an_opened_journal_can_be_continued(path: Path) -> None:
    journal = Journal(path)
    assert journal.records == read_journal(path)
    assert journal.records[0] == Start(time=1, epoch=0, environment={"text": TEXT})
    assert journal.records[1] == Epoch(time=2, epoch=0, metrics={"loss": 0.1, TEXT: 1.5})

    journal.append(Trained(epoch=1, sha256="ab"))

    expected: list[type[Record]] = [Start, Epoch, Epoch, Trained]
    assert kinds(read_journal(path)) == expected
    assert journal.records == read_journal(path)


def test_only_a_training_that_was_stopped_says_so_in_its_line(path: Path) -> None:
    journal = Journal(path)
    journal.append(Trained(epoch=1, sha256="ab"))
    assert b"stopped" not in path.read_bytes()

    stopped = Trained(epoch=1, sha256="cd", stopped=Stopped(after=2, planned=5))
    journal.append(stopped)
    assert read_journal(path)[-1] == stopped


def test_a_journal_counts_its_records_and_finds_the_newest_of_a_kind(path: Path) -> None:
    journal = Journal(path)
    assert journal.count(Epoch) == 2
    assert journal.count(EarlyEpoch) == 0
    newest = journal.last(Epoch)
    assert newest is not None
    assert newest.epoch == 1
    assert journal.last(Final) is None


def test_a_journal_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert read_journal(path) == []
    assert Journal(path).records == []
    assert not path.exists()


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_each_kind_of_record_is_read_from_earlier_versions_and_written_with_its_link(
    number: int, tmp_path: Path
) -> None:
    line = WRITTEN_BY_AN_EARLIER_VERSION.splitlines(keepends=True)[number]
    earlier, path = tmp_path / "earlier.jsonl", tmp_path / "journal.jsonl"
    earlier.write_bytes(line)
    assert read_journal(earlier) == [RECORDS[number]]

    Journal(path).append(RECORDS[number])
    linked = decode_line(path.read_bytes())
    plain = decode_line(line)
    assert linked == {**(plain or {}), "number": 1, "previous": ""}
    assert read_journal(path) == [RECORDS[number]]


def test_a_record_without_a_time_gets_the_present_one() -> None:
    now = Final(metrics={}).time
    assert now > 1_700_000_000_000


def test_only_epochs_and_results_have_metrics() -> None:
    metrics = [metrics_of(record) for record in RECORDS]
    assert metrics == [{}, {"early/lr": 0.05}, {"lr": 0.05}, {}, {"test/acc1": 97.5}, {}]


def test_plain_data_of_no_known_kind_are_no_record() -> None:
    with pytest.raises(ValueError, match="kind"):
        parse_record({"kind": "unheard-of"})


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "nan"), (float("-inf"), "-inf"), (float("inf"), "inf"), (3, "3.0")],
)
def test_a_number_that_json_has_no_form_for_leaves_a_whole_record(
    value: float, text: str, path: Path
) -> None:
    Journal(path).append(Epoch(epoch=2, metrics={"loss": value}))
    newest = read_journal(path)[-1]
    assert str(metrics_of(newest)["loss"]) == text


def test_a_torn_last_line_is_ignored_and_repaired_wherever_it_was_torn(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        assert len(read_journal(path)) == 2
        assert path.read_bytes() == whole[:cut]
        Journal(path).append(Epoch(time=3, epoch=1, metrics={"loss": 1e-17}))
        assert path.read_bytes() == whole


def test_any_changed_byte_of_a_whole_line_is_refused_with_the_number_of_the_line(
    path: Path,
) -> None:
    whole = path.read_bytes()
    first_end = whole.index(b"\n")
    second_end = whole.index(b"\n", first_end + 1)
    for index in range(first_end + 1, second_end):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        with pytest.raises(InputError) as error:
            Journal(path)
        assert str(error.value) == (
            f"{path}:2: this record is damaged; "
            "the next run sets the cell aside and trains it again"
        )


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b'"text"', b'{"record":{}}', b"\xff\xfe", b"[" * 5000]
)
def test_a_line_that_is_no_record_is_refused(line: bytes, path: Path) -> None:
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert decode_line(line + b"\n") is None
    with pytest.raises(InputError, match=":1: this record is damaged"):
        read_journal(path)


@pytest.mark.parametrize("body", [b"null", b"[]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_a_line_whose_checksum_is_right_but_that_has_no_object_is_refused(
    body: bytes, path: Path
) -> None:
    line = b'{"crc":"%08x","record":%s}\n' % (zlib.crc32(body), body)
    assert decode_line(line) is None
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(InputError, match=":1: this record is damaged"):
        read_journal(path)


def test_a_whole_record_of_a_later_version_is_refused_with_its_kind(path: Path) -> None:
    class Paused(Record):
        kind: str = "paused"

    Journal(path).append(Paused())
    message = r":4: unknown record 'paused'; open it with the version of kdbench that wrote it$"
    with pytest.raises(InputError, match=message):
        read_journal(path)


def test_a_full_disk_leaves_the_journal_as_it_was_and_it_can_be_continued(path: Path) -> None:
    journal = Journal(path)
    before = path.read_bytes()
    message = r"journal\.jsonl: cannot be written \("
    with files_limited_to(len(before) + 20), pytest.raises(InputError, match=message):
        journal.append(Epoch(epoch=2, metrics={}))
    assert path.read_bytes() == before

    journal.append(Failed(reason="disk"))

    assert kinds(read_journal(path)) == [Start, Epoch, Epoch, Failed]
    assert journal.records == read_journal(path)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_journal_has_the_mode_that_the_umask_gives(umask: int, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = os.umask(umask)
    try:
        Journal(path).append(Start(epoch=0, environment={}))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
