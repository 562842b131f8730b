"""Tells the errors that end one member of a cohort from those that end the program."""

from __future__ import annotations

import signal
import traceback

import torch

from benchmark.errors import Stopped


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
