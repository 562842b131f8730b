"""The ways in which a file can be damaged, by a disk, a crash, an editor or a copy."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from benchmark.records.journal import decode_line, encode_line

Damage = Callable[[Path, random.Random], bool]
"""Damages a file; returns False, and leaves it as it is, if it cannot be damaged in this way."""

_NUMBER = re.compile(rb"-?\d+\.?\d*")


def flipped_bit(path: Path, draw: random.Random) -> bool:
    """A bit that a disk or a cable has flipped."""
    content = bytearray(path.read_bytes())
    if not content:
        return False
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return True


def cut(path: Path, draw: random.Random) -> bool:
    """A file that ends too early."""
    content = path.read_bytes()
    if not content:
        return False
    path.write_bytes(content[: draw.randrange(len(content))])
    return True


def zeros(path: Path, draw: random.Random) -> bool:
    """A block that a crash of the machine has left empty."""
    content = path.read_bytes()
    start = draw.randrange(len(content) or 1)
    end = start + draw.randrange(1, 4096)
    damaged = content[:start] + bytes(len(content[start:end])) + content[end:]
    path.write_bytes(damaged)
    return damaged != content


def garbage(path: Path, draw: random.Random) -> bool:
    """Something else under the same name."""
    path.write_bytes(draw.randbytes(draw.randrange(1, 2000)))
    return True


def emptied(path: Path, _: random.Random) -> bool:
    """A file without content."""
    path.write_bytes(b"")
    return True


def deleted(path: Path, _: random.Random) -> bool:
    """A file that is gone."""
    path.unlink()
    return True


def doubled(path: Path, _: random.Random) -> bool:
    """A file that was appended to itself."""
    path.write_bytes(path.read_bytes() * 2)
    return True


def made_a_folder(path: Path, _: random.Random) -> bool:
    """A folder of the same name."""
    path.unlink()
    path.mkdir()
    return True


def made_a_loop(path: Path, _: random.Random) -> bool:
    """A link to itself."""
    path.unlink()
    path.symlink_to(path.name)
    return True


def without_a_line(path: Path, draw: random.Random) -> bool:
    """A text from which a line is missing."""
    lines = _lines(path)
    if len(lines) < 2:
        return False
    del lines[draw.randrange(len(lines))]
    path.write_bytes(b"".join(lines))
    return True


def cut_between_lines(path: Path, draw: random.Random) -> bool:
    """A text whose last lines are missing."""
    lines = _lines(path)
    if len(lines) < 2:
        return False
    path.write_bytes(b"".join(lines[: draw.randrange(1, len(lines))]))
    return True


def swapped_lines(path: Path, draw: random.Random) -> bool:
    """A text with two lines in each other's place."""
    lines = _lines(path)
    if len(lines) < 2:
        return False
    place = draw.randrange(len(lines) - 1)
    changed = [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]]
    path.write_bytes(b"".join(changed))
    return changed != lines


def edited(path: Path, draw: random.Random) -> bool:
    """A text in which somebody has changed a number."""
    content = path.read_bytes()
    found = list(_NUMBER.finditer(content))
    if not found or b"\0" in content:
        return False
    match = draw.choice(found)
    number = b"99" if match.group() != b"99" else b"98"
    path.write_bytes(content[: match.start()] + number + content[match.end() :])
    return True


def edited_with_checksum(path: Path, draw: random.Random) -> bool:
    """A record in which somebody has changed a number and corrected the checksum of the line."""
    lines = _lines(path)
    records = {place: decode_line(line) for place, line in enumerate(lines)}
    whole = {place: record for place, record in records.items() if record is not None}
    if not whole:
        return False

    place, record = draw.choice(sorted(whole.items(), key=lambda item: item[0]))
    text = json.dumps(record).encode()
    found = list(_NUMBER.finditer(text))
    if not found:
        return False
    match = draw.choice(found)
    try:
        changed = json.loads(text[: match.start()] + b"99" + text[match.end() :])
    except ValueError:
        return False
    if changed == record:
        return False
    lines[place] = encode_line(changed)
    path.write_bytes(b"".join(lines))
    return True


def that_of_another(path: Path, draw: random.Random) -> bool:
    """The file of another cell."""
    others = [
        other
        for other in path.parent.parent.glob(f"*/{path.name}")
        if other != path and other.read_bytes() != path.read_bytes()
    ]
    if not others:
        return False
    shutil.copyfile(draw.choice(sorted(others)), path)
    return True


def changed_row(path: Path, draw: random.Random) -> bool:
    """A value that somebody has changed in a database of MLflow, or a row that is gone."""
    statements = (
        "update latest_metrics set value = 99 where key = 'test/acc1' and run_uuid = ?",
        "update metrics set value = 99 where key = 'test/acc1' and run_uuid = ?",
        "delete from metrics where key = 'test/acc1' and run_uuid = ?",
        "update runs set status = 'RUNNING' where run_uuid = ?",
        "update tags set value = 'other' where key = 'method' and run_uuid = ?",
        "update params set value = '7' where run_uuid = ?",
        "delete from params where run_uuid = ?",
    )
    with closing(sqlite3.connect(path)) as database:
        query = "select run_uuid from tags where key = 'method' order by run_uuid"
        runs = [run for (run,) in database.execute(query)]
        count = database.execute(draw.choice(statements), (draw.choice(runs),)).rowcount
        database.commit()
    return count > 0


ANY: tuple[Damage, ...] = (
    flipped_bit,
    flipped_bit,
    cut,
    zeros,
    garbage,
    emptied,
    deleted,
    doubled,
    made_a_folder,
    made_a_loop,
    that_of_another,
)
TEXT: tuple[Damage, ...] = (
    *ANY,
    without_a_line,
    cut_between_lines,
    cut_between_lines,
    swapped_lines,
    edited,
    edited,
    edited_with_checksum,
    edited_with_checksum,
)
DATABASE: tuple[Damage, ...] = (flipped_bit, cut, zeros, garbage, emptied, deleted, made_a_folder)


def ways(path: Path) -> tuple[Damage, ...]:
    """Return the ways in which a file can be damaged."""
    if path.name == "mlflow.db":
        return (*DATABASE, *[changed_row] * 7)
    if path.suffix == ".db":
        return DATABASE
    return TEXT if path.suffix in (".json", ".jsonl", ".yaml") else ANY


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)
