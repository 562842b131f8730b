"""Renders HTML pages from `templates/`. A page loads nothing from any server."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Environment(
    loader=PackageLoader(__package__ or ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Link(NamedTuple):
    """A link.

    Attributes:
        text: Text of the link.
        address: Target of the link, quoted for a URL.
    """

    text: str
    address: str


def links(paths: Mapping[str, str]) -> list[Link]:
    """Return links to files.

    Args:
        paths: Text -> path relative to the page.
    """
    return [Link(text, quote(path)) for text, path in paths.items()]


def render(template: str, title: str, context: Mapping[str, Any], *, script: bool = False) -> str:
    """Return a page.

    Args:
        template: File in `templates/`.
        title: Title of the page.
        context: Values that the template uses, by name. All text is escaped.
        script: Whether to include `page.js`, which sorts the tables.
    """
    return _TEMPLATES.get_template(template).render(
        context,
        title=title,
        style=_trusted("page.css"),
        script=_trusted("page.js") if script else "",
    )


def _trusted(name: str) -> Markup:
    """Return a template file as markup that is not escaped."""
    path = files(__package__ or "") / "templates" / name
    return Markup(path.read_text(encoding="utf-8").rstrip())
