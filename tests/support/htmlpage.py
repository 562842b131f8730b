"""Parses an HTML page: its tags, table cells and text."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

VOID = {"meta", "link", "img", "br"}
"""Tags that are never closed."""


class Cell(NamedTuple):
    attributes: dict[str, str | None]
    text: str


class Page(HTMLParser):
    """A parsed page; fails if a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[Cell] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append(Cell(dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open:
            last = self.cells.pop()
            self.cells.append(Cell(last.attributes, last.text + data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every tag with a name."""
        return [attributes for name, attributes in self.tags if name == tag]
