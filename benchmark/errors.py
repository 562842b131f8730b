"""Errors that users can act on, and helpers for their messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LISTED = 12
"""Maximum number of names that `suggest` lists."""


class InputError(Exception):
    """The user's input is wrong.

    The message is shown without a traceback, one line per problem
    (`file: key: what is wrong; what to do`), and the exit code is 2.
    """


class TrackingError(Exception):
    """MLflow cannot be reached or rejects a request; nothing recorded on disk is lost.

    The message is one line and contains no password.
    """


class LeaveCohort(Exception):  # noqa: N818  (a signal, not an error)
    """Raised by a progress listener to remove a member from its cohort permanently."""


class Stopped(SystemExit):
    """A signal ends the program, whatever code it has interrupted."""


class SealedError(RuntimeError):
    """Test data was requested before training had finished."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def similar(name: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Return the valid name that is most similar to a misspelt one, if any is.

    Args:
        name: What the user wrote.
        known: All valid names.
        cutoff: Similarity, from 0 to 1, below which no name is returned.
    """
    return difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)


def suggest(name: str, known: Iterable[str], *, fallback: str = "", cutoff: float = 0.6) -> str:
    """Return a hint for a misspelt name: "did you mean 'x'?", or a list of valid names.

    Args:
        name: What the user wrote.
        known: All valid names.
        fallback: The hint if no name is similar. If empty, the hint lists the valid names.
        cutoff: Similarity, from 0 to 1, below which no name is suggested.
    """
    names = sorted(known)
    meant = similar(name, names, cutoff)
    if meant:
        return f"did you mean {meant[0]!r}?"

    if fallback or not names:
        return fallback or "there are none"

    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"choose from {', '.join(names[:LISTED])}{more}"
