"""The registry: each file here without a leading underscore defines the method of that name.

Methods of other packages are added by the decorator `register`.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from methods._composition import Composition, Wrapper
from methods._contract import Method
from methods._settings import Setting, SettingError, refuse_unknown, suggest

FOLDER = Path(__file__).parent
PACKAGE = __name__.rpartition(".")[0]

M = TypeVar("M", bound=type[Method])

_registered: dict[str, type[Method]] = {}
"""The methods of other packages, by name."""


class UnknownMethodError(LookupError):
    """No method has this name. The message suggests a similar one."""


class RegistrationError(ValueError):
    """A method of another package cannot be registered."""


def register(name: str) -> Callable[[M], M]:
    """Return a decorator that adds a method of another package to the registry.

    A class that is defined again, because its module is loaded again, replaces itself.

    Args:
        name: Name of the method: letters, digits and underscores.

    Raises:
        RegistrationError: If the name is invalid or taken, or if the class is not a method, or
            claims to be the baseline or the reference.
    """

    def add(kind: M) -> M:
        _check_registration(name, kind)
        _registered[name] = kind
        kind.name = name
        return kind

    return add


def unregister(name: str) -> None:
    """Remove a registered method from the registry, if it is there."""
    _registered.pop(name, None)


def names() -> list[str]:
    """Return the names of all methods, sorted, without importing any of them."""
    return sorted({*_files(), *_registered})


def origin(name: str) -> str:
    """Return the name of the module that defines a method, such as `methods.kd`.

    Raises:
        UnknownMethodError: If there is no such method.
    """
    _check_name(name)
    kind = _registered.get(name)
    return f"{PACKAGE}.{name}" if kind is None else kind.__module__


def module(name: str) -> ModuleType:
    """Import the module of one method; its docstring describes the method.

    Raises:
        UnknownMethodError: If there is no such method.
    """
    source = origin(name)
    return sys.modules[source] if name in _registered else importlib.import_module(source)


def get(name: str) -> type[Method]:
    """Return the class of one method.

    Raises:
        UnknownMethodError: If there is no such method.
        TypeError: If its file does not define exactly one method.
    """
    return _registered[name] if name in _registered else _in_file(name)


def _files() -> list[str]:
    """Return the names of the methods in this folder."""
    return [file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_")]


def _check_name(name: str) -> None:
    if name not in names():
        hint = suggest(name, names(), otherwise="choose from")
        raise UnknownMethodError(f"unknown method {name!r}; {hint}")


def _check_registration(name: str, kind: Any) -> None:
    """Raise RegistrationError if a class cannot be registered under a name."""
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise RegistrationError(f"method {name!r}: {kind!r} is not a subclass of Method")

    place = f"method {name!r} of {kind.__module__}"
    if not name.isidentifier():
        raise RegistrationError(f"{place}: not a name; use letters, digits and _")
    if kind.baseline or kind.reference:
        raise RegistrationError(
            f"{place}: only kdbench's own methods can be the baseline or the reference; leave both "
            "flags out"
        )

    other = _registered.get(name)
    same = other is not None and _identity(other) == _identity(kind)
    if name in _files() or not (other is None or same):
        owner = f"{PACKAGE}.{name}" if other is None else other.__module__
        raise RegistrationError(f"{place}: the name is taken by {owner}; choose another name")


def _identity(kind: type[Method]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


@functools.cache
def _in_file(name: str) -> type[Method]:
    """Return the class that a file of this folder defines."""
    source = module(name)
    classes: list[type[Method]] = [
        value
        for value in vars(source).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == source.__name__
    ]

    if len(classes) != 1:
        raise TypeError(
            f"{source.__file__}: a method's file must define exactly one "
            f"Method subclass, not {len(classes)}"
        )
    return classes[0]


def baseline() -> str:
    """Return the name of the method that trains the student alone.

    Raises:
        TypeError: Unless exactly one method declares `baseline`.
    """
    return _only("baseline")


def reference() -> str:
    """Return the name of the method that the other rows of a table are compared with.

    Raises:
        TypeError: Unless exactly one method declares `reference`.
    """
    return _only("reference")


def _only(flag: str) -> str:
    """Return the name of the one method whose class sets a flag."""
    flagged = [name for name in names() if getattr(get(name), flag)]

    if len(flagged) != 1:
        raise TypeError(
            f"{FOLDER}: exactly one method must set {flag} = True, "
            f"not {', '.join(flagged) or 'none'}"
        )
    return flagged[0]


def parts(name: str) -> list[str]:
    """Split a name into its methods: "kd" -> ["kd"], "ls(dkd)+at" -> ["ls(dkd)", "at"].

    Raises:
        UnknownMethodError: If a part is unknown or repeated.
    """
    split = [part.strip() for part in name.split("+")]
    for part in split:
        _unwrap(part)

    repeated = sorted({part for part in split if split.count(part) > 1})
    if repeated:
        raise UnknownMethodError(
            f"{name!r} contains {repeated[0]!r} twice; raise its weight instead"
        )
    return split


def create(name: str, /, **settings: Any) -> Method:
    """Create a method by name.

    For example `create("kd", temperature=2.0)`, `create("ls(dkd)")`, or a composition with the
    settings of a part under its name, `create("kd+at", at={"beta": 500.0})`.

    Raises:
        UnknownMethodError: If a method is unknown.
        SettingError: If a setting is unknown, a value is invalid, or methods cannot be combined.
    """
    split = parts(name)
    if len(split) == 1:
        return _create(split[0], settings)

    refuse_unknown(settings, [*split, "ce"], name)
    ce = settings.pop("ce", None)
    for part, value in settings.items():
        if not isinstance(value, dict):
            raise SettingError(f"{name}: {part} is {value!r}; write its settings as a mapping")
    return Composition({part: _create(part, settings.get(part, {})) for part in split}, ce)


def schema(name: str) -> dict[str, Setting]:
    """Return the settings of a method by name.

    Args:
        name: Name of a method, or of a wrapped method such as `ls(dkd)`, whose defaults are
            replaced by those that the wrapper publishes for it.

    Raises:
        UnknownMethodError: If the method is unknown.
    """
    outer, inner = _unwrap(name)
    kind = get(outer)
    if not issubclass(kind, Wrapper):
        return kind.schema()

    published = kind.published.get(inner, {})
    settings = get(inner).schema()
    return {
        key: replace(setting, default=published.get(key, setting.default))
        for key, setting in settings.items()
    }


def _create(part: str, settings: dict[str, Any]) -> Method:
    outer, inner = _unwrap(part)
    kind = get(outer)
    if not issubclass(kind, Wrapper):
        return kind(**settings)

    published = kind.published.get(inner, {})
    return kind(get(inner)(**{**published, **settings}))


def _unwrap(part: str) -> tuple[str, str]:
    """Split into wrapper and wrapped method: "ls(dkd)" -> ("ls", "dkd"), "ls" -> ("ls", "kd").

    For a method that is not a wrapper, the second part is "".
    """
    outer, bracket, rest = part.partition("(")
    outer = outer.strip()
    kind = get(outer)
    if not bracket:
        return outer, kind.wraps

    if not kind.wraps or not rest.endswith(")"):
        wrappers = ", ".join(name for name in names() if get(name).wraps)
        raise UnknownMethodError(
            f"unknown method {part!r}; only wrappers take another method in parentheses: {wrappers}"
        )
    inner = rest.removesuffix(")").strip()
    if get(inner).wraps:
        raise UnknownMethodError(f"unknown method {part!r}; wrappers cannot be nested")
    return outer, inner
