"""How a leaderboard looks in a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from benchmark.report import files
from benchmark.report.columns import (
    CLOCKED,
    COLUMNS,
    COUNTED,
    NAME_LETTERS,
    OVER_PAIRS,
    filled,
    over_pairs,
)
from benchmark.report.terminal import to_console
from benchmark.study.plan import Plan
from tests.support.tabled import PLAN, printed, runs, several, tables, tuned


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
        title in text
        for title in ("95 % interval", "vs student", "F1", "ECE", "agree", "params", "MACs", "rank")
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
    assert ("word " * 500).strip() in files.to_csv(board)


def test_the_console_shows_costs_and_footnotes():
    text = printed()
    counted, clocked = [line.split() for line in rows(text, "at") if "±" not in line]
    assert counted == ["at", "278k", "1234", "1.00"]
    assert clocked == ["at", "2.00", "40.0", "100", "25.0", "2230"]
    assert "Costs by the clock, median over seeds;" in text
    assert "* n = 2 to 3: with fewer than 6 seeds" in text


def test_several_pairs_have_a_table_each_with_the_data_set_in_the_title():
    assert "r56-r20, cifar100\n" in printed()
    text = printed(arguments=several(3))
    assert [line for line in text.splitlines() if line.startswith("pair")][:3] == [
        "pair0",
        "pair1",
        "pair2",
    ]
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
    lines = [
        line.split()
        for line in text.splitlines()
        if line.startswith(("at", "kd")) and "±" not in line
    ]
    assert lines[:4] == [
        ["kd", "278k", "1234", "1.00", "-", "-"],
        ["at", "300k", "2469", "2.00", "-", "-"],
        ["kd", "(tuned)", "278k", "1234", "1.00", "20", "24690"],
        ["at", "(tuned)", "300k", "2469", "2.00", "20", "-"],
    ]
    assert "* at (tuned), at: the network at inference is not the bare student" in text
    header = next(line for line in text.splitlines() if "search (TMAC)" in line)
    assert [
        name in header for name in ("params", "compute (TMAC)", "x student alone", "trials")
    ] == [True] * 4


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_about_tuned_rows_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width, arguments=tuned()).splitlines())) <= width


PAIRS = ("resnet56-resnet20", "resnet32x4-mobilenet_v2")
LONG, LONGER = "ls(kd)+crd+at-u-v-w-22", "z" * 50


def named():
    """Two pairs and rows with names as long as fit a line, and longer."""
    table = runs(pairs=PAIRS).replace({"method": {"kd": LONG, "at": LONGER}})
    return tables(
        table, Plan("s", "", PAIRS, ("student", LONG, LONGER, "dkd"), PLAN.seeds, "last", "student")
    )


def tables_of(text):
    """The lines of each table by its title, and the titles of the columns that it lacks."""
    for block in text.split("\n\n")[1:-1]:
        title, *lines = block.splitlines()
        found = re.search(
            r"\* left out for want of width: ([^*]*)", " ".join(" ".join(lines).split())
        )
        yield title, "\n".join(lines), found.group(1).strip().split(", ") if found else []


@pytest.mark.parametrize("width", [120, 100, 80, 60, 40])
@pytest.mark.parametrize("arguments", [tables, tuned, lambda: several(2), named])
def test_every_name_and_every_cell_stands_whole_in_its_row_at_any_width(arguments, width):
    board, clock, plan = arguments()
    lines, clocked = board.to_dict("records"), clock.to_dict("records")
    known = {
        pair: (COLUMNS, [line for line in lines if line["pair"] == pair]) for pair in plan.pairs
    }
    known["Mean rank over pairs"] = (OVER_PAIRS, over_pairs(board, plan))
    known["Costs by counting"] = ([COLUMNS[0], *COUNTED], lines)
    known["Costs by the clock"] = ([COLUMNS[0], *CLOCKED], clocked)
    checked = 0
    for title, text, left_out in tables_of(printed(width, arguments=(board, clock, plan))):
        columns, expected = next(known[name] for name in known if title.startswith(name))
        shown = [column for column in filled(columns, expected) if column.title not in left_out]
        for line in expected:
            if filled(columns[1:], [line]) and len(line["method"]) <= NAME_LETTERS:
                cells = r" +".join(re.escape(column.cell(line) or "-") for column in shown)
                assert re.search(rf"(^|  ?){cells} *$", text, re.MULTILINE), (
                    line["method"],
                    title,
                    text,
                )
                checked += 1
    assert checked >= 3 * 4


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_longer_name_goes_on_below_and_no_letter_of_it_is_lost(width):
    for title, text, _ in tables_of(printed(width, arguments=named())):
        assert text.count("z") == len(LONGER) * (len(PAIRS) if "Costs" in title else 1)
        assert len(re.findall("z+", text)[0]) >= NAME_LETTERS


def test_columns_of_costs_are_shortened_then_left_out_and_named_below():
    wide, at_80, at_40 = (
        list(tables_of(printed(width, arguments=tuned()))) for width in (120, 80, 40)
    )
    assert "latency of 64 (ms)" in wide[-1][1]
    assert re.search(
        "^Method +ms +ms of 64 +train .s. +teacher .s. +peak .MB.$", at_80[-1][1], re.MULTILINE
    )
    assert re.search("^Method +ms +train .s. +peak .MB.$", at_40[-1][1], re.MULTILINE)
    assert [left_out for _, _, left_out in at_40[-2:]] == [
        ["search (TMAC)"],
        ["teacher (s)", "latency of 64 (ms)"],
    ]


def test_no_letter_of_a_long_word_in_a_note_is_lost():
    table = runs()
    table.loc[table["status"] == "FAILED", "reason"] = "x" * 100
    assert printed(40, arguments=tables(table)).count("x") == printed(
        400, arguments=tables(table)
    ).count("x")
