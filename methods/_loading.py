"""Loads the files of this package that define methods.

A file that cannot be loaded is a broken method: it is named with the reason, and no other method is
affected.
"""

from __future__ import annotations

import functools
import importlib
import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from methods._composition import Wrapper
from methods._contract import Method, Paper
from methods._registration import FOLDER, NAME, files
from methods._settings import SettingError, check_signature, first_line
from methods._taps import Needs

SHIPPED = {"baseline": "student", "reference": "kd"}
"""The method that sets each of the flags which only one method may set."""

_DECLARED: Mapping[str, tuple[Any, str]] = {
    "paper": (Paper | None, "a Paper"),
    "formula": (str, "a string"),
    "needs": (Needs, "a Needs"),
    "small": (dict, "a dictionary"),
    "minimum": (int | float | None, "a number"),
}
"""Attributes of a method's class, each with its type, and the type in words."""


class UnknownMethodError(LookupError):
    """No method has this name. The message suggests a similar one."""


class BrokenMethodError(UnknownMethodError):
    """The file of a method cannot be used. The message is one line and says why."""


def load_module(name: str) -> ModuleType:
    """Import the file of a method.

    Raises:
        BrokenMethodError: With the file, the line and the error.
    """
    result = _module(name, _stamp(name))
    if isinstance(result, str):
        raise BrokenMethodError(broken_line(name, result))
    return result


def load_class(name: str) -> type[Method]:
    """Return the class that the file of a method defines.

    Raises:
        BrokenMethodError: The file cannot be imported, or does not define exactly one complete
            method.
    """
    result = _kind(load_module(name))
    if isinstance(result, str):
        raise BrokenMethodError(broken_line(name, result))
    return result


def methods_of(source: ModuleType) -> list[type[Method]]:
    """Return the subclasses of `Method` that a module defines."""
    return [
        value
        for value in vars(source).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == source.__name__
    ]


def import_failure(error: BaseException, source: str) -> str:
    """Describe in one line why an import failed.

    Args:
        error: The error.
        source: What was imported, in case the error has no place.

    Returns:
        For instance "importing it fails at my_method.py:3: NameError: name 'x' is not defined".
    """
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename or source).name}:{error.lineno}"
        return f"importing it fails at {place}: SyntaxError: {error.msg}"

    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and frame.filename != __file__
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else source
    return f"importing it fails at {place}: {type(error).__name__}: {first_line(error)}"


def broken_line(name: str, reason: str) -> str:
    """Name a method that cannot be used, its file, and the reason, in one line."""
    return f"method {name!r} is broken: {__package__}/{name}.py: {reason}"


def is_from_user(error: BaseException) -> bool:
    """Return whether an error comes from the user, who ends the program, not from a method's code.

    Programs that turn signals into errors of their own give them the attribute `from_signal`.
    """
    return isinstance(error, KeyboardInterrupt) or getattr(error, "from_signal", False)


@functools.cache
def _module(name: str, stamp: tuple[int, int]) -> ModuleType | str:
    """Import a file, or say why it is broken; try again only once the file has changed."""
    if NAME.fullmatch(name) is None:
        return "its name is not that of a method; use letters, digits and _"

    if not (FOLDER / f"{name}.py").is_file():
        return "there is no such file; it is a folder, or a link to nothing"

    importlib.invalidate_caches()  # the file may be new
    try:
        with _catchable_exit():
            return importlib.import_module(f"{__package__}.{name}")
    except BaseException as error:  # a file can raise anything, SystemExit included
        if is_from_user(error):
            raise
        return import_failure(error, f"{name}.py")


@contextmanager
def _catchable_exit() -> Iterator[None]:
    """Let `os._exit` raise SystemExit; it would end the program without a word."""
    own = os._exit

    def exit_catchably(status: int) -> NoReturn:
        raise SystemExit(status)

    os._exit = exit_catchably
    try:
        yield
    finally:
        os._exit = own


@functools.cache
def _kind(source: ModuleType) -> type[Method] | str:
    """Return the only method of a module, or say what is wrong."""
    classes = methods_of(source)
    if len(classes) != 1:
        listed = ", ".join(kind.__name__ for kind in classes) or "none"
        return f"it must define exactly one subclass of Method, not {len(classes)} ({listed})"
    return _mistake(classes[0]) or classes[0]


def _mistake(kind: type[Method]) -> str:
    """Return what is wrong with a method's class; "" if nothing is."""
    for attribute, (expected, words) in _DECLARED.items():
        value = getattr(kind, attribute)
        if not isinstance(value, expected):
            return f"{attribute} of {kind.__name__} is {value!r}; it must be {words}"

    name = kind.__module__.rpartition(".")[2]
    for flag, owner in SHIPPED.items():
        if getattr(kind, flag) and name != owner:
            return f"only {owner} may set {flag}; leave it out of {kind.__name__}"

    if issubclass(kind, Wrapper):
        return "" if kind.wraps in files() else f'wraps is {kind.wraps!r}; set wraps = "kd"'
    try:
        check_signature(kind.__init__, kind.__qualname__)
    except SettingError as error:
        return str(error)
    return ""


def _stamp(name: str) -> tuple[int, int]:
    """Return when a file was changed, and its size; -1 if there is no such file."""
    try:
        status = (FOLDER / f"{name}.py").stat()
    except OSError:
        return -1, -1
    return status.st_mtime_ns, status.st_size
