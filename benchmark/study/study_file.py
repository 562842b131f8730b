"""The content of a study file, as the schema checks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmark.study.messages import key_of
from benchmark.study.yamlfile import Document, Location


class StudyFile:
    """The content of a study file, with `"*"` replaced by the methods that it stands for.

    Args:
        document: The study file.
        names: Returns the names of the methods that `"*"` stands for; called only if it is there.

    Attributes:
        data: The content.
    """

    def __init__(self, document: Document, names: Callable[[], Sequence[str]]) -> None:
        self._document = document
        self._indices: list[int] = []
        self.data = self._document.data

        rows = self.data.get("methods")
        if rows == "*":
            rows = ["*"]
        if isinstance(rows, list) and "*" in rows:
            self.data = {**self.data, "methods": self._replace_star(rows, names())}

    def line(self, location: Location, message: str) -> str:
        """Return a line of an error message about the value at a location in `data`."""
        if self._indices and location[:1] == ("methods",) and len(location) > 1:
            index = self._indices[int(location[1])]
            location = ("methods", index, *location[2:])

        parts = (self._document.where(location), key_of(location), message)
        return ": ".join(filter(None, parts))

    def _replace_star(self, rows: list[Any], names: Sequence[str]) -> list[Any]:
        """Replace `"*"`, and record the index that each row has in the file."""
        listed = [row.get("method") if isinstance(row, dict) else row for row in rows]
        others = [name for name in names if name not in listed]

        expanded: list[Any] = []
        for index, row in enumerate(rows):
            new = others if row == "*" else [row]
            expanded += new
            self._indices += [index] * len(new)
        return expanded
