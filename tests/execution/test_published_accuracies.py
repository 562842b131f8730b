"""Published accuracies belong to methods and networks that are there, with published settings."""

from __future__ import annotations

import methods
from benchmark.execution.rows import is_altered
from benchmark.leaderboard import published
from benchmark.models import create
from benchmark.study.schema import Row


def test_every_published_accuracy_names_a_method_and_networks_that_are_there() -> None:
    table = published.read()
    assert set(table["method"]) <= set(methods.names())
    assert set(table["teacher"]) | set(table["student"]) <= set(create.names())


def test_a_row_is_altered_by_its_settings_or_by_another_methods_name() -> None:
    default = methods.create("kd").settings["temperature"]
    assert not is_altered(Row(name="kd", method="kd"))
    assert not is_altered(Row(name="kd", method="kd", settings={"temperature": default}))
    assert is_altered(Row(name="kd", method="kd", settings={"temperature": default + 1}))
    assert is_altered(Row(name="kd", method="dkd"))
