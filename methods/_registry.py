"""The registry: each file here without a leading underscore defines the method of that name.

Classes of other packages are added by `register`. A file that cannot be used is a broken method: it
is listed, and refused by name where it is wanted.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from methods._composition import Composition, Wrapper
from methods._contract import Method
from methods._loading import (
    SHIPPED,
    BrokenMethodError,
    UnknownMethodError,
    broken_line,
    is_from_user,
    load_class,
    load_module,
)
from methods._registration import FOLDER, files, registration, registrations
from methods._settings import Setting, SettingError, first_line, refuse_unknown, suggest


def names() -> list[str]:
    """Return the names of all methods, sorted, without importing any of them.

    Broken methods are among them; `usable` leaves them out.
    """
    return sorted({*files(), *registrations()})


def usable() -> list[str]:
    """Return the names of all methods that can be created with their defaults, sorted."""
    unusable = broken()
    return [name for name in names() if name not in unusable]


def broken() -> dict[str, str]:
    """Return the methods that cannot be used, sorted, each with one line that says why.

    A method is broken if its file cannot be imported or does not define exactly one complete
    method, or if the method cannot be created with its defaults.
    """
    reasons: dict[str, str] = {}
    for name in names():
        try:
            create(name)
        except BrokenMethodError as error:
            reasons[name] = str(error)
        except BaseException as error:  # a constructor can raise anything, SystemExit included
            if is_from_user(error):
                raise
            reason = f"creating it fails: {type(error).__name__}: {first_line(error)}"
            reasons[name] = broken_line(name, reason)
    return reasons


def module(name: str) -> ModuleType:
    """Return the module that defines a method.

    Raises:
        UnknownMethodError: If there is no such method.
        BrokenMethodError: If its file cannot be imported.
    """
    registered = registration(name)
    if registered is not None:
        return registered.module
    _check_known(name)
    return load_module(name)


def origin(name: str) -> str:
    """Return the name of the module that defines a method: "methods.kd", "my_methods".

    Raises:
        UnknownMethodError: If there is no such method.
    """
    registered = registration(name)
    if registered is not None:
        return registered.kind.__module__
    _check_known(name)
    return f"{__package__}.{name}"


def description(name: str) -> str:
    """Return the text that describes a method; its first sentence is the title.

    It is the docstring of the file that defines the method. For a registered class it is the
    class's own docstring, because its file may contain more than this method.

    Raises:
        UnknownMethodError: If there is no such method.
    """
    registered = registration(name)
    own = "" if registered is None else registered.kind.__doc__
    return inspect.cleandoc(own or module(name).__doc__ or "")


def get(name: str) -> type[Method]:
    """Return the class of one method.

    Raises:
        UnknownMethodError: If there is no such method.
        BrokenMethodError: If its file cannot be imported, or does not define exactly one complete
            method.
    """
    registered = registration(name)
    if registered is not None:
        return registered.kind
    _check_known(name)
    return load_class(name)


def _check_known(name: str) -> None:
    if name not in names():
        hint = suggest(name, names(), otherwise="choose from")
        raise UnknownMethodError(f"unknown method {name!r}; {hint}")


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
    flagged = [name for name, kind in _loadable() if getattr(kind, flag)]
    if not flagged and SHIPPED[flag] in names():
        return SHIPPED[flag]  # its file is broken, which is said where the method is wanted

    if len(flagged) != 1:
        raise TypeError(
            f"{FOLDER}: exactly one method must set {flag} = True, "
            f"not {', '.join(flagged) or 'none'}"
        )
    return flagged[0]


def _loadable() -> Iterator[tuple[str, type[Method]]]:
    """Yield the name and the class of each method whose file can be loaded."""
    for name in names():
        try:
            yield name, get(name)
        except BrokenMethodError:
            continue


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
        wrappers = ", ".join(name for name, kind in _loadable() if kind.wraps)
        raise UnknownMethodError(
            f"unknown method {part!r}; only wrappers take another method in parentheses: {wrappers}"
        )
    inner = rest.removesuffix(")").strip()
    if get(inner).wraps:
        raise UnknownMethodError(f"unknown method {part!r}; wrappers cannot be nested")
    return outer, inner
