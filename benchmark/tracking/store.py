"""Where MLflow keeps runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import InputError
from benchmark.redact import shown

_DATABASE = b"SQLite format 3\0"
"""How a file of SQLite's begins."""

MEMORY = "remembered"
"""Folder of a workspace."""


@dataclass(frozen=True)
class Store:
    """Where MLflow keeps runs.

    uri: `sqlite:////absolute/path` or the address of a server. artifacts: `file:///` address of the folder for the
    files of runs; None where the server decides. memory: folder for what was read; None for none.
    """

    uri: str
    artifacts: str | None
    memory: Path | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        return f"Store({shown(self.uri)!r}, {self.artifacts!r})"

    @property
    def database(self) -> Path | None:
        """The file of a local store."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:") else None


def open_store(workspace: Path, uri: str | None) -> Store:
    """The store of a workspace, or the one at `uri`: a path as `sqlite:///path`, or http(s).

    Raises InputError for any other address.
    """
    address = uri or f"sqlite:///{workspace.absolute()}/mlflow.db"
    if address.startswith(("http://", "https://")):
        return Store(address.rstrip("/"), None, workspace / MEMORY)
    file = address.removeprefix("sqlite:///")
    if file in ("", address):
        raise InputError(
            f"{shown(address)}: not an MLflow store that can be used; give http(s)://host:port of an MLflow server, or "
            "sqlite:///path/to/mlflow.db (MLflow has given up stores in plain folders)"
        )
    database = Path(file).absolute()
    _check(database)
    return Store(
        f"sqlite:///{database}", (database.parent / "artifacts").as_uri(), workspace / MEMORY
    )


def _check(database: Path) -> None:
    """Raises InputError for what is no database: MLflow would try again and again."""
    try:
        with database.open("rb") as file:
            start = file.read(len(_DATABASE))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(
            f"{database}: cannot be read ({error.strerror}); MLflow keeps its runs in this file"
        ) from None
    if start not in (b"", _DATABASE):
        raise InputError(
            f"{database}: not a database of SQLite's; restore it, or move it away and sync the studies again"
        )
