"""Addresses of MLflow stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import InputError
from benchmark.records.layout import Workspace
from benchmark.redact import shown
from benchmark.tracking.relocate import relocate

_SQLITE = "sqlite:///"
"""Prefix of the address of a local store."""

_SIGNATURE = b"SQLite format 3\0"
"""First bytes of an SQLite database."""

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
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

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
    address = uri or f"{_SQLITE}{folder.database.absolute()}"
    if address.startswith(("http://", "https://")):
        return Store(address.rstrip("/"), None, folder.run_cache, workspace)

    path = address.removeprefix(_SQLITE)
    if path in ("", address):
        raise InputError(
            f"{shown(address)}: not an MLflow store that kdbench can use; give http(s)://host:port "
            f"of an MLflow server, or {_EXAMPLE} (MLflow no longer supports stores in plain "
            "folders)"
        )

    database = Path(path).absolute()
    _check_database(database)
    # Without symbolic links, the address stays valid if a link is removed later.
    artifacts = Workspace(database.parent).artifacts.resolve()
    relocate(database, artifacts)
    return Store(f"{_SQLITE}{database}", artifacts.as_uri(), folder.run_cache, workspace)


def _check_database(database: Path) -> None:
    """Raise InputError if a file is not a database: MLflow would keep trying to open it."""
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
        raise InputError(
            f"{database}: not an SQLite database; restore it, or move it away and sync the "
            "studies again"
        )
