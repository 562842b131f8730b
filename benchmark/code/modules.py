"""Finds the files of modules whose code is part of a result.

kdbench's engine is not: a change to it that changes results has a new number of `benchmark.RULES`.
Installed packages such as PyTorch are not either; their versions are part of the environment.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmark.code.syntax import Syntax, read

_PROJECT = Path(__file__).parents[2]
"""The folder that contains the packages `benchmark` and `methods`."""

_METHODS = "methods"
_OWN = ("benchmark", "methods", "kdbench")
"""kdbench's own packages."""

_FOLLOWED = (f"{_METHODS}.", "benchmark.models.zoo.", "benchmark.data.sources.")
"""Prefixes of kdbench's own modules that are part of a result."""

_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Module:
    """A module whose code may be part of a result.

    Attributes:
        name: Absolute name of the module.
        path: Its file.
        root: The folder that contains its top-level package, or the module itself.
    """

    name: str
    path: Path
    root: Path

    @property
    def syntax(self) -> Syntax:
        """The parsed file."""
        return read(self.path, self.name)

    def imported(self, name: str) -> Module | None:
        """Return a module that this one imports by its absolute name; None if it isn't followed."""
        name = _canonical_name(name)
        top = name.partition(".")[0]
        if top in _OWN:
            return _own(name)

        installed = self.root.name in _INSTALLED
        if installed and top != self.name.partition(".")[0]:
            return None
        return _in_folder(self.root, name)


def module_of(name: str, path: Path) -> Module:
    """Return a loaded module.

    Args:
        name: Absolute name of the module; `__main__` stands for the name of its file.
        path: Its file.
    """
    if name == "__main__":
        name = path.stem

    name = _canonical_name(name)
    depth = name.count(".") + (path.name == "__init__.py")
    return Module(name, path, path.parents[depth])


def followed(name: str, file: str | None) -> Module | None:
    """Return a loaded module; None if it is part of Python, an installed package or the engine.

    Args:
        name: Absolute name of the module.
        file: Its file, if it has one.
    """
    name = _canonical_name(name)
    top = name.partition(".")[0]
    if top in _OWN:
        return _own(name)
    if file is None or not file.endswith(".py") or top in sys.stdlib_module_names:
        return None
    return None if set(_INSTALLED) & set(Path(file).parts) else module_of(name, Path(file))


def _canonical_name(name: str) -> str:
    """Return the name of a module of kdbench that is imported through the package `kdbench`."""
    for package in _OWN:
        if name == f"kdbench.{package}" or name.startswith(f"kdbench.{package}."):
            return name.removeprefix("kdbench.")
    return name


def _own(name: str) -> Module | None:
    """Return a module of kdbench itself; None if it belongs to the engine."""
    if not name.startswith(_FOLLOWED) or name in _contract():
        return None
    return _in_folder(_PROJECT, name)


@functools.cache
def _contract() -> frozenset[str]:
    """Return the modules that define the contracts of methods and of data sources.

    These are part of the engine. The contract of methods consists of all that `methods` exports.
    """
    package = read(_PROJECT / _METHODS / "__init__.py", _METHODS)
    exported = {item.module for unit in package.units for item in unit.imports}
    return frozenset((*exported, "benchmark.data.sources.base"))


def _in_folder(root: Path, name: str) -> Module | None:
    """Return a module below a folder, if there is one."""
    base = root.joinpath(*name.split("."))
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if path.is_file():
            return Module(name, path, root)
    return None
