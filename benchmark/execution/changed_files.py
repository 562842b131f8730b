"""Files of kdbench that differ from the commit that its checkout is at."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
"""The folder that contains the packages."""

PACKAGES = ("benchmark", "methods")

LISTED = 20
"""Maximum number of files that are listed with their digests."""


@functools.cache
def commit() -> str:
    """Return the commit of the package's checkout; empty if there is no Git checkout."""
    try:
        _git("ls-files", "--error-unmatch", "benchmark/__init__.py")
        return _git("rev-parse", "HEAD").strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def changed_files(sources: Mapping[str, Path]) -> dict[str, Path]:
    """Return the changed and untracked files of kdbench that take part in a study.

    Files of methods that the study does not use take no part.

    Args:
        sources: Files of the modules that decide the results of the study, by module name.

    Returns:
        Paths by their names in the checkout; empty if there is no Git checkout.
    """
    if not commit():
        return {}

    names = _names("diff", "--name-only", "--relative", "HEAD")
    names += _names("ls-files", "--others", "--exclude-standard")
    paths = {name: PROJECT / name for name in sorted(set(names)) if name.endswith(".py")}
    return {name: path for name, path in paths.items() if _takes_part(path, sources)}


def with_digests(files: Mapping[str, Path]) -> str:
    """Return the names of files with the first digits of their SHA-256, in one line."""
    entries = [f"{name} {_digest(path)}" for name, path in list(files.items())[:LISTED]]
    if len(files) > LISTED:
        entries.append(f"and {len(files) - LISTED} more")
    return ", ".join(entries)


def _takes_part(path: Path, sources: Mapping[str, Path]) -> bool:
    """Return whether a changed file takes part in a study."""
    if path in sources.values():
        return True

    is_method = path.parent == PROJECT / "methods" and not path.name.startswith("_")
    return not is_method and path in _loaded()


def _loaded() -> set[Path]:
    """Return the files of all loaded modules."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {Path(file) for file in files if file}


def _digest(path: Path) -> str:
    if not path.exists():
        return "deleted"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _names(*command: str) -> list[str]:
    output = _git(*command, "-z", "--", *PACKAGES)
    return [name for name in output.split("\0") if name]


def _git(*arguments: str) -> str:
    process = subprocess.run(
        ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=10
    )
    return process.stdout
