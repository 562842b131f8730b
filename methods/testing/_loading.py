"""Loads the methods of a file or a module, which may lie anywhere."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from methods._loading import import_failure, methods_of
from methods._registration import registrations
from methods.testing._cases import Subject


def subjects_of(source: str, folder: Path) -> list[Subject]:
    """Return the methods that a file or module registers, or the only one that it defines.

    Args:
        source: Path of a file or package, or dotted name of a module.
        folder: Folder that paths are relative to, and from which modules can be imported.

    Raises:
        pytest.UsageError: In one line, if there are none, or the source cannot be imported.
    """
    before = registrations()
    name = _module_name(source, folder)
    module = _imported(source, name)

    names = [
        method
        for method, registration in registrations().items()
        if registration.module is module or before.get(method) is not registration
    ]
    if names:
        return [Subject.named(method) for method in names]

    classes = methods_of(module)
    if len(classes) == 1:
        return [Subject.of_class(classes[0])]

    remedy = 'put @register("name") above a subclass of Method'
    if not classes:
        raise pytest.UsageError(f"{source}: it registers no method; {remedy}")
    listed = ", ".join(kind.__name__ for kind in classes)
    raise pytest.UsageError(f"{source}: it registers none of its methods ({listed}); {remedy}")


def _module_name(source: str, folder: Path) -> str:
    """Return the dotted name of a source, after making it importable."""
    path = folder / source
    is_package = (path / "__init__.py").is_file()
    if not (source.endswith(".py") or "/" in source or "\\" in source or is_package):
        _make_importable(folder)
        return source
    if not (path.is_file() or is_package):
        raise pytest.UsageError(f"{source}: no such file; --methods takes a .py file or a module")

    path = path.resolve()
    parts = [path.name.removesuffix(".py")]
    parent = path.parent
    while (parent / "__init__.py").is_file():
        parts.insert(0, parent.name)
        parent = parent.parent
    _make_importable(parent)

    name = ".".join(parts)
    _refuse_taken(source, name, path / "__init__.py" if is_package else path)
    return name


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _refuse_taken(source: str, name: str, file: Path) -> None:
    """Refuse a file whose name would import another module, such as `random.py`."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return  # importing it tells why

    origin = "" if found is None else found.origin or ""
    if origin and Path(origin).resolve() != file:
        raise pytest.UsageError(
            f"{source}: `import {name}` finds another module ({origin}); rename the file"
        )


def _imported(source: str, name: str) -> ModuleType:
    """Import a module, and report any failure in one line."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise pytest.UsageError(
                f"{source}: there is no module {error.name!r}; --methods takes a .py file or a "
                "module"
            ) from None
        raise _failed(source, error) from None
    except (Exception, SystemExit) as error:  # a researcher's file can raise anything
        raise _failed(source, error) from None


def _failed(source: str, error: BaseException) -> pytest.UsageError:
    return pytest.UsageError(f"{source}: {import_failure(error, source)}")
