"""Where Optuna keeps trials: a database, opened and asked without its password in any message."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from benchmark.errors import InputError, first_line
from benchmark.redact import shown


def default_storage(folder: Path) -> str:
    """Of a study's search folder."""
    return f"sqlite:///{(folder / 'optuna.db').absolute()}"


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Optuna's storage at an address of SQLAlchemy's. Raises InputError, without passwords, if it cannot be reached."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        local = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": 60}} if local else {"pool_pre_ping": True}
        logging.getLogger("alembic").setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"):  # of options that a driver does not know
            return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, RuntimeError, ImportError, OSError, ValueError) as error:
        raise InputError(
            f"--storage: {shown(url)}: cannot be used ({_without_password(error, url)}); give a database as SQLAlchemy "
            "names it, such as postgresql+psycopg2://user@host/name, or leave it out for a file of the study's own"
        ) from None


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raises InputError, without passwords, for a storage that refuses what it is asked later."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        reason = _without_password(error.__cause__ or error, url)
        raise InputError(
            f"--storage: {shown(url)}: refuses ({reason}); once it answers, the same command goes on from here"
        ) from None


def _without_password(error: BaseException, url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    text = shown(first_line(error))
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):  # of a port that is no number
        return "not an address"
    return text.replace(str(password), "***") if password else text
