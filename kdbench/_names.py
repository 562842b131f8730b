"""Makes kdbench's packages available as `kdbench.benchmark`, `kdbench.methods`, `kdbench.plugins`.

Normally, these are other names of the same modules. In a project with a package of its own called
`benchmark` or `methods`, Python would import that package instead of kdbench's. Then kdbench's
packages are loaded under their names in kdbench alone, and their imports of each other lead there.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
"""The folder that contains the packages."""

PACKAGES = ("benchmark", "methods")

_NAMES = {
    "kdbench.benchmark": "benchmark",
    "kdbench.methods": "methods",
    "kdbench.plugins": "benchmark.plugins",
}
"""Public name -> name of the package."""


def install() -> None:
    """Let Python find kdbench's packages under their names in `kdbench`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds modules whose names begin with those in `_NAMES`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of kdbench is, by its name in `kdbench`."""
        for public, package in _NAMES.items():
            if fullname == public or fullname.startswith(f"{public}."):
                name = package + fullname.removeprefix(public)
                return _alias(fullname, name) if _are_visible() else _private(fullname, name)
        return None


def _are_visible() -> bool:
    """Return whether `import benchmark` and `import methods` find kdbench's packages."""
    return all(_file_of(package) == PROJECT / package / "__init__.py" for package in PACKAGES)


def _file_of(package: str) -> Path | None:
    """Return the file that an import of a package would run, or has run."""
    if package in sys.modules:
        file = getattr(sys.modules[package], "__file__", None)
    else:
        spec = importlib.util.find_spec(package)
        file = None if spec is None else spec.origin
    return None if file is None else Path(file).resolve()


def _alias(fullname: str, name: str) -> ModuleSpec | None:
    """Return the spec of a module that exists under another name."""
    if importlib.util.find_spec(name) is None:
        return None
    return ModuleSpec(fullname, _AliasLoader(name))


class _AliasLoader(Loader):
    """Loads a module by its other name."""

    def __init__(self, name: str):
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module that exists under the other name."""
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Keep the module as it is: Python has replaced its spec by that of the alias."""
        module.__spec__ = self.spec


def _private(fullname: str, name: str) -> ModuleSpec | None:
    """Return the spec of a module that is loaded under its name in `kdbench` alone."""
    if fullname.startswith("kdbench.plugins"):
        fullname_of_package = fullname.replace("kdbench.plugins", "kdbench.benchmark.plugins", 1)
        return ModuleSpec(fullname, _AliasLoader(fullname_of_package))

    base = PROJECT.joinpath(*name.split("."))
    package = base / "__init__.py"
    if package.is_file():
        return importlib.util.spec_from_file_location(
            fullname,
            package,
            loader=_PrivateLoader(fullname, str(package)),
            submodule_search_locations=[str(base)],
        )

    file = base.with_name(f"{base.name}.py")
    if not file.is_file():
        return None
    return importlib.util.spec_from_file_location(
        fullname, file, loader=_PrivateLoader(fullname, str(file))
    )


class _PrivateLoader(SourceFileLoader):
    """Runs a module of kdbench so that its imports find kdbench's own packages."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with its own `__import__`, which every import statement calls."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    """Import as Python does, except for kdbench's packages."""
    if level or name.partition(".")[0] not in PACKAGES:
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    module = builtins.__import__(f"kdbench.{name}", globals, locals, fromlist or (), 0)
    # Without a list of names, an import statement binds the first part of the name.
    return module if fromlist else sys.modules[f"kdbench.{name.partition('.')[0]}"]
