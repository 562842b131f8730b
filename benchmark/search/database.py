"""Opens Optuna's storage, and keeps its password out of all messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from benchmark.errors import InputError, first_line
from benchmark.records.layout import SearchFolder
from benchmark.redact import address_problem, shown, shown_address

_REMEDY = (
    "give an SQLAlchemy URL, such as postgresql+psycopg2://host/name, or omit --storage for a file "
    "in the workspace"
)


def default_storage(folder: SearchFolder) -> str:
    """Return the address of the database in a study's search folder."""
    return str(URL.create("sqlite", database=str(folder.database.absolute())))


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a storage, and create its tables if it is empty.

    Args:
        url: SQLAlchemy URL of a database.

    Raises:
        InputError: The database cannot be used.
    """
    logging.getLogger("alembic").setLevel(logging.ERROR)
    _check_address(url)
    try:
        is_local = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": 60}} if is_local else {"pool_pre_ping": True}
        with warnings.catch_warnings(action="ignore"):  # unsupported options of a driver
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, RuntimeError, ImportError, OSError, ValueError) as error:
        reason = shown(first_line(error), url)
        raise InputError(
            f"--storage: {shown_address(url)}: cannot be used ({reason}); {_REMEDY}"
        ) from None


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn errors of an open storage into an InputError.

    Args:
        url: Address of the storage, for the message.

    Raises:
        InputError: The database rejected a request.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
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
