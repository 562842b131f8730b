"""Opens Optuna's storage, and keeps its password out of all messages.

A search has a database of its own, a file in the workspace, unless the user names another one.
Messages about the two differ: only the other one was chosen with `--storage`.
"""

from __future__ import annotations

import logging
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from benchmark.errors import InputError, first_line
from benchmark.records.layout import SearchFolder
from benchmark.redact import address_problem, shown, shown_address
from benchmark.sqlite_check import check_pages

_REMEDY = (
    "give an SQLAlchemy URL, such as postgresql+psycopg2://host/name, or omit --storage for a file "
    "in the workspace"
)

PATIENCE = 60.0
"""How long to wait for a file that another program has locked, in seconds."""

_NOT_WRITABLE = ("readonly", "unable to open", "disk I/O", "is full", "denied")
"""Words of SQLite's messages about a disk or its permissions, rather than about the content."""


def default_storage(folder: SearchFolder) -> str:
    """Return the address of the database in a study's search folder."""
    return str(URL.create("sqlite", database=str(folder.database.absolute())))


def open_storage(url: str, own: Path | None = None) -> optuna.storages.BaseStorage:
    """Open a storage, and create its tables if it is empty.

    Args:
        url: SQLAlchemy URL of a database.
        own: The file of the search's own database; None if the user named another one.

    Raises:
        InputError: The database cannot be used.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    _check_address(url)
    try:
        if own is not None and own.exists():
            check_pages(own, PATIENCE)
        is_local = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": PATIENCE}} if is_local else {"pool_pre_ping": True}
        with warnings.catch_warnings(action="ignore"):  # unsupported options of a driver
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (
        SQLAlchemyError,
        sqlite3.Error,
        RuntimeError,
        ImportError,
        OSError,
        ValueError,
    ) as error:
        if own is not None:
            raise _problem_of_own(own, error) from None
        reason = shown(first_line(error), url)
        raise InputError(
            f"--storage: {shown_address(url)}: cannot be used ({reason}); {_REMEDY}"
        ) from None


@contextmanager
def storage_errors(url: str, own: Path | None = None) -> Iterator[None]:
    """Turn errors of an open storage into an InputError.

    Args:
        url: Address of the storage, for the message.
        own: The file of the search's own database; None if the user named another one.

    Raises:
        InputError: The database rejected a request.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        if own is not None:
            raise _problem_of_own(own, error.__cause__ or error) from None
        reason = shown(first_line(error.__cause__ or error), url)
        raise InputError(
            f"--storage: {shown(url)}: rejected a request ({reason}); run the same command again "
            "to resume"
        ) from None


def _check_address(url: str) -> None:
    """Raise InputError if it is not certain where an address contains its password."""
    try:
        local = make_url(url).get_backend_name() == "sqlite"
    except (ArgumentError, ValueError):  # ValueError: the port is not a number
        raise InputError(f"--storage: {shown_address(url)}: not an address; {_REMEDY}") from None
    except SQLAlchemyError:
        local = False  # reported when it is opened

    problem = None if local else address_problem(url)
    if problem is not None:
        raise InputError(f"--storage: {shown_address(url)}: {problem}")


def _problem_of_own(path: Path, error: BaseException) -> InputError:
    """Say what is wrong with the search's own database, and how to go on."""
    reason = first_line(error)
    again = "run the same command again"
    if "locked" in reason:
        remedy = (
            f"another program is using it; close that program, such as a dashboard, and {again}"
        )
    elif any(word in reason for word in _NOT_WRITABLE):
        remedy = f"make room, let it and its folder be read and written, and {again}"
    else:
        remedy = f"delete it and {again}; trials that are finished are taken from their records"
    return InputError(f"{path}: cannot be used ({reason}); {remedy}")
