"""Errors that users can act on, and helpers for their messages."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

from benchmark.printable import printable
from benchmark.redact import shown

LISTED = 12
"""Maximum number of names that `suggest` lists."""

_REMEDIES = {
    errno.EACCES: "check who may read and write it",
    errno.EPERM: "check who may read and write it",
    errno.EROFS: "the file system is read-only; choose another --workspace",
    errno.ELOOP: "a symbolic link leads back to itself; remove it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOSPC: "free some disk space and run the same command again",
    errno.EDQUOT: "free some disk space and run the same command again",
    errno.EFBIG: "raise the limit on the size of files (`ulimit -f`)",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file; remove it or choose another path",
    errno.EISDIR: "remove the folder, or choose another path",
    errno.EEXIST: "remove it, or choose another path",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EIO: "check the disk, and copy the workspace to another one",
}
"""What to do about errors of the operating system, by number."""


class _MessageError(Exception):
    """An error with a message for users, whose lines can be printed as they are."""

    def __init__(self, *lines: str):
        super().__init__(*map(message_line, lines))

    def __str__(self) -> str:
        return "\n".join(self.args)


class InputError(_MessageError):
    """The user's input is wrong.

    The message is shown without a traceback, one line per problem
    (`file: key: what is wrong; what to do`), and the exit code is 2. Each line is an argument:
    line breaks and control characters within it are escaped, and passwords masked.
    """


class DamageError(InputError):
    """A file of a workspace is damaged or missing.

    Args:
        problem: The file, and what is wrong with it.
        remedy: What to do about it.

    Attributes:
        problem: The file, and what is wrong with it, without a remedy.
    """

    def __init__(self, problem: str, remedy: str = ""):
        super().__init__(f"{problem}; {remedy}" if remedy else problem)
        self.problem = problem


class TrackingError(_MessageError):
    """MLflow cannot be reached or rejects a request; nothing recorded on disk is lost.

    The message is one line and contains no password.
    """


class LeaveCohort(Exception):  # noqa: N818  (a signal, not an error)
    """Raised by a progress listener to remove a member from its cohort permanently."""


class Stopped(SystemExit):
    """A signal ends the program, whatever code it has interrupted.

    Attributes:
        from_signal: Distinguishes it from an exit of the interrupted code, also where this class
            may not be imported.
    """

    from_signal = True


class SealedError(RuntimeError):
    """Test data was requested before training had finished."""


def message_line(text: str) -> str:
    """Return a text as one line that can be printed: no control characters and no passwords."""
    return printable(shown(text))


def explained(error: OSError) -> str:
    """Return an error of the operating system as one line with the file and a remedy.

    Without a file or a known remedy, the line ends with the operating system's own text.
    """
    reason = error.strerror or type(error).__name__
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]

    place = f"{' -> '.join(files)}: " if files else ""
    return message_line(f"{place}{reason}{remedy(error)}")


def remedy(error: OSError) -> str:
    """Return "; " and what to do about an error of the operating system; empty if unknown."""
    known = _REMEDIES.get(error.errno or 0)
    return f"; {known}" if known else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none.

    It can be printed: it has no control characters and no passwords.
    """
    lines = (line.strip() for line in str(error).splitlines())
    return message_line(next((line for line in lines if line), type(error).__name__))


def similar(name: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Return the valid name that is most similar to a misspelt one, in a list; empty if none is.

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
