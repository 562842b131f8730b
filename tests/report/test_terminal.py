"""The results in a terminal."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from benchmark.report import files
from benchmark.report.columns import COMPUTED, MEASURED, METHOD, NONE, OVER_PAIRS, TERMINAL
from benchmark.report.tables import MEASURED_TITLE, NAME_WIDTH, OMITTED, lines_over_pairs, used
from benchmark.report.terminal import to_console
from benchmark.study.plan import Plan
from tests.support.tabled import PLAN, printed, runs, several, tables, tuned


def rows(text, name):
    return [line for line in text.splitlines() if line.split()[:1] == [name]]


def test_a_row_gives_every_number():
    kd = rows(printed(), "kd")[0].split("  ")
    cells = [cell.strip() for cell in kd if cell.strip()]
    # sd of 70.0, 70.6, 70.3 is 0.3; of the differences 1.0, 1.2, 1.1 it is 0.1; 4.3027 / sqrt(3)
    # is 2.484
    accuracy = ["70.30 ± 0.30", "[69.55, 71.05]", "+1.10 [0.85, 1.35]", "26%", "91.50"]
    assert cells == ["kd", "3", *accuracy, "69.8", "4.2", "78.0", "278k", "41.2M", "2"]


def test_the_teacher_is_on_top_between_rules():
    lines = printed().splitlines()
    index = next(index for index, line in enumerate(lines) if line.startswith("teacher"))
    assert set(lines[index - 1].strip()) == set(lines[index + 1].strip()) == {"─"}
    assert lines[index].split()[:3] == ["teacher", "1", "73.40"]
    assert lines[index + 2].startswith("at ")


def test_the_best_mean_alone_is_bold():
    text = printed(style=True)
    assert "\x1b[1m71.00 ± 0.60\x1b[0m" in text
    assert "\x1b[1m70.30" not in text
    assert "\x1b[1m70.60" not in text


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width).splitlines())) <= width


def test_columns_are_omitted_by_importance_and_named_below_their_table():
    text = printed(100)
    assert f"{OMITTED}: vs kd; MACs\n" in text
    kept = ("Method", "95 % interval", "vs student", "F1", "ECE", "agree", "params", "Rank")
    assert all(title in text for title in kept)
    assert f"{OMITTED}: vs kd\n" in printed(120)
    assert OMITTED not in printed(140)


def test_titles_are_whole_where_there_is_room_for_them():
    assert "Agreement (%)" in printed(200)
    assert "Agreement (%)" not in printed(140)
    assert "agree" in printed(140)


def test_without_a_terminal_the_page_has_120_columns_and_the_console_stays_as_it_was():
    text = io.StringIO()
    console = Console(file=text, width=80)
    to_console(*tables(), console)
    assert console.width == 80
    assert "agree" in rows(text.getvalue(), "Method")[0]
    assert f"{OMITTED}: vs kd\n" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_failed_and_inapplicable_rows_are_in_the_table_and_below_it_with_their_reasons():
    text = printed()
    assert rows(text, "dkd")[0].split()[1] == "2/3"
    assert rows(text, "dkd")[0].split()[-1] == "-"
    assert set(rows(text, "crd")[0].split()[1:]) == {"-"}
    assert "* dkd: 1 of 3 cells failed: loss | nan [step 3]" in text
    assert "* crd: not applicable: needs sample indices" in text


def test_a_note_that_rows_share_is_printed_once():
    plan = Plan("s", "", PLAN.pairs, PLAN.methods, (0,), "last", "student", reference="kd")
    text = printed(arguments=tables(runs(), plan))
    assert "* at, dkd, kd, student: n = 1: no rank with fewer than 3 seeds" in text


def test_a_long_reason_is_cut_in_the_table_but_whole_in_the_csv():
    table = runs()
    table.loc[table["status"] == "FAILED", "reason"] = "word " * 500
    board, costs, plan = tables(table)
    assert "word [...]" in printed(arguments=(board, costs, plan))
    assert ("word " * 500).strip() in files.to_csv(board)


def test_costs_and_footnotes_are_printed():
    text = printed()
    computed, measured = [line.split() for line in rows(text, "at") if "±" not in line]
    assert computed == ["at", "278k", "1234", "1.00"]
    assert measured == ["at", "2.00", "40.0", "100", "25.0", "2230"]
    assert "\nComputed costs\n" in text
    assert f"\n{MEASURED_TITLE}\n" in text
    assert "* Medians over the seeds. They depend on the machine and its load." in text
    assert "With fewer than 6 seeds (n = 2 to 3), no difference" in " ".join(text.split())
    assert "* Every column is explained in docs/reading-a-leaderboard.md." in text


def test_several_pairs_have_a_table_each_with_the_data_set_in_the_title():
    assert "r56-r20, cifar100\n" in printed()
    text = printed(arguments=several(3))
    titles = [line for line in text.splitlines() if line.startswith("pair")][:3]
    assert titles == ["pair0", "pair1", "pair2"]
    assert text.count("vs student") == 3


def test_tuned_rows_have_their_own_ranks_and_gains_over_published_settings():
    text = printed(160, arguments=tuned())
    shown = {line.split("  ")[0].strip(): line for line in text.splitlines() if "±" in line}
    # 0.5, 0.5, 0.8: mean 0.6, sd 0.1732, half width 4.3027 * 0.1732 / sqrt(3) = 0.430; at gains
    # 1.0 with every seed
    assert "+0.60 [0.17, 1.03]" in shown["kd (tuned)"]
    assert "+1.00 [1.00, 1.00]" in shown["at (tuned)"]
    assert shown["kd (tuned)"].rstrip().endswith("tuned 2")
    assert shown["at (tuned)"].rstrip().endswith("tuned 1")
    assert shown["at"].split()[-2:] == ["41.2M", "1"]
    assert shown["kd"].split()[-2:] == ["41.2M", "2"]
    assert "vs untuned" in text
    assert "vs untuned" not in printed(160)


def test_the_costs_of_tuned_rows_include_trials_and_the_compute_of_the_search():
    text = printed(arguments=tuned())
    lines = [line for line in text.splitlines() if line.startswith(("at", "kd"))]
    assert [line.split() for line in lines if "±" not in line][:4] == [
        ["kd", "278k", "1234", "1.00", "-", "-"],
        ["at", "300k", "2469", "2.00", "-", "-"],
        ["kd", "(tuned)", "278k", "1234", "1.00", "20", "24690"],
        ["at", "(tuned)", "300k", "2469", "2.00", "20", "-"],
    ]
    assert "* at (tuned), at: the network at inference is not the bare student" in text

    header = next(line for line in text.splitlines() if "Search compute (TMAC)" in line)
    titles = ("Parameters", "Training compute (TMAC)", "x student-only", "Trials")
    assert all(title in header for title in titles)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_about_tuned_rows_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width, arguments=tuned()).splitlines())) <= width


PAIRS = ("resnet56-resnet20", "resnet32x4-mobilenet_v2")
LONG, LONGER = "ls(kd)+crd+at-u-v-w-22", "z" * 50


def named():
    """Two pairs, and rows with names as long as a line may have, and longer."""
    methods = ("student", LONG, LONGER, "dkd")
    plan = Plan("s", "", PAIRS, methods, PLAN.seeds, "last", "student", reference="kd")
    return tables(runs(pairs=PAIRS).replace({"method": {"kd": LONG, "at": LONGER}}), plan)


def tables_of(text):
    """Yield the title of each table, its lines, and the titles of the omitted columns."""
    for block in text.split("\n\n")[1:-1]:
        title, *lines = block.splitlines()
        joined = " ".join(" ".join(lines).split())
        match = re.search(rf"\* {re.escape(OMITTED)}: ([^*]*)", joined)
        yield title, "\n".join(lines), match.group(1).strip().split("; ") if match else []


@pytest.mark.broad
@pytest.mark.parametrize("width", [120, 100, 80, 60, 40])
@pytest.mark.parametrize("arguments", [tables, tuned, lambda: several(2), named])
def test_every_name_and_every_cell_is_whole_at_any_width(arguments, width):
    board, costs, plan = arguments()
    lines = board.to_dict("records")
    contents = {
        pair: (TERMINAL, [line for line in lines if line["pair"] == pair]) for pair in plan.pairs
    }
    contents["Mean rank over pairs"] = (OVER_PAIRS, lines_over_pairs(board, plan))
    contents["Computed costs"] = ([METHOD, *COMPUTED], lines)
    contents[MEASURED_TITLE] = ([METHOD, *MEASURED], costs.to_dict("records"))

    checked = 0
    for title, text, omitted in tables_of(printed(width, arguments=(board, costs, plan))):
        columns, expected = next(contents[name] for name in contents if title.startswith(name))
        shown = [column for column in used(columns, expected) if column.title not in omitted]
        for line in expected:
            if used(columns[1:], [line]) and len(line["method"]) <= NAME_WIDTH:
                cells = r" +".join(re.escape(column.cell(line) or NONE) for column in shown)
                pattern = rf"(^|  ?){cells} *$"
                assert re.search(pattern, text, re.MULTILINE), (line["method"], title, text)
                checked += 1
    assert checked >= 3 * 4


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_longer_name_goes_on_in_the_next_line_and_no_letter_of_it_is_lost(width):
    for title, text, _ in tables_of(printed(width, arguments=named())):
        assert text.count("z") == len(LONGER) * (len(PAIRS) if "costs" in title else 1)
        assert len(re.findall("z+", text)[0]) >= NAME_WIDTH


def test_titles_of_costs_are_shortened_before_columns_are_omitted():
    at_120, at_80, at_40 = (
        list(tables_of(printed(width, arguments=tuned()))) for width in (120, 80, 40)
    )
    assert "Latency, batch 64 (ms)" in at_120[-1][1]
    short = "^Method +ms +ms / 64 +train .s. +teacher .s. +peak .MB.$"
    assert re.search(short, at_80[-1][1], re.MULTILINE)
    assert re.search("^Method +ms +train .s. +peak .MB.$", at_40[-1][1], re.MULTILINE)
    omitted = [titles for _, _, titles in at_40[-2:]]
    assert omitted == [
        ["Search compute (TMAC)"],
        ["Teacher time (s)", "Latency, batch 64 (ms)"],
    ]


def test_no_letter_of_a_long_word_in_a_note_is_lost():
    table = runs()
    table.loc[table["status"] == "FAILED", "reason"] = "§" * 100
    arguments = tables(table)
    assert printed(40, arguments=arguments).count("§") == 100
    assert printed(400, arguments=arguments).count("§") == 100
