"""A file is written as a whole or not at all, and a refusal of the disk is one clear line."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import benchmark
from benchmark.errors import InputError
from benchmark.files import read_json, write_all, write_atomically, write_error, write_json
from tests.support.records import files_limited_to

ROOT = Path(benchmark.__file__).parents[1]

KILLED_AT_THE_SECOND_REPLACEMENT = """
import os, sys
from pathlib import Path
from benchmark.files import write_atomically

os.environ["KDBENCH_FAILPOINT"] = "write.before_replace:2"
for content in (b"old", b"new" * 100_000):
    write_atomically(Path(sys.argv[1]) / "file", content)
"""


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"", b"new" * 100_000):
        write_atomically(path, content)
        assert path.read_bytes() == content
    write_json(path, {"b": 1, "a": [None]})
    assert json.loads(path.read_text()) == {"a": [None], "b": 1}
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_file_has_the_mode_that_the_umask_gives(umask: int, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        write_atomically(path, b"content")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/file", "(No such file or directory); check the path"),
        ("file/below", "(Not a directory); a part of the path is a file; remove it or choose"),
        ("folder", "(Is a directory); remove the folder, or choose another path"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_clear_line(
    name: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError) as error:
        write_atomically(tmp_path / name, b"new")
    assert str(error.value).startswith(f"{tmp_path / name}: cannot be written {reason}")
    assert names(tmp_path) == {"folder", "file"}


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError, match=r"file/folder: cannot be written \(Not a directory"):
        write_all(tmp_path / "file" / "folder", {"name": b"new"})
    assert names(tmp_path) == {"file"}


def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    message = r"file: cannot be written \(File too large\); raise the limit on the size of files"
    with files_limited_to(1000), pytest.raises(InputError, match=message):
        write_atomically(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_the_error_of_a_full_disk_says_how_much_is_free_and_what_to_do(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    message = str(write_error(tmp_path / "file", error))
    free = r"cannot be written \(No space left on device; \d+ MiB free\); free some disk space"
    assert re.search(f"file: {free} and run the same command again$", message)


def test_a_process_killed_before_the_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_REPLACEMENT, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 20, b"\xff\xfe", b"{", b"[]", b"null", b"{}", b'{"b": 1}', b"[" * 10**5],
)
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path, "a", remedy="train again")
    assert str(caught.value) == f"{path}: damaged; train again"


def test_a_file_that_cannot_be_read_is_named_with_its_remedy(tmp_path: Path) -> None:
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    for path in (loop, tmp_path, tmp_path / ("x" * 300), tmp_path / "none.json"):
        with pytest.raises(InputError, match=r"cannot be read .*; train again"):
            read_json(path, remedy="train again")


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, "ä"]})
    assert read_json(tmp_path / "x.json", "a", remedy="") == {"a": [1, "ä"]}


def test_what_a_killed_process_had_begun_to_write_is_removed_after_an_hour(tmp_path: Path) -> None:
    recent, old = (tmp_path / f".table.csv.{number}.part" for number in (1, 2))
    for path in (recent, old):
        path.write_bytes(b"begun")
    os.utime(old, (0, 0))
    write_all(tmp_path, {"table.csv": b"whole"})
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", recent.name}
