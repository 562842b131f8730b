"""The committed page of methods agrees with the program; a method that it lacks is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from benchmark.cli import methods_page
from benchmark.cli.methods_page import PAIRS, Bench
from benchmark.errors import InputError

pytestmark = pytest.mark.trains

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def reasons_on_page():
    """Method -> pair -> the reason on the page, "" where it ran."""
    lines = PAGE.partition("## Supported pairs")[2].splitlines()
    reasons = dict(line.split(". ", 1) for line in lines if line[:1].isdigit())
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]

    head, _, *body = cells
    assert head[1:] == [pair.name for pair in PAIRS]
    return {
        name: {pair.name: reasons.get(mark, "") for pair, mark in zip(PAIRS, marks, strict=True)}
        for name, *marks in body
    }


@pytest.fixture
def only_methods_on_page(monkeypatch):
    """The program knows the methods on the page only, so that newer ones may be missing there."""
    names = list(reasons_on_page())
    assert set(names) <= set(methods.names())
    monkeypatch.setattr(methods, "names", lambda: names)


def test_the_page_shows_each_of_its_methods_on_every_kind_of_pair():
    names = list(reasons_on_page())
    assert names == sorted(names)
    assert {methods.baseline(), methods.reference()} < set(names)
    assert len(PAIRS) >= 8
    for name in names:
        assert f"| `{name}` |" in PAGE


def test_the_texts_of_the_page_are_what_the_program_writes(only_methods_on_page, monkeypatch):
    monkeypatch.setattr(methods_page, "reasons_by_pair", lambda names, say: reasons_on_page())
    assert methods_page.page(lambda _: None) == PAGE


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("kd", "CNN to GRU"),
        ("fitnet", "CNN to GRU"),
        ("fsp", "same family"),
        ("crd", "ViT to ResNet"),
    ],
)
def test_a_sample_of_the_page_is_what_the_engine_says(name, pair):
    bench = Bench(next(kind for kind in PAIRS if kind.name == pair))
    assert bench.reason(name) == reasons_on_page()[name][pair]


@pytest.mark.slow
def test_the_whole_page_is_what_the_engine_writes(only_methods_on_page):
    assert methods_page.page(lambda _: None) == PAGE


def test_every_kind_of_pair_is_of_networks_that_can_be_made():
    for pair in PAIRS:
        try:
            bench = Bench(pair)
        except InputError as error:
            pytest.fail(str(error))
        assert bench.student.shapes.logits == bench.teacher.model.shapes.logits


def test_kinds_tell_controls_from_methods():
    kinds = {name: methods_page.kind(methods.get(name)) for name in methods.names()}
    controls = {name for name, kind in kinds.items() if kind == "control"}
    assert controls == {name for name in methods.names() if methods.get(name).control}
    assert {"student", "label_smoothing", "tfkd", "random_teacher", "hard_labels"} <= controls
    assert (kinds["ls"], kinds["dml"]) == ("wrapper", "online")
    assert (kinds["at"], kinds["kd"]) == ("features", "logits")


@pytest.mark.parametrize("name", methods.usable())
def test_a_method_says_whose_its_defaults_are(name):
    source = methods_page.defaults_from(name)
    known = ("published by the authors", "public code of others", "those of kd", "chosen here")
    assert source.startswith(known)
    assert source in PAGE or f"| `{name}` |" not in PAGE


def test_defaults_count_as_published_only_if_they_are_the_authors():
    others = ("crld", "kd", "at", "fitnet", "irg", "afd", "skd", "srd", "student", "longer")
    for name in others:
        assert "published" not in methods_page.defaults_from(name)
    for name in ("ofa", "ickd", "luminet", "ls", "ctkd", "dist", "catkd", "dkd"):
        assert methods_page.defaults_from(name).startswith("published by the authors")
    assert "Defaults are the published settings" not in PAGE


def test_a_method_that_does_not_say_it_has_defaults_from_nowhere(monkeypatch):
    monkeypatch.setattr(methods, "description", lambda name: "A title. Some text.\n\nMore text.")
    assert methods_page.defaults_from("kd") == "not stated"
