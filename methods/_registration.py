"""Methods of other packages: `register` adds a class to the registry, for the running process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from methods._composition import Wrapper
from methods._contract import Method
from methods._settings import SettingError, check_signature

FOLDER = Path(__file__).parent
NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")

Kind = TypeVar("Kind", bound=type[Method])


class RegistrationError(ValueError):
    """A class cannot be registered as a method. The message is one line and says why."""


@dataclass(frozen=True)
class Registration:
    """A registered class, and the module that registered it."""

    kind: type[Method]
    module: ModuleType

    @property
    def file(self) -> str:
        """Path of the module's file; "" for a notebook."""
        return getattr(self.module, "__file__", None) or ""

    def replaces(self, other: Registration) -> bool:
        """Return whether this is the same class of the same module, which was run again."""
        if self.kind.__qualname__ != other.kind.__qualname__:
            return False
        if self.file and other.file:
            return Path(self.file).resolve() == Path(other.file).resolve()
        return self.module.__name__ == other.module.__name__


_registrations: dict[str, Registration] = {}


def register(name: str) -> Callable[[Kind], Kind]:
    """Add a method under a name; a class decorator for methods outside of this package.

    Running a module again, for instance a cell of a notebook, replaces its methods.

    Args:
        name: Letters, digits and underscores, starting with a letter.

    Returns:
        The decorator, which returns the class itself.

    Raises:
        RegistrationError: If the name is invalid or taken, or the class is no complete method.
    """

    def decorate(kind: Kind) -> Kind:
        registration = Registration(kind, _module_of(kind))
        _check_class(name, kind)
        _check_name(name, registration)
        _check_free(name, registration)
        kind.registered = name
        _registrations[name] = registration
        return kind

    return decorate


def unregister(name: str) -> None:
    """Remove a registered method, if there is one of this name."""
    registration = _registrations.pop(name, None)
    if registration is not None:
        registration.kind.registered = ""


@contextmanager
def scoped_registrations() -> Iterator[None]:
    """Undo, after a `with` block, every registration and removal that was made in it."""
    before = dict(_registrations)
    try:
        yield
    finally:
        for registration in _registrations.values():
            registration.kind.registered = ""
        _registrations.clear()
        _registrations.update(before)
        for name, registration in before.items():
            registration.kind.registered = name


def registrations() -> dict[str, Registration]:
    """Return a copy of all registrations by name."""
    return dict(_registrations)


def registration(name: str) -> Registration | None:
    """Return the registration of a name, if there is one."""
    return _registrations.get(name)


def files() -> dict[str, Path]:
    """Return the file of each method of this package by name, without importing any of them.

    Private and hidden files, such as the `.#kd.py` of an editor, are none.
    """
    found = (name for name in os.listdir(FOLDER) if name.endswith(".py"))
    return {
        name.removesuffix(".py"): FOLDER / name for name in found if not name.startswith(("_", "."))
    }


def _module_of(kind: object) -> ModuleType:
    """Return the module that defines a class, also if its loader does not list it."""
    name = getattr(kind, "__module__", "") or ""
    return sys.modules.get(name) or ModuleType(name)


def _check_class(name: str, kind: object) -> None:
    """Refuse what is not a complete method of another package.

    Raises:
        RegistrationError: With the reason.
    """
    if not isinstance(kind, type) or not issubclass(kind, Method):
        raise RegistrationError(f"method {name!r}: {kind!r} is not a subclass of Method")

    place = f"method {name!r} of {kind.__module__}"
    if kind.baseline or kind.reference:
        raise RegistrationError(
            f"{place}: only kdbench's own methods can be the baseline or the reference; leave both "
            "flags out"
        )
    if kind.registered not in ("", name):
        raise RegistrationError(
            f"{place}: {kind.__qualname__} is registered as {kind.registered!r}; one name is enough"
        )

    if issubclass(kind, Wrapper):
        if not kind.wraps:
            raise RegistrationError(f'{place}: it wraps no method by default; set wraps = "kd"')
        return
    try:
        check_signature(kind.__init__, kind.__qualname__)
    except SettingError as error:
        raise RegistrationError(f"method {name!r} of {kind.__module__}: {error}") from None


def _check_name(name: str, new: Registration) -> None:
    """Refuse a name that could not be written in a study or in a composition.

    Raises:
        RegistrationError: With the reason.
    """
    place = f"method {name!r} of {new.module.__name__}"
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise RegistrationError(
            f"{place}: not a name; use letters, digits and _, and start with a letter"
        )
    if name == "ce":
        raise RegistrationError(f"{place}: `ce` is a setting of every method; choose another name")


def _check_free(name: str, new: Registration) -> None:
    """Refuse a name that something else has.

    Raises:
        RegistrationError: With both places.
    """
    old = _registrations.get(name)
    if name in files():
        owner = f"{__package__}.{name}"
    elif old is not None and not new.replaces(old):
        owner = f"{old.module.__name__}.{old.kind.__qualname__}"
        if old.module.__name__ == new.module.__name__ and old.file != new.file:
            owner = f"{owner} in {old.file or 'a notebook'}"
    else:
        return

    raise RegistrationError(
        f"method {name!r} of {new.module.__name__}: the name is taken by {owner}; choose another "
        "name"
    )
