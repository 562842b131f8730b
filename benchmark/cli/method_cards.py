"""What a person can read about the methods: the list of all, and the card of one."""

from __future__ import annotations

import inspect

from rich.console import Group, RenderableType
from rich.text import Text

import methods
from benchmark.cli.tables import table
from benchmark.errors import InputError
from methods import Needs, Setting


def catalogue() -> RenderableType:
    """All methods, a line each."""
    rows = []
    for name in methods.names():
        kind = methods.get(name)
        where = f"{kind.paper.venue} {kind.paper.year}" if kind.paper else ""
        rows.append([name, _title(name), where, needs(kind.needs), kind.formula])
    return table("", ["method", "what", "published", "needs", "formula"], rows)


def card(name: str) -> RenderableType:
    """Everything about one method, or one in a wrapper. Raises InputError if there is none of this name."""
    outer = name.partition("(")[0]
    try:
        kind, schema = methods.get(outer), methods.schema(name)
    except methods.UnknownMethodError as error:
        raise InputError(str(error)) from None
    about = Text(inspect.cleandoc(methods.module(outer).__doc__ or ""))
    facts = [["formula", kind.formula], ["needs", needs(kind.needs)]]
    if kind.paper is not None:
        facts.insert(0, ["paper", str(kind.paper)])
    if kind.control:
        facts.append(["kind", "a control: without it a comparison proves nothing"])
    if kind.wraps:
        facts.append(
            ["kind", f"a wrapper, written {outer}({kind.wraps}); {outer} alone stands for that"]
        )
    settings = [_setting(setting) for setting in schema.values()]
    return Group(
        Text(name, style="bold"),
        about,
        Text(),
        table("", ["", ""], facts),
        Text(),
        table("settings", ["name", "default", "legal", "search space"], settings),
        Text(),
        Text(_example(name)),
    )


COMPANIONS = {
    "peer": "from a peer of the student's kind",
    "earlier": "from an earlier network of the student's kind",
    "untrained": "from an untrained teacher",
}


def needs(what: Needs) -> str:
    """What is tapped for a method, in words."""
    names = {
        "preactivations": "maps before the activation",
        "pooled": "pooled map",
        "views": "two views",
    }
    taps = ("logits", "embedding", "maps", "preactivations", "pooled", "classifier", "views")
    found = ", ".join(names.get(tap, tap) for tap in taps if getattr(what, tap)) or "no teacher"
    return f"{found} {COMPANIONS[what.companion]}" if what.companion else found


def _title(name: str) -> str:
    """The first sentence of a method's header."""
    first = inspect.cleandoc(methods.module(name).__doc__ or "").splitlines()[0]
    return first.split(". ")[0].rstrip(".")


def _setting(setting: Setting) -> list[str]:
    legal = (
        setting.kind.__name__
        if isinstance(setting.kind, type)
        else str(setting.kind).removeprefix("typing.")
    )
    if setting.bound is not None:
        legal += f" {setting.bound}"
    return [setting.name, str(setting.default), legal, str(setting.search or "not searched")]


def _example(name: str) -> str:
    setting = next(iter(methods.schema(name).values()))
    return f"in a study: - {{method: {name}, settings: {{{setting.name}: {setting.default}}}}}"
