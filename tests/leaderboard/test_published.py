"""The table of published accuracies, and the column that shows them beside the measured ones."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from benchmark.leaderboard import published
from tests.support.handmade import PLAN, board, row, teacher

METHODS = ("student", "kd", "dkd", "srrl")
COLUMNS = ["published", "published_source", "published_rule"]
NETWORKS = {
    "teacher": "cifar_resnet56",
    "student": "cifar_resnet20",
    "dataset": "hfds/uoft-cs/cifar100",
}


def plan_of(methods=METHODS, **changes):
    """The plan of a study of these methods."""
    return dataclasses.replace(PLAN, methods=methods, **changes)


def runs_of(methods=METHODS, **tags):
    """Runs of networks with published accuracies; `tags` replace some of them."""
    runs = [teacher(80.0)]
    for shift, method in enumerate(methods):
        runs += row(method, [60 + 2 * shift + seed for seed in PLAN.seeds])
    return [entry | NETWORKS | tags for entry in runs]


def shown(table):
    """Published accuracy, source and rule by row, for the rows that have one."""
    lines = table[table["published"].notna()].to_dict("records")
    return {line["method"]: tuple(line[name] for name in COLUMNS) for line in lines}


def test_every_line_has_a_source_a_rule_and_a_value_that_can_be():
    table = published.read()
    assert tuple(table.columns) == published.COLUMNS
    assert len(table) > 300
    assert table["value"].between(0, 100, inclusive="neither").all()
    assert (table["sd"].isna() | table["sd"].between(0, 5)).all()
    assert set(table["rule"]) <= set(published.RULES)
    assert set(table["dataset"]) == {"cifar100"}
    assert table["source"].str.len().gt(0).all()
    assert not table.duplicated(["method", "dataset", "teacher", "student", "source"]).any()


def test_the_lines_are_in_the_order_of_the_stated_rule():
    own = {
        "crd": "RepDistiller",
        "itrd": "ITRD",
        "dist": "DIST_KD",
        "ls": "logit-standardization-KD",
    }
    order = ["RepDistiller", "mdistiller", "logit-standardization-KD", "TTM", "ITRD"]
    for (method, _, _), lines in published.read().groupby(["method", "teacher", "student"]):
        sources = lines["source"].tolist()
        authors = [source for source in sources if source == own.get(method)]
        others = [source for source in sources if source != own.get(method)]
        assert sources == authors + others

        positions = [order.index(source) for source in others if source in order]
        assert positions == sorted(positions)


def test_a_method_on_a_pair_has_a_line_for_each_source():
    lines = published.of("hfds/uoft-cs/cifar100", "cifar_resnet56", "cifar_resnet20", "kd")
    assert lines["source"].tolist() == ["RepDistiller", "logit-standardization-KD"]
    assert (lines["value"][0], lines["rule"][0]) == (70.66, "last")
    assert published.of("cifar100", "cifar_resnet20", "cifar_resnet56", "kd").empty


def test_the_last_part_of_the_name_of_a_data_set_decides():
    def lines(dataset):
        return len(published.of(dataset, "cifar_resnet56", "cifar_resnet20", "kd"))

    assert lines("torch/cifar100") == 2
    assert lines("hfds/uoft-cs/cifar10") == 0
    for folder in ("cifar100-lt", "cifar1000", "my-cifar100", "cifar100/part"):
        assert lines(f"folder/{folder}") == 0


def test_the_table_cannot_be_changed_by_its_readers():
    mine = published.read()
    mine["value"] = 0.0
    assert published.read()["value"].min() > 0


def test_the_leaderboard_shows_the_first_source_and_changes_no_other_number():
    table = board(runs_of(), plan_of())
    assert shown(table) == {
        "student": (69.06, "RepDistiller", "last"),
        "kd": (70.66, "RepDistiller", "last"),
        "dkd": (71.97, "mdistiller", "best on test"),
    }

    elsewhere = board(runs_of(dataset="digits"), plan_of())
    pd.testing.assert_frame_equal(table.drop(columns=COLUMNS), elsewhere.drop(columns=COLUMNS))
    assert shown(elsewhere) == {}
    assert set(elsewhere["published_source"]) == set(elsewhere["published_rule"]) == {""}


@pytest.mark.parametrize(
    "tags", [{"teacher": "cifar_resnet110"}, {"student": "cifar_resnet8"}, {"student": ""}]
)
def test_other_networks_have_other_numbers_or_none(tags):
    values = shown(board(runs_of(**tags), plan_of()))
    assert values.get("kd", (0.0,))[0] == (70.67 if "teacher" in tags else 0.0)


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"trials": {"kd (tuned)": 20}}, {"kd", "student"}),
        ({"trials": {"kd (tuned)": 20}, "altered": ("kd",)}, {"student"}),
        ({"trials": {"kd": 20}}, {"student"}),
    ],
)
def test_only_rows_with_published_settings_have_a_published_number(changes, rows):
    methods = ("kd", "kd (tuned)", "student", "kd-t2")
    assert set(shown(board(runs_of(methods), plan_of(methods, **changes)))) == rows


def test_runs_of_one_row_with_other_networks_have_no_published_accuracy():
    methods = ("student", "kd", "at")
    runs = runs_of(methods)
    assert board(runs, plan_of(methods))["published"].notna().sum() == 3

    runs[5]["student"] = "cifar_resnet8"
    values = board(runs, plan_of(methods)).set_index("method")["published"]
    assert values.drop(["kd", "teacher"]).notna().all()
    assert math.isnan(values["kd"])


def test_the_table_is_installed_with_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    data = project["tool"]["setuptools"]["package-data"]
    assert "leaderboard/published.csv" in data["benchmark"]
