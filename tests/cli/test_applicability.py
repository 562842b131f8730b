"""Where methods run: the committed page is what the engine says, a sample of it always, all of it under slow."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from benchmark.cli import methods_page
from benchmark.cli.methods_page import PAIRS, Bench
from benchmark.errors import InputError

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()


def marks():
    """Method -> pair -> the reason on the page, "" where it ran."""
    rows = PAGE.partition("## Where they run")[2].splitlines()
    reasons = dict(row.split(". ", 1) for row in rows if row[:1].isdigit())
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("|")
    ]
    names = cells[0][1:]
    assert names == [pair.name for pair in PAIRS]
    return {
        row[0]: {pair: reasons.get(mark, "") for pair, mark in zip(names, row[1:], strict=True)}
        for row in cells[2:]
    }


def test_the_page_shows_every_method_on_every_kind_of_pair():
    found = marks()
    assert list(found) == methods.names()
    assert len(PAIRS) >= 8
    for name in methods.names():
        assert f"| `{name}` |" in PAGE


@pytest.mark.parametrize(
    ("name", "pair"),
    [("kd", "CNN to GRU"), ("fitnet", "CNN to GRU"), ("fsp", "same family"), ("crd", "ViT to ResNet")],
)  # fmt: skip
def test_a_sample_of_the_page_is_what_the_engine_says(name, pair):
    assert Bench(next(one for one in PAIRS if one.name == pair)).reason(name) == marks()[name][pair]


@pytest.mark.slow
def test_the_whole_page_is_what_the_engine_writes():
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
    assert {name for name, kind in kinds.items() if kind == "control"} == {
        "student", "longer", "label_smoothing", "tfkd", "random_teacher", "hard_labels"
    }  # fmt: skip
    assert (kinds["ls"], kinds["dml"], kinds["at"], kinds["kd"]) == (
        "wrapper",
        "online",
        "features",
        "logits",
    )
