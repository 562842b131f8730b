"""How to start another Python process that imports the same kdbench as this one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PROJECT = Path(__file__).parents[1]
"""The folder that contains the package `benchmark`."""


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of kdbench.

    Args:
        module: Name of the module.
        arguments: Its arguments, which all users of the machine can read.
    """
    # -P: a folder `benchmark` or `methods` in the current folder must not hide kdbench's own.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of the process: that of this one, with variables added."""
    path = filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **variables}
