"""Fixtures of tests that use the methods as a library, outside of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(
    tmp_path: Path,
) -> tuple[Path, Callable[..., subprocess.CompletedProcess[str]]]:
    """An empty folder, and a function that runs the conformance command in it.

    The checkout counts as installed, with the entry points that pyproject.toml declares now.
    """
    installed, folder = tmp_path / "installed", tmp_path / "folder"
    folder.mkdir()
    _write_metadata(installed / "kdbench-0.dist-info")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(installed), str(ROOT)))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "--pyargs", "methods.testing", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )

    return folder, run


def _write_metadata(folder: Path) -> None:
    """Write what pip would write about the entry points."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [
        line
        for group, points in groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kdbench\nVersion: 0\n")
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
