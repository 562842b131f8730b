"""Names of studies, pairs and rows, and the names that a workspace needs for its own files."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+() -]{0,79}")

RULE = (
    "use at most 80 letters, digits, spaces or . _ + ( ) -, without '..', starting with a letter "
    "or digit"
)
"""What a name may contain, in words."""

OWN_FILES = frozenset(
    {
        "artifacts",
        "data",
        "mlflow.db",
        "remembered",
        "teachers",
        "workspace.json",
        "workspace.lock",
    }
)
"""Names of files and folders of a workspace, all in small letters."""

_BESIDE_DATABASE = ("mlflow.db.", "mlflow.db-")
"""Beginnings of the names of the files that are beside the database while it is used."""

_FILE_SUFFIXES = (".yaml", ".yml")


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a study, a pair or a row."""
    return NAME.fullmatch(text) is not None and ".." not in text


def why_not_study(name: str) -> str | None:
    """Return why a text cannot be the name of a study, or None if it can."""
    return why_reserved(name) if is_name(name) else RULE


def why_reserved(name: str) -> str | None:
    """Return why a study cannot have a name, or None if it can.

    Names that differ only in capital letters are the same on some file systems.
    """
    small = name.lower()
    if small in OWN_FILES or small.startswith(_BESIDE_DATABASE):
        return "the workspace has a file or folder of this name; choose another name"
    if small.endswith(_FILE_SUFFIXES):
        return "commands take this name for a study file; choose a name without this ending"
    return None
