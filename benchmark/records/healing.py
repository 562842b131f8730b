"""Mends files of a cell whose content the other files prove."""

from __future__ import annotations

from benchmark.errors import DamageError
from benchmark.records.chain import Extent
from benchmark.records.done import Done, read_done, write_done
from benchmark.records.integrity import (
    agrees,
    check_records,
    check_weights,
    configuration_digest,
    results_in,
)
from benchmark.records.journal import (
    Final,
    Journal,
    encode_line,
    parse_journal,
    read_content,
)
from benchmark.records.layout import CellFiles


def heal(files: CellFiles, *, weights: bool = True) -> list[str]:
    """Mend a cell that was finished: its last record, and its marker.

    Nothing is changed unless the journal, the marker and the weights prove what was there.

    Args:
        files: The files of the cell.
        weights: Whether a finished cell has its weights; a study's record of a teacher has not.

    Returns:
        What was mended.

    Raises:
        InputError: A file cannot be read or written.
    """
    mended = [_restore_results(files), _restore_marker(files, weights)]
    return [text for text in mended if text]


def _restore_results(files: CellFiles) -> str:
    """Append the record of the results if this gives exactly the journal of the marker."""
    try:
        done = read_done(files.done)
        content = read_content(files.journal)
        _, chain = parse_journal(files.journal, content)
    except DamageError:
        return ""

    if done.journal is None or done.time is None or done.journal.begins(content):
        return ""

    results = Final(time=done.time, metrics=done.metrics)
    line = encode_line({**results.model_dump(exclude_none=True), **chain.link()})
    if not done.journal.begins(content[: chain.extent.size] + line):
        return ""

    Journal(files.journal).append(results)
    return f"{files.journal}: had lost its last record, which {files.done.name} restores"


def _restore_marker(files: CellFiles, weights: bool) -> str:
    """Write the marker again if it is missing or damaged, but the journal has the results."""
    try:
        content = read_content(files.journal)
        records, chain = parse_journal(files.journal, content)
        check_records(files, records)
        results = results_in(records)
        if results is None:
            return ""

        done = _marker(files)
        trained, final = results
        if done is not None and done.journal is not None and not done.journal.begins(content):
            return ""  # the journal is damaged, not the marker

        size = files.weights.stat().st_size if weights and files.weights.exists() else None
        same_size = done is not None and (not weights or done.size in (None, size))
        complete = done is not None and (done.is_complete or not chain.whole)
        if done is not None and complete and same_size and agrees(done, trained, final):
            return ""
        if weights:
            check_weights(files.weights, trained.sha256, None)
    except DamageError:
        return ""

    count = records.index(final) + 1
    lines = content.splitlines(keepends=True)
    extent = Extent.of(lines[:count])
    restored = Done(
        sha256=trained.sha256,
        epoch=trained.epoch,
        metrics=final.metrics,
        size=size,
        time=final.time,
        journal=extent,
        configuration=configuration_digest(files),
    )
    missing = not files.done.exists()
    write_done(files.done, restored)
    for path in files.temporary():
        path.unlink()
    what = "was missing" if missing else "was damaged"
    return f"{files.done}: {what}, and is written again from the journal"


def _marker(files: CellFiles) -> Done | None:
    """Return the marker; None if it is missing or damaged."""
    try:
        return read_done(files.done)
    except DamageError:
        return None
