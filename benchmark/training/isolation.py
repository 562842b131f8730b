"""Confines errors to one member of a cohort, except for those that end the program."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch

from benchmark.errors import DamageError, InputError, LeaveCohort, SealedError, Stopped


class Isolable(Protocol):
    """A member, as far as it can leave its cohort."""

    def fail(self, error: BaseException) -> None:
        """Leave the cohort because of an error."""

    def leave(self) -> None:
        """Leave the cohort without an error."""


@contextmanager
def isolated(member: Isolable) -> Iterator[None]:
    """Confine an error of one member to that member, which is set aside if a file is damaged.

    Errors of the disk, the seal and the device affect the whole cohort and are re-raised.
    """
    try:
        yield
    except DamageError as error:
        member.fail(error)
    except (InputError, SealedError):
        raise
    except LeaveCohort:
        member.leave()
    except BaseException as error:
        if concerns_all(error):
            raise
        member.fail(error)


def concerns_all(error: BaseException) -> bool:
    """Return whether an error ends the program rather than the member whose code was running.

    A signal such as Ctrl+C interrupts whatever code is running. After an error such as an illegal
    memory access, a GPU refuses all further work of its process. Everything else, even the attempt
    to exit, is the member's own.

    Args:
        error: What the code of a member raised.
    """
    if isinstance(error, Stopped | KeyboardInterrupt | GeneratorExit | torch.AcceleratorError):
        return True

    return not isinstance(error, Exception) and _is_raised_by_handler(error)


def _is_raised_by_handler(error: BaseException) -> bool:
    """Return whether the handler of a signal raised an error, in a program that uses kdbench."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    code = {getattr(handler, "__code__", None) for handler in handlers}
    return any(frame.f_code in code for frame, _ in traceback.walk_tb(error.__traceback__))
