"""The table of published accuracies, and the column that shows them beside the leaderboard's own numbers."""

from __future__ import annotations

import dataclasses
import io
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import methods
from benchmark.execution.plan_file import is_altered
from benchmark.leaderboard import published
from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.table import costs, leaderboard
from benchmark.models import create
from benchmark.report import markdown
from benchmark.report import terminal as report_terminal
from benchmark.report.html import to_html
from benchmark.report.latex import to_latex
from benchmark.study.plan import Plan
from benchmark.study.schema import Row

PAIR = "r56-r20"
PLAN = Plan(
    "study",
    "",
    (PAIR,),
    ("student", "kd", "dkd", "srrl"),
    (0, 1, 2),
    "last",
    "student",
    reference="kd",
)
OWN = ["published", "published_source", "published_rule"]
NETWORKS = {
    "teacher": "cifar_resnet56",
    "student": "cifar_resnet20",
    "dataset": "hfds/uoft-cs/cifar100",
}


def entry(method, seed, acc1, kind="run", **tags):
    return {
        "run_id": f"{method}{seed}", "kind": kind, "status": "FINISHED", "reason": "", "pair": PAIR, "method": method,
        "teacher_id": "T", "seed": seed, "test/acc1": acc1,
    } | NETWORKS | tags  # fmt: skip


def runs(names=PLAN.methods, **tags):
    places = enumerate(names)
    entries = [
        entry(name, seed, 60 + 2 * place + seed, **tags)
        for place, name in places
        for seed in PLAN.seeds
    ]
    return pd.DataFrame([entry("teacher", 0, 80.0, "teacher", **tags | {"student": ""}), *entries])


def shown(board):
    """What is published, by row; rows without are left out."""
    known = board[board["published"].notna()]
    return {line["method"]: tuple(line[name] for name in OWN) for line in known.to_dict("records")}


def test_every_line_names_a_method_networks_a_rule_and_a_value_that_can_be():
    table = published.read()
    assert tuple(table.columns) == published.COLUMNS
    assert len(table) > 300
    assert set(table["method"]) <= set(methods.names())
    assert set(table["teacher"]) | set(table["student"]) <= set(create.names())
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
        others = [source for source in lines["source"] if source != own.get(method)]
        assert (
            lines["source"].tolist()
            == [source for source in lines["source"] if source not in others] + others
        )
        known = [order.index(source) for source in others if source in order]
        assert known == sorted(known)


def test_a_method_on_a_pair_has_a_line_for_each_source():
    found = published.of("hfds/uoft-cs/cifar100", "cifar_resnet56", "cifar_resnet20", "kd")
    assert found["source"].tolist() == ["RepDistiller", "logit-standardization-KD"]
    assert (found["value"][0], found["rule"][0]) == (70.66, "last")
    assert published.of("hfds/uoft-cs/cifar10", "cifar_resnet56", "cifar_resnet20", "kd").empty
    assert len(published.of("torch/cifar100", "cifar_resnet56", "cifar_resnet20", "kd")) == 2
    for other in (
        "folder/cifar100-lt",
        "folder/cifar1000",
        "folder/my-cifar100",
        "folder/cifar100/part",
    ):
        assert published.of(other, "cifar_resnet56", "cifar_resnet20", "kd").empty
    assert published.of("cifar100", "cifar_resnet20", "cifar_resnet56", "kd").empty


def test_the_table_cannot_be_changed_by_its_readers():
    mine = published.read()
    mine["value"] = 0.0
    assert published.read()["value"].min() > 0


def test_the_leaderboard_shows_the_first_source_and_changes_no_other_number():
    board = leaderboard(runs(), PLAN)
    assert shown(board) == {
        "student": (69.06, "RepDistiller", "last"),
        "kd": (70.66, "RepDistiller", "last"),
        "dkd": (71.97, "mdistiller", "best on test"),
    }
    elsewhere = leaderboard(runs(dataset="digits"), PLAN)
    pd.testing.assert_frame_equal(board.drop(columns=OWN), elsewhere.drop(columns=OWN))
    assert shown(elsewhere) == {}
    assert set(elsewhere["published_source"]) == set(elsewhere["published_rule"]) == {""}


@pytest.mark.parametrize(
    "tags", [{"teacher": "cifar_resnet110"}, {"student": "cifar_resnet8"}, {"student": ""}]
)
def test_other_networks_have_other_numbers_or_none(tags):
    values = shown(leaderboard(runs(**tags), PLAN))
    assert values.get("kd", (0.0,))[0] == (70.67 if "teacher" in tags else 0.0)


def test_only_rows_with_published_settings_have_a_published_number():
    names = ("kd", "kd (tuned)", "student", "kd-t2")
    plan = dataclasses.replace(PLAN, methods=names, trials={"kd (tuned)": 20})
    assert set(shown(leaderboard(runs(names), plan))) == {"kd", "student"}
    assert set(shown(leaderboard(runs(names), dataclasses.replace(plan, altered=("kd",))))) == {
        "student"
    }
    assert set(shown(leaderboard(runs(names), dataclasses.replace(plan, trials={"kd": 20})))) == {
        "student"
    }


def test_a_row_is_altered_by_its_settings_or_by_another_methods_name():
    default = methods.create("kd").settings["temperature"]
    assert not is_altered(Row(name="kd", method="kd"))
    assert not is_altered(Row(name="kd", method="kd", settings={"temperature": default}))
    assert is_altered(Row(name="kd", method="kd", settings={"temperature": default + 1}))
    assert is_altered(Row(name="kd", method="dkd"))


def pages(table):
    board, spent = leaderboard(table, PLAN), costs(table, PLAN)
    text = io.StringIO()
    report_terminal.to_console(
        board, spent, PLAN, Console(file=text, width=200, force_terminal=True)
    )
    page = markdown.to_markdown(board, spent, PLAN)
    return (
        page,
        to_html(board, spent, PLAN),
        text.getvalue(),
        to_latex(board, PLAN),
        footnotes(board, PLAN),
    )


def test_tables_have_the_column_and_its_origin_only_where_a_row_has_a_number():
    page, html, report_terminal, latex, notes = pages(runs())
    assert "| Published |" in page
    assert 'data-v="70.66">70.66</td>' in html
    assert "Published" in report_terminal
    assert "70.66" in report_terminal
    assert "70.66" not in latex
    (note,) = (note for note in notes if "published" in note)
    assert "never compared" in note
    assert note.endswith("RepDistiller (last): kd, student; mdistiller (best on test): dkd.")
    for text in pages(runs(dataset="digits"))[:3]:
        assert "published" not in text.lower()


def test_the_table_is_installed_with_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["package-data"] == {"benchmark": ["published.csv"]}
