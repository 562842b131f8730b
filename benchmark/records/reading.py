"""Reads the files of a cell, and tells damage from a lack of access."""

from __future__ import annotations

import errno
from pathlib import Path

from benchmark.errors import DamageError, InputError

RETRAIN = "the next run sets the cell aside and trains it again"
"""Remedy for a damaged file of a cell."""

_NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENOTDIR)
"""Numbers of errors that tell that something else is where a file was."""


def read_file(path: Path) -> bytes:
    """Return the content of a file that a cell must have.

    Raises:
        DamageError: The file is missing, or something else is in its place.
        InputError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamageError(f"{path}: missing", RETRAIN) from None
    except OSError as error:
        raise read_error(path, error) from None


def read_error(path: Path, error: OSError) -> InputError:
    """Return the error for a file of a cell that exists but cannot be read."""
    problem = f"{path}: cannot be read ({error.strerror})"
    if error.errno in _NO_FILE:
        return DamageError(problem, RETRAIN)
    return InputError(f"{problem}; restore access")
