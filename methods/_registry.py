"""The folder is the registry: every file of this folder without a leading underscore holds one method, named by it."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from methods._composition import Composition, Wrapper
from methods._contract import Method
from methods._settings import Setting, SettingError, refuse_unknown

FOLDER = Path(__file__).parent


class UnknownMethodError(LookupError):
    """No file of the folder has this name; the message suggests one."""


def names() -> list[str]:
    """All methods, sorted, without importing any."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))


def module(name: str) -> ModuleType:
    """The module of one method; its docstring is the method's header. Raises UnknownMethodError."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise UnknownMethodError(f"unknown method {name!r}; {hint}")
    return importlib.import_module(f"methods.{name}")


def get(name: str) -> type[Method]:
    """The class of one method. Raises UnknownMethodError, or TypeError if its file does not hold exactly one class."""
    source = module(name)
    found = [
        value
        for value in vars(source).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == source.__name__
    ]
    if len(found) != 1:
        raise TypeError(
            f"{source.__file__}: a method's file holds one Method subclass, this one has {len(found)}"
        )
    return found[0]


def baseline() -> str:
    """The name of the method that trains the student alone. Raises TypeError unless exactly one says so."""
    found = [name for name in names() if get(name).baseline]
    if len(found) != 1:
        raise TypeError(f"{FOLDER}: exactly one method is the baseline, here {found}")
    return found[0]


def parts(name: str) -> list[str]:
    """The methods that a name is made of: "kd" -> ["kd"], "ls(dkd)+at" -> ["ls(dkd)", "at"].

    Raises UnknownMethodError.
    """
    found = [part.strip() for part in name.split("+")]
    for part in found:
        _opened(part)
    twice = sorted({part for part in found if found.count(part) > 1})
    if twice:
        raise UnknownMethodError(f"{name!r} holds {twice[0]!r} twice; raise its weight instead")
    return found


def create(name: str, /, **settings: Any) -> Method:
    """A method by name: `create("kd", temperature=2.0)`, `create("ls(dkd)")`, `create("kd+at", at={"beta": 500.0})`.

    Raises UnknownMethodError for a name, SettingError for a setting or a value.
    """
    found = parts(name)
    if len(found) == 1:
        return _create(found[0], settings)
    refuse_unknown(settings, [*found, "ce"], name)
    ce = settings.pop("ce", None)
    for part, value in settings.items():
        if not isinstance(value, dict):
            raise SettingError(f"{name}: {part} is {value!r}; write its settings as a mapping")
    return Composition({part: _create(part, settings.get(part, {})) for part in found}, ce)


def schema(name: str) -> dict[str, Setting]:
    """The settings of one method, by name, or of one in a wrapper, with the wrapper's published values as defaults.

    Raises UnknownMethodError.
    """
    outer, inner = _opened(name)
    kind = get(outer)
    if not issubclass(kind, Wrapper):
        return kind.schema()
    published = kind.published.get(inner, {})
    return {
        key: replace(one, default=published.get(key, one.default))
        for key, one in get(inner).schema().items()
    }


def _create(part: str, settings: dict[str, Any]) -> Method:
    outer, inner = _opened(part)
    kind = get(outer)
    if not issubclass(kind, Wrapper):
        return kind(**settings)
    return kind(get(inner)(**{**kind.published.get(inner, {}), **settings}))


def _opened(part: str) -> tuple[str, str]:
    """A wrapper and what it wraps, "ls(dkd)" -> ("ls", "dkd"), "ls" -> ("ls", "kd"); a plain method and ""."""
    outer, bracket, rest = part.partition("(")
    kind = get(outer.strip())
    if not bracket:
        return outer.strip(), kind.wraps
    inner = rest.removesuffix(")").strip()
    if not kind.wraps or not rest.endswith(")"):
        raise UnknownMethodError(
            f"unknown method {part!r}; only wrappers stand before a bracket: {_wrappers()}"
        )
    if get(inner).wraps:
        raise UnknownMethodError(f"unknown method {part!r}; a wrapper wraps one method")
    return outer.strip(), inner


def _wrappers() -> str:
    return ", ".join(name for name in names() if get(name).wraps)
