"""The code of an object is what it uses, across modules, and nothing beside it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import methods
from benchmark.code import Code, changed_modules, code_of, forget

LOSSES = """
from package_of_tests.shared import difference, LIMIT
from package_of_tests import other

def first(a, b):
    return helper(difference(a, b))

def second(a, b):
    return other.apply(a)

def helper(x):
    return x

def unused():
    return LIMIT
"""
SHARED = """
LIMIT = 1

def difference(a, b):
    return a - b

def unused():
    return 2
"""
OTHER = """
def apply(x):
    return x

def beside(x):
    return -x
"""
FILES = {"__init__": "", "losses": LOSSES, "shared": SHARED, "other": OTHER}

Edit = Callable[[str, str, str], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that can be imported until the test ends."""
    folder = tmp_path / "package_of_tests"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder

    for name in [name for name in sys.modules if name.startswith("package_of_tests")]:
        del sys.modules[name]


@pytest.fixture
def edit(package: Path) -> Edit:
    """Replaces text in a file of the package."""

    def replace(name: str, old: str, new: str) -> None:
        path = package / f"{name}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        forget(path)

    return replace


def code(name: str) -> Code:
    """Return the code of a function of the module `losses`."""
    losses = importlib.import_module("package_of_tests.losses")
    return code_of(getattr(losses, name))


def test_the_modules_that_a_function_uses_are_named(package: Path) -> None:
    assert code("first").keys() == {"package_of_tests.losses", "package_of_tests.shared"}
    assert code("second").keys() == {"package_of_tests.losses", "package_of_tests.other"}


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("losses", "helper(difference(a, b))", "helper(difference(b, a))", ["losses"]),
        ("losses", "    return x", "    return 2 * x", ["losses"]),
        ("shared", "a - b", "b - a", ["shared"]),
        ("losses", "return LIMIT", "return 0", []),
        ("losses", "return other.apply(a)", "return a", []),
        ("shared", "LIMIT = 1", "LIMIT = 2", []),
        ("shared", "return 2", "return 3", []),
        ("other", "return x", "return 2 * x", []),
        ("losses", "def helper(x):", "# a comment\ndef helper(x):", []),
        ("losses", "def unused", "print('loaded')\n\ndef unused", ["losses"]),
    ],
)
def test_a_change_counts_where_it_is_used(
    edit: Edit, name: str, old: str, new: str, changed: list[str]
) -> None:
    before = code("first")
    edit(name, old, new)
    modules = changed_modules(before, code("first"))
    assert modules == tuple(f"package_of_tests.{module}" for module in changed)


def test_all_of_a_module_counts_that_is_used_as_a_whole(edit: Edit) -> None:
    before = code("second")
    edit("other", "return -x", "return +x")
    assert changed_modules(before, code("second")) == ("package_of_tests.other",)


def test_a_name_is_followed_through_a_star_import(edit: Edit) -> None:
    edit("losses", "from package_of_tests.shared import difference, LIMIT", "from .shared import *")
    before = code("first")
    edit("shared", "a - b", "b - a")
    assert changed_modules(before, code("first")) == ("package_of_tests.shared",)


def test_the_place_of_a_package_does_not_count(package: Path, tmp_path: Path) -> None:
    before = code("first")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    package.rename(elsewhere / "package_of_tests")
    for name in [name for name in sys.modules if name.startswith("package_of_tests")]:
        del sys.modules[name]
    sys.path.insert(0, str(elsewhere))
    importlib.invalidate_caches()
    try:
        assert code("first") == before
    finally:
        sys.path.remove(str(elsewhere))


def test_the_code_of_a_method_is_its_file_and_the_shared_parts_that_it_uses() -> None:
    assert code_of(methods.get("kd")).keys() == {"methods.kd"}
    assert code_of(methods.get("dkd")).keys() == {"methods.dkd", "methods._logits"}


def test_the_contract_of_methods_belongs_to_the_engine() -> None:
    everything = {name for method in methods.names() for name in code_of(methods.get(method))}
    contract = {"_contract", "_registry", "_settings", "_taps"}
    assert everything.isdisjoint(f"methods.{name}" for name in contract)
    assert not any(name.startswith("benchmark.") for name in everything)


def test_a_method_of_a_notebook_counts_with_the_parts_of_the_session_that_it_uses() -> None:
    def session(scale: int) -> Any:
        """Define things as the cells of a notebook do."""
        import linecache
        import types

        source = (
            "import torch\n"
            f"SCALE = {scale}\n"
            "def twice(x): return SCALE * x\n"
            "def unused(): return 0\n"
            "class Loss:\n    def forward(self, x): return twice(x)\n"
        )
        notebook = types.ModuleType("notebook_of_tests")
        sys.modules["notebook_of_tests"] = notebook
        name = f"<cell {scale}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec"), vars(notebook))
        vars(notebook)["__file__"] = None
        return vars(notebook)["twice"]

    try:
        two, again, three = (code_of(session(scale)) for scale in (2, 2, 3))
    finally:
        del sys.modules["notebook_of_tests"]
    assert two.keys() == {"notebook_of_tests.twice", "notebook_of_tests.SCALE"}
    assert two == again
    assert changed_modules(two, three) == ("notebook_of_tests.SCALE",)
