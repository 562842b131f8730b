"""Loads plug-ins: modules and files with a researcher's own methods, models, data and metrics."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark import code
from benchmark.errors import InputError, Stopped, first_line
from benchmark.plugins.kinds import REGISTRIES

_PACKAGE = Path(__file__).parents[1]
"""The folder of the package `benchmark`."""

GROUP = "kdbench.plugins"
"""Entry points of this group are loaded by every command."""


@dataclass(frozen=True)
class Plugin:
    """A plug-in that has been found.

    Attributes:
        reference: How the user wrote it: a path that ends in `.py`, or the name of a module.
        folder: The folder that paths and modules are relative to.
    """

    reference: str
    folder: Path

    @property
    def path(self) -> Path | None:
        """The file of the plug-in; None for a module."""
        if not self.reference.endswith(".py"):
            return None
        return Path(os.path.abspath(self.folder / self.reference))

    @property
    def module(self) -> str:
        """The name of its module."""
        return self.reference if self.path is None else self.path.stem


class _ExitError(Exception):
    """A plug-in tried to end the process while it was imported."""


def load(plugin: Plugin, where: str) -> ModuleType:
    """Import a plug-in, which registers what it adds.

    Args:
        plugin: The plug-in.
        where: Where the user named it, for messages.

    Raises:
        InputError: The plug-in is missing, or cannot be imported. The message has one line.
    """
    place = f"{where}: {plugin.reference}"
    path = plugin.path
    folder = plugin.folder.absolute()

    if path is not None:
        _check_file(path, place)
        folder = path.parent
    elif not all(part.isidentifier() for part in plugin.reference.split(".")):
        remedy = "write a path that ends in .py, or the name of a module such as package.module"
        raise InputError(f"{place}: not a plug-in; {remedy}")

    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that no installed module is hidden
        importlib.invalidate_caches()
    _check_name(plugin, place)
    with _explained(place), _without_exit():
        return _import(plugin, folder)


def load_installed() -> list[ModuleType]:
    """Import the plug-ins of all installed packages, by their entry points.

    Raises:
        InputError: A plug-in cannot be imported. The message names the package.
    """
    modules = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else "an installed package"
        place = f"plug-in {point.name!r} of {package}: {point.value}"
        with _explained(place), _without_exit():
            modules.append(importlib.import_module(point.module))
    return modules


def unload_changed() -> None:
    """Forget the modules of all plug-ins if one of their files has changed since it was imported.

    Loading a plug-in then imports it again.
    """
    if all(_changed_at(path) == time for path, time in _imported.values()):
        return

    for module, (path, _) in _imported.items():
        code.forget(path)
        sys.modules.pop(module, None)
        _forget_methods(module)
        for registry in REGISTRIES:
            registry.remove_origin(module)
    _imported.clear()
    importlib.invalidate_caches()


def _forget_methods(module: str) -> None:
    """Remove the methods that a module registered. The library is not imported for this."""
    methods: Any = sys.modules.get("methods")
    if methods is None:
        return

    for name in methods.names():
        if methods.origin(name) == module:
            methods.unregister(name)


def loaded() -> list[Plugin]:
    """Return the plug-ins that this process has loaded, in the order of loading."""
    return list(_plugins)


def foreign_modules(plugins: Collection[Plugin]) -> set[str]:
    """Return the modules that only other loaded plug-ins than the given ones consist of."""
    own = {module for plugin in plugins for module in _plugins.get(plugin, ())}
    return {module for modules in _plugins.values() for module in modules} - own


def _check_file(path: Path, place: str) -> None:
    if path.is_dir():
        raise InputError(f"{place}: is a folder; name a .py file, or a module")
    if not path.is_file():
        raise InputError(f"{place}: no such file; there is none at {path}")
    if not path.stem.isidentifier():
        raise InputError(f"{place}: the name is not usable in Python; use letters, digits and _")


def _check_name(plugin: Plugin, place: str) -> None:
    """Refuse a file whose name belongs to another module, which an import would find instead."""
    if plugin.path is None:
        return

    loaded = sys.modules.get(plugin.module)
    found = getattr(loaded, "__file__", None)
    if loaded is None:
        spec = importlib.util.find_spec(plugin.module)
        found = None if spec is None else spec.origin

    if found is None or not plugin.path.samefile(found):
        owner = found or "Python itself"
        raise InputError(
            f"{place}: another module has the name {plugin.module!r} ({owner}); rename the file"
        )


_plugins: dict[Plugin, set[str]] = {}
"""The loaded plug-ins, and the modules that each brought in."""

_imported: dict[str, tuple[Path, int]] = {}
"""The modules that plug-ins consist of: the file of each, and when it was changed."""


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _import(plugin: Plugin, folder: Path) -> ModuleType:
    """Import a module, and note which files below a folder this brings in."""
    before = set(sys.modules)
    with warnings.catch_warnings():
        # timm warns when a model is registered again, as after a change.
        warnings.filterwarnings("ignore", "Overwriting .* in registry")
        module = importlib.import_module(plugin.module)

    brought = _plugins.setdefault(plugin, {plugin.module})
    for new in sorted(set(sys.modules) - before):
        file = getattr(sys.modules[new], "__file__", None)
        if file and _is_own(Path(file), folder):
            _imported[new] = Path(file), _changed_at(Path(file))
            brought.add(new)
    return module


def _is_own(path: Path, folder: Path) -> bool:
    """Return whether a file belongs to a plug-in, and not to an installed package or kdbench."""
    if not path.is_relative_to(folder) or path.is_relative_to(_PACKAGE):
        return False
    return not {"site-packages", "dist-packages"} & set(path.relative_to(folder).parts)


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turn whatever an import raises into one line."""
    try:
        yield
    except (KeyboardInterrupt, Stopped):
        raise
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    except ModuleNotFoundError as error:
        remedy = "install it, or correct the name"
        raise InputError(f"{place}: no module {error.name!r}; {remedy}") from error
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        raise InputError(f"{place}: not valid Python: {line}{error.msg}") from error
    except (SystemExit, _ExitError) as error:
        raise InputError(
            f"{place}: ends the program when it is imported; remove the call of exit"
        ) from error
    except BaseException as error:  # a file can raise anything
        raise InputError(
            f"{place}: cannot be imported: {type(error).__name__}: {first_line(error)}"
        ) from error


@contextmanager
def _without_exit() -> Iterator[None]:
    """Let an import that calls `os._exit` raise an error instead of ending the process."""

    def refuse(status: int) -> None:
        raise _ExitError

    leave = os._exit
    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave
