"""Corrects the addresses in a local MLflow store that was moved or copied.

MLflow stores the absolute address of the files of each run. When a store is opened in another place
than where it was written, these addresses are replaced by those of the folder beside it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmark.errors import TrackingError
from benchmark.failpoint import failpoint

_PATIENCE = 20.0
"""Seconds to wait for another process that writes to the database."""

_ADDRESSES = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "source", ""),
    ("model_versions", "storage_location", ""),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'"),
)
"""Columns that contain addresses of files: table, column, and the rows that they apply to."""

_ROOTS = """
select distinct artifact_location from experiments join experiment_tags using (experiment_id)
where experiment_tags.key = 'kdbench.study'
"""
"""Addresses under which kdbench stored files. Other experiments may have theirs elsewhere."""

_FOLDERS = (
    ("runs", "select run_uuid from runs"),
    ("logged_models", "select 'models/' || model_id from logged_models"),
)
"""Tables of things that have files, and queries for their folders below the common one."""


def relocate(database: Path, artifacts: Path) -> None:
    """Make the addresses in a store point to the folder where its files are now.

    Addresses outside the store's former folder are left unchanged. Files that an older version
    wrote to the former folder after the move are copied.

    Args:
        database: The database of the store. Nothing happens if it does not exist or is damaged.
        artifacts: The folder for the files of runs.

    Raises:
        TrackingError: Another process keeps the database locked, or a file cannot be copied.
    """
    if not database.exists() or database.stat().st_size == 0:
        return

    new = artifacts.resolve()
    try:
        for root in _former_roots(database, new):
            _copy_missing(database, root, new)
            _replace(database, root, new.as_uri())
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise TrackingError(
                f"{database}: was moved, and cannot be adapted to its new place while another "
                "process writes to it; try again when that process has ended"
            ) from None
    except sqlite3.DatabaseError:
        return  # MLflow reports damaged databases
    except OSError as error:
        raise TrackingError(
            f"{database}: was moved, and cannot be adapted to its new place ({error.strerror})"
        ) from None


def _former_roots(database: Path, new: Path) -> list[str]:
    """Return the addresses of folders other than the current one that contain files of runs."""
    with _opened(database) as connection:
        found = [address.rstrip("/") for (address,) in connection.execute(_ROOTS) if address]

    local = [address for address in found if address.startswith("file:///")]
    return [
        address
        for address in local
        if _path(address).name == new.name and _path(address).resolve() != new
    ]


def _replace(database: Path, old: str, new: str) -> None:
    """Replace the beginning of all addresses below a folder, in one transaction.

    Nothing is left to replace if another process has done so in the meantime.
    """
    with _opened(database) as connection:
        connection.execute("begin immediate")

        for table, column, condition in _ADDRESSES:
            if column not in _columns(connection, table):
                continue  # other versions of MLflow have fewer tables

            below = f"({column} = ? or substr({column}, 1, ?) = ?)"
            connection.execute(
                f"update {table} set {column} = ? || substr({column}, ?) "
                f"where {below} and {condition or 'true'}",
                (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )

        failpoint("relocate.before_commit")
        connection.commit()


def _copy_missing(database: Path, old: str, new: Path) -> None:
    """Copy the files of the store's runs and models that are only in its former folder."""
    former = _path(old)
    if not (former.is_dir() and new.is_dir()):
        return  # a database that was copied alone stays alone

    with _opened(database) as connection:
        owners = [
            name
            for table, query in _FOLDERS
            if _columns(connection, table)
            for (name,) in connection.execute(query)
        ]

    for name in owners:
        for source in _files(former / name):
            target = new / source.relative_to(former)
            if target.exists():
                continue

            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{os.getpid()}.part")
            shutil.copyfile(source, part)
            part.replace(target)


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Return the columns of a table; none if there is no such table."""
    return {row[1] for row in connection.execute(f"pragma table_info({table})")}


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing database. Changes that are not committed are undone at the end."""
    address = f"{database.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()
