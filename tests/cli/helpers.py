"""Shorthands for tests of commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.support.commandline import kdbench
from tests.support.studies import ROWS, SEEDS

COUNT = len(ROWS) * len(SEEDS)
"""Number of cells of the tracked study."""


def refused(pattern: str, *arguments: Any) -> None:
    """Calls a command that must end with code 2 and one line, and leave nothing behind."""
    before = sorted(Path.cwd().rglob("*"))
    found = kdbench(*arguments)
    assert re.fullmatch(f"kdbench: {pattern}\n", found.err)
    assert (found.code, found.out) == (2, "")
    assert sorted(Path.cwd().rglob("*")) == before
