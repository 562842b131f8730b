"""The archive of a study: a tar file that begins with a manifest of its files and their digests.

Equal files give equal archives, byte for byte: times, owners and modes are not stored.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.errors import InputError
from benchmark.files import write_error

MANIFEST = "kdbench.json"
"""Name of the first member."""

_LARGEST_MANIFEST = 1 << 28
"""Maximum size of a manifest in bytes."""

_CHUNK = 1 << 20
"""Number of bytes that are read at a time."""


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class Member(_Plain):
    """A file of an archive.

    Attributes:
        size: Its size in bytes.
        sha256: SHA-256 of its content.
    """

    size: int
    sha256: str


class Manifest(_Plain):
    """The content of an archive.

    Attributes:
        format: Version of the format.
        study: Name of the study.
        files: The files, by path in the archive.
    """

    format: Literal[1] = 1
    study: str
    files: dict[str, Member]


def write_archive(target: Path, study: str, sources: Mapping[str, Path]) -> None:
    """Write an archive, which appears only when it is complete.

    Args:
        target: The file; an existing one is replaced.
        study: Name of the study.
        sources: The files, by path in the archive. They must not change meanwhile.

    Raises:
        InputError: A file cannot be read or written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        files = {name: _member(sources[name]) for name in sorted(sources)}
        manifest = Manifest(study=study, files=files)
        content = manifest.model_dump_json(indent=2).encode() + b"\n"

        with part.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                archive.addfile(_header(MANIFEST, len(content)), io.BytesIO(content))
                for name, member in files.items():
                    with sources[name].open("rb") as source:
                        archive.addfile(_header(name, member.size), source)

            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        part.unlink(missing_ok=True)


def unpack_archive(path: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, checking every file.

    Args:
        path: The archive.
        folder: The folder. If the archive is refused, some files may be left in it.

    Raises:
        InputError: The file is not an archive of kdbench, is damaged or cut, or has unsafe members.
    """
    try:
        with tarfile.open(path, mode="r:") as archive:
            manifest = _read_manifest(path, archive)
            missing = dict(manifest.files)

            while (entry := archive.next()) is not None:
                expected = missing.pop(entry.name, None)
                _check_entry(path, entry, expected)
                assert expected is not None
                content = archive.extractfile(entry)
                assert content is not None
                _unpack(path, entry.name, content, folder / entry.name, expected)
    except (tarfile.TarError, ValueError) as error:
        raise InputError(f"{path}: not an archive of kdbench, or cut off ({error})") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be unpacked ({reason})") from None

    if missing:
        raise InputError(f"{path}: cut off, {min(missing)} is missing; export the study again")
    return manifest


def _read_manifest(path: Path, archive: tarfile.TarFile) -> Manifest:
    """Read the first member, which lists all others."""
    stranger = InputError(f"{path}: not an archive of kdbench; give a file of `kdbench export`")
    first = archive.next()
    if first is None or first.name != MANIFEST or not first.isreg():
        raise stranger
    if first.size > _LARGEST_MANIFEST:
        raise stranger

    content = archive.extractfile(first)
    assert content is not None
    try:
        manifest = Manifest.model_validate_json(content.read())
    except ValidationError:
        raise InputError(
            f"{path}: its manifest is damaged, or from a newer version of kdbench; export the "
            "study again, or import it with the version that wrote it"
        ) from None

    for name in (*manifest.files, manifest.study):
        _check_name(path, name)
    if len(PurePosixPath(manifest.study).parts) != 1:
        raise InputError(f"{path}: unsafe name of a study, {manifest.study!r}; nothing is imported")
    return manifest


def _check_entry(path: Path, entry: tarfile.TarInfo, expected: Member | None) -> None:
    """Raise InputError unless an entry is a plain file of the manifest, which appears once."""
    _check_name(path, entry.name)
    if not entry.isreg() or entry.issparse():
        raise InputError(f"{path}: {entry.name!r} is not a plain file; nothing is imported")
    if expected is None:
        raise InputError(f"{path}: {entry.name!r} is not in its manifest; nothing is imported")
    if entry.size != expected.size:
        raise InputError(f"{path}: {entry.name} is damaged; export the study again")


def _check_name(path: Path, name: str) -> None:
    """Raise InputError if a path may lead out of the folder."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise InputError(f"{path}: unsafe path {name!r}; nothing is imported")


def _unpack(path: Path, name: str, source: IO[bytes], target: Path, expected: Member) -> None:
    """Copy a member to a file, and check its size and digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0

    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())

    if (size, digest.hexdigest()) != (expected.size, expected.sha256):
        raise InputError(f"{path}: {name} is damaged; export the study again")


def _member(path: Path) -> Member:
    """Return the size and digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Member(size=file.tell(), sha256=digest.hexdigest())


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    return header
