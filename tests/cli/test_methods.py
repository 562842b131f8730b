"""The list of methods, and the card of each."""

from __future__ import annotations

import pytest

import methods
from tests.support.commandline import kdbench

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("here")]


def test_the_list_of_methods_has_a_line_for_each() -> None:
    found = kdbench("methods")
    assert (found.code, found.err) == (0, "")
    head, *lines = found.out.splitlines()
    assert head.split() == ["method", "title", "published", "needs", "defined", "in", "formula"]
    assert [line.split()[0] for line in lines] == methods.names()
    for line in lines:
        kind = methods.get(line.split()[0])
        assert line.rstrip().endswith(kind.formula)
        assert kind.paper is None or f"{kind.paper.venue} {kind.paper.year}" in line


@pytest.mark.parametrize("name", methods.names())
def test_a_methods_card_shows_paper_formula_settings_and_search_space(name: str) -> None:
    found = kdbench("methods", name)
    kind = methods.get(name)
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert (found.code, found.err, lines[0]) == (0, "", name)
    assert f"formula {' '.join(kind.formula.split())}" in lines
    assert kind.paper is None or f"paper {kind.paper}" in lines
    for setting in methods.schema(name).values():
        (line,) = (line for line in lines if line.startswith(f"{setting.name} {setting.default} "))
        assert line.endswith(str(setting.search or "not searched"))
    assert (methods.module(name).__doc__ or "").splitlines()[0] in found.out


def test_the_card_of_a_method_in_a_wrapper_has_the_wrappers_published_settings() -> None:
    found = kdbench("methods", "ls(dkd)")
    lines = [" ".join(line.split()) for line in found.out.splitlines()]
    assert (found.code, found.err, lines[0]) == (0, "", "ls(dkd)")
    assert any(line.startswith("beta 72.0 ") for line in lines)
    wrong = kdbench("methods", "ls(dkdd)")
    assert (wrong.code, "did you mean 'dkd'?" in wrong.err) == (2, True)


def test_the_card_of_a_composition_shows_each_of_its_methods() -> None:
    shown = kdbench("methods", "ls(dkd)+at")
    lines = shown.out.splitlines()
    assert (shown.code, shown.err, lines[0]) == (0, "", "ls(dkd)")
    assert kdbench("methods", "at").out.strip() in shown.out
