"""P values and mean ranks on the pages and in the terminal."""

from __future__ import annotations

import dataclasses
import io

import pandas as pd
import pytest
from rich.console import Console

from benchmark.leaderboard.table import costs, leaderboard
from benchmark.report.markdown import to_markdown
from benchmark.report.terminal import to_console
from tests.support.handmade import EIGHT, PLAN, board, over_pairs, row


def page(runs, plan):
    """The study as Markdown."""
    table = pd.DataFrame(runs)
    return to_markdown(leaderboard(table, plan), costs(table, plan), plan)


def test_a_significant_p_value_has_a_dagger_on_the_page():
    text = page([*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [92] * 8)], EIGHT)
    head = (
        "| Method | n | Top-1 (%) | 95 % interval | vs student | p vs student | vs kd | p vs kd "
        "| Rank |"
    )
    at = (
        "| at | 8 | **92.00 ± 0.00** | [92.00, 92.00] | +2.00 [2.00, 2.00] | 0.023 † "
        "| +1.00 [1.00, 1.00] | 0.023 † | 1 |"
    )
    assert head in text
    assert at in text
    assert "† marks p < 0.05" in text


@pytest.mark.parametrize(
    ("p", "cell"), [(0.0547, "| 0.055 |"), (0.05, "| 0.050 |"), (0.0469, "| 0.047 † |")]
)
def test_a_p_value_just_above_the_level_has_no_dagger(p, cell):
    results = board([*row("student", [90] * 8), *row("kd", [91] * 8)], EIGHT)
    results.loc[results["method"] == "kd", "p_student"] = p
    assert cell in to_markdown(results, None, EIGHT)


def test_seeds_too_few_for_significance_show_no_column_of_p_values_but_say_why():
    text = page([*row("student", [90] * 3), *row("kd", [91] * 3), *row("at", [92] * 3)], PLAN)
    assert "p vs student |" not in text
    assert "no difference can reach p < 0.05" in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_with_p_values_is_wider_than_the_terminal_and_the_test_against_the_student_stays(
    width,
):
    plan = dataclasses.replace(
        EIGHT,
        methods=("student", "kd", "at", "student (tuned)", "kd (tuned)", "ls(kd)+at (tuned)"),
        trials={"student (tuned)": 20, "kd (tuned)": 20, "ls(kd)+at (tuned)": 20},
    )
    runs = []
    for mean, name in enumerate(plan.methods, start=90):
        runs += row(name, [mean, mean + 1] * 4)
    table = pd.DataFrame(runs)

    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None)
    to_console(leaderboard(table, plan), costs(table, plan), plan, console)
    shown = text.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    assert "p student" in shown or "p vs student" in shown
    assert "0.047 †" in shown


def test_mean_ranks_over_pairs_have_a_table_of_their_own():
    _, _, section = page(*over_pairs(2)).partition("## Mean rank over pairs\n\n")
    assert section.splitlines()[:5] == [
        "| Method | Mean rank |",
        "| --- | ---: |",
        "| kd | 1.50 [1.50, 1.50] |",
        "| at | 1.50 [1.50, 1.50] |",
        "| student | 3.00 [3.00, 3.00] |",
    ]
