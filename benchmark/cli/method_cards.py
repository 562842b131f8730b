"""The methods on the screen: the list of all, and the card of one."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark.cli.tables import table
from benchmark.errors import InputError
from methods import Needs, Setting

TAPS = {
    "logits": "logits",
    "embedding": "embedding",
    "maps": "maps",
    "preactivations": "maps before the activation",
    "pooled": "pooled map",
    "classifier": "classifier",
    "views": "two views",
}
"""The taps that a method can request, in words."""

COMPANIONS = {
    "peer": "from a peer of the student's architecture",
    "earlier": "from an earlier network of the student's architecture",
    "untrained": "from an untrained teacher",
}
"""The networks that can stand in for the teacher, in words."""


def overview() -> RenderableType:
    """Return a table with a line per method; below it, the methods that are broken."""
    broken = methods.broken()
    rows = []
    for name in methods.names():
        if name in broken:
            rows.append([name, "broken; see below", "", "", methods.origin(name), ""])
            continue

        method = methods.get(name)
        published = f"{method.paper.venue} {method.paper.year}" if method.paper else ""
        origin = methods.origin(name)
        rows.append([name, _title(name), published, needs(method.needs), origin, method.formula])

    headers = ["method", "title", "published", "needs", "defined in", "formula"]
    shown = table("", headers, rows)
    return Group(shown, Text(), *map(Text, broken.values())) if broken else shown


def card(name: str) -> RenderableType:
    """Return everything about a method, or about each part of a composition such as `kd+at`.

    Raises:
        InputError: There is no such method, or it is broken.
    """
    try:
        cards = [_card(part) for part in methods.parts(name)]
    except methods.UnknownMethodError as error:
        raise InputError(str(error)) from None

    return Group(*(item for shown in cards for item in (shown, Text()))) if cards[1:] else cards[0]


def _card(name: str) -> RenderableType:
    """Return the card of a method, or of a wrapped one such as `ls(dkd)`."""
    outer = name.partition("(")[0]
    method = methods.get(outer)
    schema = methods.schema(name)

    facts = []
    if method.paper is not None:
        facts.append(["paper", str(method.paper)])
    facts += [["formula", method.formula], ["needs", needs(method.needs)]]
    facts.append(["defined in", methods.origin(outer)])
    if method.control:
        facts.append(["kind", "control (a baseline for distillation)"])
    if method.wraps:
        facts.append(["kind", f"wrapper, written {outer}(METHOD); default: {method.wraps}"])

    settings = [_setting(setting) for setting in schema.values()]
    return Group(
        Text(name, style="bold"),
        Text(methods.description(outer)),
        Text(),
        table("", ["", ""], facts),
        Text(),
        table("settings", ["name", "default", "valid", "search space"], settings),
        Text(),
        Text(_example(name)),
    )


def needs(needed: Needs) -> str:
    """Return a method's needs in words."""
    taps = [words for tap, words in TAPS.items() if getattr(needed, tap)]
    text = ", ".join(taps) or "no teacher"
    return f"{text} {COMPANIONS[needed.companion]}" if needed.companion else text


def _title(name: str) -> str:
    """Return the first sentence of a method's description."""
    first = methods.description(name).partition("\n")[0]
    return first.split(". ")[0].rstrip(".")


def _setting(setting: Setting) -> list[str]:
    kind = setting.kind
    valid = kind.__name__ if isinstance(kind, type) else str(kind).removeprefix("typing.")
    if setting.bound is not None:
        valid += f" {setting.bound}"
    return [setting.name, str(setting.default), valid, str(setting.search or "not searched")]


def _example(name: str) -> str:
    setting = next(iter(methods.schema(name).values()))
    return f"in a study: - {{method: {name}, settings: {{{setting.name}: {setting.default}}}}}"
