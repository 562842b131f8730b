"""How a leaderboard looks in a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from tabled import PLAN, printed, runs, several, tables, tuned

from benchmark import report
from benchmark.plan import Plan
from benchmark.terminal import to_console


def rows(text, name):
    return [line for line in text.splitlines() if line.split()[:1] == [name]]


def test_the_console_table_gives_every_number_of_a_row():
    kd = rows(printed(), "kd")[0].split("  ")
    cells = [cell.strip() for cell in kd if cell.strip()]
    # sd of 70.0, 70.6, 70.3 is 0.3; of the differences 1.0, 1.2, 1.1 it is 0.1; 4.3027 / sqrt(3) = 2.484
    accuracy = ["70.30 ± 0.30", "[69.55, 71.05]", "+1.10 [0.85, 1.35]", "26%", "91.50"]
    assert cells == ["kd", "3", *accuracy, "69.8", "4.2", "78.0", "278k", "41.2M", "2"]


def test_the_teacher_is_on_top_set_apart_by_a_rule():
    lines = printed().splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("teacher"))
    assert set(lines[place - 1].strip()) == set(lines[place + 1].strip()) == {"─"}
    assert lines[place].split()[:3] == ["teacher", "1", "73.40"]
    assert lines[place + 2].startswith("at ")


def test_the_best_mean_alone_is_bold():
    text = printed(style=True)
    assert "\x1b[1m71.00 ± 0.60\x1b[0m" in text
    assert "\x1b[1m70.30" not in text
    assert "\x1b[1m70.60" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width).splitlines())) <= width


def test_a_hundred_columns_are_enough_for_all_but_top_5_and_the_difference_to_kd():
    text = printed(100)
    assert "left out for want of width: vs kd, Top-5\n" in text
    assert "Method" in text
    assert all(
        title in text for title in ("95 % interval", "vs student", "F1", "ECE", "agree", "params", "MACs", "rank")
    )
    assert "left out for want of width: vs kd\n" in printed(120)
    assert "left out for" not in printed(140)


def test_without_a_terminal_the_page_is_120_columns_and_the_console_is_given_back_unchanged():
    text = io.StringIO()
    console = Console(file=text, width=80)
    to_console(*tables(), console)
    assert console.width == 80
    assert "agree" in rows(text.getvalue(), "Method")[0]
    assert "left out for want of width: vs kd\n" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_failed_and_inapplicable_rows_stand_in_the_table_and_below_it_with_their_reasons():
    text = printed()
    assert rows(text, "dkd")[0].split()[1] == "2/3"
    assert rows(text, "dkd")[0].split()[-1] == "-"
    assert set(rows(text, "crd")[0].split()[1:]) == {"-"}
    assert "* dkd: 1 of 3 cells failed: loss | nan [step 3]" in text
    assert "* crd: not applicable: needs sample indices" in text


def test_a_note_shared_by_rows_is_told_once():
    plan = Plan("s", "", PLAN.pairs, PLAN.methods, (0,), "last", "student")
    text = printed(arguments=tables(runs(), plan))
    assert "* at, dkd, kd, student: n = 1: no rank under 3 seeds" in text


def test_a_reason_of_many_lines_is_cut_in_the_table_but_whole_in_the_csv():
    table = runs()
    table.loc[table["status"] == "FAILED", "reason"] = "word " * 500
    board, clock, plan = tables(table)
    assert "word [...]" in printed(arguments=(board, clock, plan))
    assert ("word " * 500).strip() in report.to_csv(board)


def test_the_console_shows_costs_and_footnotes():
    text = printed()
    counted, clocked = [line.split() for line in rows(text, "at") if "±" not in line]
    assert counted == ["at", "278k", "1234", "1.00"]
    assert clocked == ["at", "2.00", "40.0", "100", "25.0", "2230"]
    assert "* n = 2 to 3: with fewer than 6 seeds" in text


def test_several_pairs_have_a_table_each_with_the_data_set_in_the_title():
    assert "r56-r20, cifar100\n" in printed()
    text = printed(arguments=several(3))
    assert [line for line in text.splitlines() if line.startswith("pair")][:3] == ["pair0", "pair1", "pair2"]
    assert text.count("vs student") == 3


def test_tuned_rows_are_shown_with_their_own_ranks_and_their_gain_over_published_settings():
    text = printed(160, arguments=tuned())
    shown = {line.split("  ")[0].strip(): line for line in text.splitlines() if "±" in line}
    # 0.5, 0.5, 0.8: mean 0.6, sd 0.1732, half width 4.3027 * 0.1732 / sqrt(3) = 0.430; at gains 1.0 with every seed
    assert "+0.60 [0.17, 1.03]" in shown["kd (tuned)"]
    assert "+1.00 [1.00, 1.00]" in shown["at (tuned)"]
    assert shown["kd (tuned)"].rstrip().endswith("tuned 2")
    assert shown["at (tuned)"].rstrip().endswith("tuned 1")
    assert shown["at"].split()[-2:] == ["41.2M", "1"]
    assert shown["kd"].split()[-2:] == ["41.2M", "2"]
    assert "vs untuned" in text
    assert "vs untuned" not in printed(160)


def test_the_costs_of_tuned_rows_show_trials_search_compute_and_other_networks():
    text = printed(arguments=tuned())
    lines = [line.split() for line in text.splitlines() if line.startswith(("at", "kd")) and "±" not in line]
    assert lines[:4] == [
        ["kd", "278k", "1234", "1.00", "-", "-"],
        ["at", "300k", "2469", "2.00", "-", "-"],
        ["kd", "(tuned)", "278k", "1234", "1.00", "20", "24690"],
        ["at", "(tuned)", "300k", "2469", "2.00", "20", "-"],
    ]
    assert "* at (tuned), at: the network at inference is not the bare student" in text
    header = next(line for line in text.splitlines() if "search (TMAC)" in line)
    assert [name in header for name in ("params", "compute (TMAC)", "x student alone", "trials")] == [True] * 4


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_about_tuned_rows_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width, arguments=tuned()).splitlines())) <= width
