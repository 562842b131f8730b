"""Search spaces of rows by flat name, and the way back to a method's settings."""

from __future__ import annotations

import pytest

import methods
from benchmark.search import spaces
from benchmark.study.schema import Recipe, Row, Search


@pytest.mark.parametrize("name", methods.names())
def test_every_default_lies_in_its_search_space(name: str) -> None:
    row = Row(name=name, method=name)
    space = spaces.space(row, Search())
    assert set(spaces.published(row, space, Recipe(epochs=1), "here")) == set(space)


def test_settings_go_from_flat_names_to_a_method_and_back_with_what_the_study_fixes() -> None:
    row = Row(name="both", method="ls(kd)+at", settings={"at": {"p": 1}})
    search = Search.model_validate({"lr": [0.01, 0.1]})
    flat = spaces.published(row, spaces.space(row, search), Recipe(epochs=1), "here")
    assert flat == {
        "ls(kd).temperature": 2.0,
        "ls(kd).weight": 9.0,
        "at.beta": 1000.0,
        "recipe.lr": 0.05,
    }

    again = spaces.nested({**flat, "at.beta": 500.0}, row)
    assert again.settings == {
        "ls(kd)": {"temperature": 2.0, "weight": 9.0},
        "at": {"p": 1, "beta": 500.0},
    }
    assert (again.lr, again.weight_decay) == (0.05, None)
    assert methods.create(row.method, **again.settings).settings["at"]["beta"] == 500.0
