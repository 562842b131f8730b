"""The code that an object depends on, as digests by module."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from benchmark.code.interactive import InteractiveCode
from benchmark.code.modules import Module, followed, module_of
from benchmark.code.syntax import Unit

Code: TypeAlias = dict[str, str]
"""Maps the name of a module to the digest of the part of it that an object depends on."""

DIGITS = 12
"""Number of hexadecimal digits of a digest."""


def code_of(*objects: Any) -> Code:
    """Return the code that functions and classes depend on.

    The definition of each object is included, with everything in its module that it uses,
    and likewise in the modules that these parts import. Modules of installed packages and of
    kdbench's engine are left out (see `benchmark.code.modules`). Statements of a module that bind
    no name always count, because they may have any effect.

    Args:
        *objects: Functions and classes. They may have been defined in a notebook.
    """
    interactive = [InteractiveCode(obj) for obj in objects if not has_file(obj)]
    imported = [value for session in interactive for value in session.imported]
    code = _closure_of(objects, imported).digests()

    for session in interactive:
        code |= {name: _digest([text]) for name, text in session.texts.items()}
    return code


def has_file(obj: Any) -> bool:
    """Return whether a function or class was defined in a file, and not in a notebook."""
    return _file_of(obj) is not None


def sources_of(*objects: Any) -> dict[str, Path]:
    """Return the files that functions and classes depend on, by the name of the module."""
    return _closure_of(objects).files()


def changed_modules(before: Code, now: Code) -> tuple[str, ...]:
    """Return the names of the modules whose code differs, sorted."""
    return tuple(sorted({name for name, _ in before.items() ^ now.items()}))


def _closure_of(objects: Iterable[Any], imported: Iterable[Any] = ()) -> _Closure:
    """Collect what the objects that are defined in files depend on.

    Args:
        objects: Functions and classes.
        imported: What a notebook has imported: functions, classes and modules. Those of installed
            packages and of the engine are left out.
    """
    closure = _Closure()
    for obj in objects:
        path = _file_of(obj)
        if path is not None:
            closure.add(module_of(obj.__module__, path), obj.__qualname__.partition(".")[0])

    for value in imported:
        name = value.__name__ if isinstance(value, ModuleType) else value.__module__ or ""
        module = followed(name, getattr(sys.modules.get(name), "__file__", None))
        if module is None:
            continue
        if isinstance(value, ModuleType):
            closure.add_all(module)
        else:
            closure.add(module, value.__qualname__.partition(".")[0])
    return closure


def _file_of(obj: Any) -> Path | None:
    """Return the source file of an object's module; None if it was defined interactively."""
    module = sys.modules.get(obj.__module__)
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file)


class _Closure:
    """Collects units, following the names that they use."""

    def __init__(self) -> None:
        self._modules: dict[str, Module] = {}
        self._units: dict[str, set[Unit]] = {}

    def add(self, module: Module, name: str) -> None:
        """Add what a name of a module depends on; the whole module if it does not bind the name."""
        units = module.syntax.sources(name)
        if not units:
            self.add_all(module)
            return

        self._enter(module)
        for unit in units:
            self._add_unit(module, unit)

    def add_all(self, module: Module) -> None:
        """Add a whole module, and what it depends on."""
        for unit in module.syntax.units:
            self._add_unit(module, unit)
        self._enter(module)

    def digests(self) -> Code:
        """Return the digest of the collected part of each module."""
        return {
            name: _digest(unit.text for unit in module.syntax.units if unit in self._units[name])
            for name, module in sorted(self._modules.items())
        }

    def files(self) -> dict[str, Path]:
        """Return the file of each collected module."""
        return {name: module.path for name, module in sorted(self._modules.items())}

    def _enter(self, module: Module) -> None:
        """Add the statements of a module that run whenever it is imported."""
        if module.name in self._modules:
            return

        self._modules[module.name] = module
        self._units.setdefault(module.name, set())
        for unit in module.syntax.units:
            if unit.runs_on_import:
                self._add_unit(module, unit)

    def _add_unit(self, module: Module, unit: Unit) -> None:
        collected = self._units.setdefault(module.name, set())
        if unit in collected:
            return

        collected.add(unit)
        for item in unit.imports:
            self._add_import(module, item.module, item.name)
        for name in unit.uses:
            for other in module.syntax.sources(name):
                self._add_unit(module, other)

    def _add_import(self, module: Module, target: str, name: str | None) -> None:
        """Add what a module imports: a submodule, a name of a module, or a whole module."""
        submodule = module.imported(f"{target}.{name}") if name else None
        imported = submodule or module.imported(target)
        if imported is None:
            return

        if submodule is not None or name in (None, "*"):
            self.add_all(imported)
        else:
            assert name is not None
            self.add(imported, name)


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()[:DIGITS]
