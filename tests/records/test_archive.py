"""Archives: equal files give equal bytes, and anything else than an intact archive is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.archive import MANIFEST, Manifest, Member, unpack_archive, write_archive

CONTENTS = {"study/plan.json": b"{}", "study/cells/a/student.safetensors": bytes(range(256)) * 99}
Entries = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of two files."""
    path = tmp_path / "small.tar"
    write_archive(path, "small", sources(tmp_path / "sources"))
    return path


def sources(folder: Path) -> dict[str, Path]:
    """Write the files of an archive."""
    files = {}
    for name, content in CONTENTS.items():
        files[name] = folder / name
        files[name].parent.mkdir(parents=True)
        files[name].write_bytes(content)
    return files


def entries(archive: Path) -> Entries:
    """Return the members of an archive with their contents."""
    with tarfile.open(archive) as opened:
        found = []
        for member in opened.getmembers():
            content = opened.extractfile(member)
            assert content is not None
            found.append((member, content.read()))
        return found


def write(archive: Path, members: Entries) -> None:
    """Write an archive with any members."""
    with tarfile.open(archive, "w") as opened:
        for member, content in members:
            opened.addfile(member, io.BytesIO(content))


def test_what_is_unpacked_is_what_was_packed(archive: Path, tmp_path: Path) -> None:
    manifest = unpack_archive(archive, tmp_path / "new")
    assert manifest.study == "small"
    assert set(manifest.files) == set(CONTENTS)
    assert {name: (tmp_path / "new" / name).read_bytes() for name in CONTENTS} == CONTENTS


def test_equal_files_give_equal_archives(archive: Path, tmp_path: Path) -> None:
    files = sources(tmp_path / "later")
    reversed_files = dict(reversed(files.items()))
    write_archive(tmp_path / "again.tar", "small", reversed_files)
    assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_an_archive_that_cannot_be_completed_leaves_no_file(tmp_path: Path) -> None:
    files = {"study/plan.json": tmp_path / "missing"}
    with pytest.raises(InputError, match=r"new\.tar: cannot be written"):
        write_archive(tmp_path / "new.tar", "small", files)
    assert list(tmp_path.iterdir()) == []


def plain(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    """Return a member that is a plain file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(kind: bytes, name: str = "study/plan.json") -> tuple[tarfile.TarInfo, bytes]:
    """Return a member of another kind, such as a link."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/passwd"
    return member, b""


def manifest_of(*names: str, study: str = "small") -> tuple[tarfile.TarInfo, bytes]:
    """Return a manifest of empty files."""
    empty = Member(
        size=0, sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    manifest = Manifest(study=study, files=dict.fromkeys(names, empty))
    return plain(MANIFEST, manifest.model_dump_json().encode())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([plain("study/plan.json")], "not an archive of kdbench"),
        ([plain(MANIFEST, b"{}")], "its manifest is damaged"),
        ([plain(MANIFEST, b'{"format": 2, "study": "a", "files": {}}')], "newer version"),
        ([manifest_of("/etc/x"), plain("/etc/x")], "unsafe path"),
        ([manifest_of("study/../../x"), plain("study/../../x")], "unsafe path"),
        ([manifest_of(), plain("../x")], "unsafe path"),
        ([manifest_of(study="..")], "unsafe path"),
        ([manifest_of(study="a/b")], "unsafe name of a study"),
        ([manifest_of("study/plan.json"), special(tarfile.SYMTYPE)], "not a plain file"),
        ([manifest_of("study/plan.json"), special(tarfile.LNKTYPE)], "not a plain file"),
        ([manifest_of("study/plan.json"), special(tarfile.CHRTYPE)], "not a plain file"),
        ([manifest_of("study/plan.json"), special(tarfile.FIFOTYPE)], "not a plain file"),
        ([manifest_of("study/plan.json"), special(tarfile.DIRTYPE)], "not a plain file"),
        ([manifest_of(), plain("study/more")], "not in its manifest"),
        ([manifest_of("study/a"), plain("study/a"), plain("study/a")], "not in its manifest"),
        ([manifest_of("study/a", "study/b"), plain("study/a")], "study/b is missing"),
        ([manifest_of("study/a"), plain("study/a", b"x")], "study/a is damaged"),
    ],
)
def test_an_unsafe_or_foreign_archive_is_refused_in_one_line(
    tmp_path: Path, members: Entries, message: str
) -> None:
    path = tmp_path / "bad.tar"
    write(path, members)
    with pytest.raises(InputError, match=message) as caught:
        unpack_archive(path, tmp_path / "new")

    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1
    outside = [file for file in tmp_path.rglob("*") if file.is_file() and file != path]
    assert all(file.is_relative_to(tmp_path / "new") for file in outside)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_off_anywhere_is_refused(
    archive: Path, tmp_path: Path, share: float
) -> None:
    content = archive.read_bytes()
    end = content.rindex(CONTENTS["study/plan.json"]) + 2
    archive.write_bytes(content[: int(share * end)])
    with pytest.raises(InputError, match=r"cut off|not an archive|damaged"):
        unpack_archive(archive, tmp_path / "new")


def flip(content: bytes, place: int) -> bytes:
    """Change one bit."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("find", [lambda content: content.rindex(b"{}"), lambda _: 700])
def test_a_changed_bit_is_noticed(
    archive: Path, tmp_path: Path, find: Callable[[bytes], int]
) -> None:
    content = archive.read_bytes()
    archive.write_bytes(flip(content, find(content)))
    with pytest.raises(InputError):
        unpack_archive(archive, tmp_path / "new")


def test_the_members_carry_no_times_and_no_owner(archive: Path) -> None:
    for member, _ in entries(archive):
        assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
