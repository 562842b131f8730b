"""The code of methods that are defined in a notebook or a console."""

from __future__ import annotations

import linecache
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.code import code_of, forget
from benchmark.errors import InputError

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


VALUES = """
import functools
import torch
from torch import nn

class Config:
    def __init__(self, weight):
        self.weight = weight

def make(margin):
    def inner(x):
        return x + margin
    return inner

def square(x):
    return x * x

config = Config(2.0)
made = make(3.0)
part = functools.partial(square, x=1.0)
table = {"square": square}
tensors = {"t": torch.zeros(2000)}
low = torch.ones(3, dtype=torch.bfloat16)
layer = nn.BatchNorm1d(4)

class Loss:
    factor = 1.0

    @property
    def weight(self):
        return 2.0

    def forward(self, x):
        return config, made, part, table, tensors, low, layer
"""


def test_the_same_cell_gives_the_same_code_again(session: Session) -> None:
    first = code_of(session(VALUES)["Loss"])
    assert code_of(session(VALUES)["Loss"]) == first
    assert code_of(session(VALUES + "\n# another cell\n")["Loss"]) == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Config(2.0)", "Config(7.0)"),
        ("self.weight = weight", "self.weight = 2 * weight"),
        ("make(3.0)", "make(5.0)"),
        ("x + margin", "x - margin"),
        ("x=1.0", "x=2.0"),
        ("return x * x", "return x * x * x"),
        ("torch.zeros(2000)", "torch.zeros(2000).index_fill(0, torch.tensor([999]), 1.0)"),
        ("torch.ones(3,", "2 * torch.ones(3,"),
        ("BatchNorm1d(4)", "BatchNorm1d(4, eps=0.1)"),
        ("factor = 1.0", "factor = 2.0"),
        ("return 2.0", "return 9.0"),
    ],
)
def test_the_content_of_values_counts(session: Session, old: str, new: str) -> None:
    before = code_of(session(VALUES)["Loss"])
    assert old in VALUES
    assert code_of(session(VALUES.replace(old, new))["Loss"]) != before


@pytest.mark.parametrize(
    "imported", ["import beside_notebook", "from beside_notebook import double"]
)
def test_files_that_a_session_imports_count(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str
) -> None:
    file = tmp_path / "beside_notebook.py"
    file.write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    call = "double" if imported.startswith("from") else "beside_notebook.double"
    cell = f"{imported}\n\nclass Loss:\n    def forward(self, x):\n        return {call}(x)\n"
    try:
        before = code_of(session(cell)["Loss"])
        assert "beside_notebook" in before
        file.write_text("def double(x):\n    return 2.5 * x\n")
        forget(file)
        after = code_of(session(cell)["Loss"])
    finally:
        sys.modules.pop("beside_notebook")
    assert {name for name in after if before[name] != after[name]} == {"beside_notebook"}


def test_a_value_whose_content_is_unknown_is_refused_in_one_line(session: Session) -> None:
    cell = "import threading\nlock = threading.Lock()\n\ndef loss(x):\n    return lock, x\n"
    with pytest.raises(InputError, match=r"'lock' is a lock, whose content is unk.* plug-in$"):
        code_of(session(cell)["loss"])
