"""Addresses of MLflow stores."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import InputError, first_line
from benchmark.records.layout import Workspace
from benchmark.redact import address_problem, shown, shown_address
from benchmark.sqlite_check import check_pages
from benchmark.tracking.relocate import relocate

_SQLITE = "sqlite:///"
"""Prefix of the address of a local store."""

_SIGNATURE = b"SQLite format 3\0"
"""First bytes of an SQLite database."""

_ENCODED = "sqlite+pysqlite:///"
"""The same prefix with the driver's name, for encoded paths.

With the short prefix, MLflow takes the encoded path for a real one and creates a folder there.
"""

_SPECIAL = re.compile(r"[%?#]")
"""Characters that have a meaning of their own in an address."""

_PATIENCE = 1.0
"""Seconds to wait for another process that writes to the database, before it goes unchecked."""

RESTORE = "restore it, or move it away and sync the studies again"
"""What to do about a damaged database."""

_EXAMPLE = f"{_SQLITE}{Workspace(Path('path/to')).database}"


@dataclass(frozen=True)
class Store:
    """A place where MLflow stores runs.

    Attributes:
        uri: `sqlite:////absolute/path`, or the address of a server.
        artifacts: `file:///` address of the folder for the files of runs; None for a server.
        run_cache: Folder for the cache of runs; None for no cache.
        workspace: The workspace that uses the store; None if there is none.
    """

    uri: str
    artifacts: str | None
    run_cache: Path | None = field(default=None, compare=False)
    workspace: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Store({shown(self.uri)!r}, {self.artifacts!r})"

    @property
    def database(self) -> Path | None:
        """The database of a local store; None for a server."""
        path = _path(self.uri)
        return Path(path) if path else None

    def is_inside(self, workspace: Path) -> bool:
        """Return whether this is the local store of a workspace, which no other workspace uses."""
        if self.database is None:
            return False
        return self.database.resolve() == Workspace(workspace).database.resolve()


def open_store(workspace: Path, uri: str | None) -> Store:
    """Return the store of a workspace, or the store at an address.

    If a local store was moved, the addresses of files in it are corrected.

    Args:
        workspace: Folder with studies; it contains the store unless an address is given.
        uri: `sqlite:///path`, `http://...` or `https://...`.

    Raises:
        InputError: The address has another form, or its file is not a database.
        TrackingError: The store was moved, and the addresses in it cannot be corrected.
    """
    folder = Workspace(workspace)
    address = uri or database_address(folder.database.absolute())
    if address.startswith(("http://", "https://")):
        problem = address_problem(address)
        if problem is not None:
            raise InputError(f"{shown_address(address)}: {problem}")
        return Store(address.rstrip("/"), None, folder.run_cache, workspace)

    path = _path(address)
    if not path:
        raise InputError(
            f"{shown_address(address)}: not an MLflow store that kdbench can use; give "
            f"http(s)://host:port of an MLflow server, or {_EXAMPLE} (MLflow no longer supports "
            "stores in plain folders)"
        )
    if "?" in address:
        raise InputError(f"{shown(address)}: contains a ?; in the name of a file, write %3F")

    database = Path(path).absolute()
    _check_database(database)
    # Without symbolic links, the address stays valid if a link is removed later.
    artifacts = Workspace(database.parent).artifacts.resolve()
    relocate(database, artifacts)
    return Store(database_address(database), artifacts.as_uri(), folder.run_cache, workspace)


def database_address(database: Path) -> str:
    """Return the address of a database, with the characters encoded that have another meaning."""
    path = str(database)
    if not _SPECIAL.search(path):
        return f"{_SQLITE}{path}"

    from sqlalchemy.engine import URL

    return str(URL.create(_ENCODED.removesuffix(":///"), database=path))


def _path(address: str) -> str:
    """Return the path in the address of a database, as SQLAlchemy reads it; empty for others."""
    if not address.startswith((_SQLITE, _ENCODED)):
        return ""
    if not _SPECIAL.search(address):
        return address.partition(":///")[2]

    from sqlalchemy.engine import make_url

    return make_url(address).database or ""


def _check_database(database: Path) -> None:
    """Raise InputError if a file is not a sound database of MLflow.

    MLflow would keep trying to open some, and would work with the sound parts of others.
    """
    try:
        with database.open("rb") as file:
            start = file.read(len(_SIGNATURE))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(
            f"{database}: cannot be read ({error.strerror}); MLflow keeps its runs in this file"
        ) from None

    if start not in (b"", _SIGNATURE):
        raise InputError(f"{database}: not an SQLite database; {RESTORE}")
    if start:
        _check_content(database)


def _check_content(database: Path) -> None:
    """Raise InputError if a database is damaged, or belongs to another program."""
    try:
        tables = check_pages(database, _PATIENCE)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return  # the process that is writing to it will report any damage
        raise InputError(f"{database}: cannot be opened ({first_line(error)}); {RESTORE}") from None
    except sqlite3.DatabaseError as error:
        raise InputError(f"{database}: damaged ({first_line(error)}); {RESTORE}") from None

    if tables and not {"alembic_version", "experiments", "runs"} <= tables:
        raise InputError(
            f"{database}: a database of another program; give the address of another file"
        )
