"""The code of methods that are defined in a notebook or a console."""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmark.code import code_of

NAME = "notebook_of_tests"

CELL = """
import numpy as np

SCALE = 2
CLASSES = {"a", "b", "c"}
WEIGHTS = np.ones(2000)

class Base:
    margin = 1

class Loss(Base):
    '''A loss.'''

    def __init__(self, scale=SCALE):
        self.scale = scale

    def forward(self, x):
        return twice(x) * WEIGHTS.sum() + len(CLASSES) + (lambda y: y + 3)(x)

def twice(x):
    return SCALE * x

def unused():
    return 0
"""

Session = Callable[..., dict[str, Any]]


@pytest.fixture(params=[True, False], ids=["source", "bytecode"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """Runs cells in a session that keeps their sources, or does not."""
    module = types.ModuleType(NAME)  # without a file, like `__main__` in a notebook
    sys.modules[NAME] = module

    def run(source: str) -> dict[str, Any]:
        name = f"<cell {hash(source)}>"
        if request.param:
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        exec(compile(source, name, "exec"), vars(module))
        return vars(module)

    yield run
    del sys.modules[NAME]


def test_a_class_counts_with_the_parts_of_the_session_that_it_uses(session: Session) -> None:
    used = ("SCALE", "CLASSES", "WEIGHTS", "Base", "Loss", "twice")
    assert code_of(session(CELL)["Loss"]).keys() == {f"{NAME}.{name}" for name in used}


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("* x", "* x * x", "twice"),
        ("y + 3", "y + 4", "Loss"),
        ("scale=SCALE", "scale=5", "Loss"),
        ("margin = 1", "margin = 2", "Base"),
        ("SCALE = 2", "SCALE = 2.0", "SCALE"),
        ('"c"}', '"d"}', "CLASSES"),
        ("ones(2000)", "ones(2000) + (np.arange(2000) == 999)", "WEIGHTS"),
        ("return 0", "return 1", None),
        ("    return SCALE", "    # a comment\n    return SCALE", None),
    ],
)
def test_an_edit_counts_where_the_class_uses_it(
    session: Session, old: str, new: str, changed: str | None
) -> None:
    before = code_of(session(CELL)["Loss"])
    assert old in CELL
    after = code_of(session(CELL.replace(old, new))["Loss"])
    different = {name for name in before if before[name] != after[name]} - {f"{NAME}.Loss"}

    if changed is None:
        assert after == before
    elif changed == "Loss":
        assert (after[f"{NAME}.Loss"] != before[f"{NAME}.Loss"], different) == (True, set())
    else:
        assert different == {f"{NAME}.{changed}"}


def test_a_function_that_is_defined_again_in_a_cell_of_its_own_counts(session: Session) -> None:
    loss = session(CELL)["Loss"]
    before = code_of(loss)
    session("\ndef twice(x):\n    return x + x\n")
    after = code_of(loss)
    assert {name for name in before if before[name] != after[name]} == {f"{NAME}.twice"}
