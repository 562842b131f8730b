"""How a leaderboard looks: the console, the page, the table for programs and the picture."""

from __future__ import annotations

import csv
import io
import math
import os
import subprocess
import sys

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from rich.console import Console

from benchmark import report
from benchmark.leaderboard import costs, leaderboard
from benchmark.plan import Plan

PLAN = Plan(
    "small",
    "Which is best?",
    ("r56-r20",),
    ("student", "kd", "at", "crd", "dkd"),
    (0, 1, 2),
    "last",
    "student",
    {"r56-r20/crd": "needs sample indices"},
    {"r56-r20": "cifar100"},
)
ACCURACIES = {"student": (69.0, 69.4, 69.2), "kd": (70.0, 70.6, 70.3), "at": (71.0, 71.6, 70.4), "dkd": (70.5, 70.7)}


def runs(seconds=100.0, pairs=PLAN.pairs):
    entries = []
    for pair in pairs:
        for method, accuracies in ACCURACIES.items():
            for seed, acc1 in enumerate(accuracies):
                entries.append(entry(pair, method, seed, acc1, seconds))
        entries.append(entry(pair, "dkd", 2, math.nan, seconds) | {"status": "FAILED", "reason": "loss | nan [step 3]"})
        entries.append(entry(pair, "teacher", 0, 73.4, seconds) | {"kind": "teacher"})
    return pd.DataFrame(entries)


def entry(pair, method, seed, acc1, seconds):
    return {
        "run_id": f"{pair}{method}{seed}", "kind": "run", "status": "FINISHED", "reason": "", "pair": pair,
        "method": method, "teacher_id": f"T{pair}", "seed": seed, "test/acc1": acc1, "test/acc5": 91.5,
        "test/f1": acc1 - 0.5, "test/ece": 4.25, "test/agreement": 78.0, "cost/params": 278324.0,
        "cost/macs": 41.2e6, "cost/compute_tmac": 1234.5, "cost/latency_ms": seconds / 50,
        "cost/train_seconds": seconds, "cost/teacher_seconds": seconds / 4, "cost/peak_memory_mb": 2230.4,
    }  # fmt: skip


def tables(table=None, plan=PLAN):
    table = runs() if table is None else table
    return leaderboard(table, plan), costs(table, plan), plan


def printed(width=120, terminal=True, arguments=None, style=False):
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=terminal, color_system="standard" if style else None)
    report.to_console(*(arguments or tables()), console)
    return text.getvalue()


def rows(text, name):
    return [line for line in text.splitlines() if line.split()[:1] == [name]]


def several(count):
    pairs = tuple(f"pair{number}" for number in range(count))
    plan = Plan("several", "", pairs, PLAN.methods, PLAN.seeds, "last", "student")
    return tables(runs(pairs=pairs), plan)


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
    assert "left out" not in printed(140)


def test_without_a_terminal_the_page_is_120_columns_and_the_console_is_given_back_unchanged():
    text = io.StringIO()
    console = Console(file=text, width=80)
    report.to_console(*tables(), console)
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
    assert clocked == ["at", "2.00", "100", "25.0", "2230"]
    assert "* n = 2: with fewer than 6 seeds" in text


def test_several_pairs_have_a_table_each_with_the_data_set_in_the_title():
    assert "r56-r20, cifar100\n" in printed()
    text = printed(arguments=several(3))
    assert [line for line in text.splitlines() if line.startswith("pair")][:3] == ["pair0", "pair1", "pair2"]
    assert text.count("vs student") == 3


def test_the_page_holds_headline_tables_and_footnotes():
    board, clock, plan = tables()
    page = report.to_markdown(board, clock, plan, picture="leaderboard.png").splitlines()
    assert page[0] == "# small: leaderboard"
    assert page[2] == "Which is best?"
    assert page[4].startswith("**at has the highest mean on 1 of 1 pairs: 71.0 ± 0.6 (n = 3), +1.8 [")
    assert page[6].endswith("(leaderboard.png)")
    assert "## r56-r20, cifar100" in page
    kd = "| kd | 3 | 70.30 ± 0.30 | [69.55, 71.05] | +1.10 [0.85, 1.35] | - | 26% | 91.50 | 69.8 | 4.2 | 78.0 |"
    assert f"{kd} 278k | 41.2M | 1234 | 2 |" in page
    assert any(line.startswith("| at | 3 | **71.00 ± 0.60** |") for line in page)
    assert "* dkd: 1 of 3 cells failed: loss \\| nan [step 3]" in page
    assert "| r56-r20 | at | 278k | 1234 | 1.00 |" in page
    assert "| r56-r20 | at | 2.00 | 100 | 25.0 | 2230 |" in page
    assert page[-1].startswith("* Compute is what training this row alone")
    told = report.to_markdown(board, clock, plan, provenance=["9 students: torch 2"]).splitlines()
    assert told[-3:] == ["## Where it was trained", "", "* 9 students: torch 2"]


def test_every_row_of_a_page_has_as_many_cells_as_its_header():
    board, clock, plan = several(2)
    page = report.to_markdown(board, clock, plan)
    widths = [
        {line.replace("\\|", "").count("|") for line in block.splitlines()}
        for block in page.split("\n\n")
        if block.startswith("|")
    ]
    assert [len(width) for width in widths] == [1] * 5  # two pairs, ranks over pairs, two costs


def test_text_of_others_cannot_break_the_page():
    plan = Plan("a*b*", "", ("x_y",), ("kd_<b>",), (0,), "last", None, {"x_y/kd_<b>": "[link](http://x) | $1$"})
    page = report.to_markdown(*tables(pd.DataFrame(), plan))
    assert page.startswith("# a\\*b\\*: leaderboard\n")
    assert "## x_y\n" in page
    assert "* kd\\_\\<b>: not applicable: [link\\](http://x) \\| \\$1\\$" in page


def test_the_csv_is_exact_and_empty_where_nothing_is_known():
    board, _, _ = tables()
    text = report.to_csv(board)
    assert "\r" not in text
    lines = list(csv.DictReader(io.StringIO(text)))
    for line, (_, row) in zip(lines, board.iterrows(), strict=True):
        for name in board.columns:
            value = row[name]
            if pd.isna(value):
                assert line[name] == ""
            elif isinstance(value, float):
                assert float(line[name]) == value
            else:
                assert line[name] == str(value)


def test_the_csv_is_this_text():
    plan = Plan("s", "", ("p",), ("student", "kd"), (0, 1, 2), "last", "student")
    entries = [
        ("student", 0, 0.25),
        ("student", 1, 0.5),
        ("student", 2, 0.75),
        *(("kd", seed, 1.0) for seed in range(3)),
    ]
    frame = pd.DataFrame(
        {"run_id": f"{m}{s}", "kind": "run", "status": "FINISHED", "reason": "", "pair": "p", "method": m, "seed": s,
         "teacher_id": "T", "test/acc1": a}
        for m, s, a in entries
    )  # fmt: skip
    header, teacher, kd, student = report.to_csv(leaderboard(frame, plan)).splitlines()
    assert header == (
        "pair,method,rank,n,planned,acc1,sd,ci_low,ci_high,vs_student,vs_student_low,vs_student_high,gap_closed,"
        "vs_published,vs_published_low,vs_published_high,vs_kd,vs_kd_low,vs_kd_high,p_student,p_kd,significant,"
        "mean_rank,mean_rank_low,mean_rank_high,acc5,f1,ece,agreement,params,macs,compute_tmac,compute_factor,trials,"
        "search_tmac,best_minus_last,published,published_source,published_rule,note"
    )
    assert teacher == "p,teacher,,0,1" + "," * 35 + "the teacher has no finished run with an accuracy"
    assert kd.startswith("p,kd,1,3,3,1.0,0.0,1.0,1.0,0.5,")
    assert kd.endswith("," * 7 + "0.25" + "," * 14 + "0,,,,,,")
    assert student.startswith("p,student,2,3,3,0.5,0.25,")
    assert student.count(",-0.5,") == 1  # against kd
    assert student.endswith("," * 15 + "0,,,,,,")


def test_two_trainings_with_equal_results_write_equal_files_but_for_the_clock(tmp_path):
    first = report.write(*tables(runs(seconds=100.0)), tmp_path / "a")
    second = report.write(*tables(runs(seconds=123.4).sample(frac=1, random_state=0)), tmp_path / "b" / "deep")
    names = ["leaderboard.csv", "costs.csv", "leaderboard.md", "leaderboard.svg", "leaderboard.png"]
    assert [path.name for path in first] == [path.name for path in second] == names
    differing = [a.name for a, b in zip(first, second, strict=True) if a.read_bytes() != b.read_bytes()]
    assert differing == ["costs.csv"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(names)


def test_the_picture_is_the_same_from_another_process(tmp_path):
    report.write(*tables(), tmp_path / "here")
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import test_report as t; "
        "t.report.write(*t.tables(), pathlib.Path(sys.argv[2]))"
    )
    folder = os.path.dirname(__file__)
    environment = os.environ | {"PYTHONPATH": os.path.dirname(folder), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, folder, str(tmp_path / "there")], check=True, env=environment)
    for name in ("leaderboard.svg", "leaderboard.png"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_the_written_page_points_to_the_costs_and_embeds_the_picture(tmp_path):
    report.write(*tables(), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "[costs.csv](costs.csv)" in page
    assert "](leaderboard.png)" in page
    assert "latency" not in page
    assert (tmp_path / "costs.csv").read_text().splitlines()[:2] == [
        "pair,method,latency_ms,train_seconds,teacher_seconds,peak_memory_mb,params,compute_tmac,compute_factor,trials,"
        "search_tmac",
        "r56-r20,teacher,2.0,100.0,25.0,2230.4,278324.0,1234.5,1.0,,",
    ]


def test_a_write_that_breaks_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    report.write(*tables(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(source, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        report.write(*tables(runs(seconds=5.0)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_picture_shows_each_mean_interval_and_reference():
    board, _, plan = tables()
    (panel,) = report.figure(board, plan).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["at", "dkd", "kd", "student", "crd"]
    assert panel.get_xlabel() == "Top-1 accuracy (%), mean and 95 % interval, n = 2 to 3"
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([71.0, 70.6, 70.3, 69.2])
    assert [to_hex(dot.get_markerfacecolor()) for dot in dots] == ["#0072b2", "#ffffff", "#0072b2", "#009e73"]
    references = {
        line.get_linestyle(): line.get_xdata()[0] for line in panel.lines if line.get_linestyle() in ("--", ":")
    }
    assert references == pytest.approx({"--": 73.4, ":": 69.2})
    intervals = [tuple(line.get_xdata()) for line in panel.lines if line.get_linestyle() == "-" and line not in dots]
    at = board[board["method"] == "at"].iloc[0]
    assert intervals[0] == pytest.approx((at["ci_low"], at["ci_high"]))
    assert "not applicable" in [text.get_text() for text in panel.texts]
    low, high = panel.get_xlim()
    drawn = board[["acc1", "ci_low", "ci_high"]].to_numpy()
    assert low < pd.Series(drawn.ravel()).min()
    assert high > pd.Series(drawn.ravel()).max()


def test_the_picture_has_a_panel_for_each_pair():
    board, _, plan = several(5)
    assert [panel.get_title(loc="left") for panel in report.figure(board, plan).axes] == list(plan.pairs)


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is(tmp_path):
    plan = Plan("cost $x^2$", "", ("a$b$",), ("kd$\\nothing$",), (0,), "last", None)
    assert len(report.write(*tables(pd.DataFrame(), plan), tmp_path)) == 5


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    report.write(*tables(), tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_study_that_has_not_begun_can_be_shown(tmp_path):
    empty = tables(pd.DataFrame())
    text = printed(arguments=empty)
    assert text.startswith("No method is ranked")
    assert "* student, kd, at, dkd: 0 of 3 cells finished" in text
    assert "None was measured." in report.to_markdown(*empty)
    assert len(report.write(*empty, tmp_path)) == 5


def tuned():
    """The small study, where at and kd were tuned too; at has other parameters and computes twice as much."""
    kd, at = "kd (tuned)", "at (tuned)"
    pair = PLAN.pairs[0]
    plan = Plan(
        PLAN.study, "", PLAN.pairs, (*PLAN.methods, kd, at), PLAN.seeds, "last", "student",
        trials={kd: 20, at: 20}, search_tmac={f"{pair}/{kd}": 24690.0},
    )  # fmt: skip
    found = {kd: (70.5, 71.1, 71.1), at: (72.0, 72.6, 71.4)}
    entries = [entry(pair, name, seed, acc1, 100.0) for name in found for seed, acc1 in enumerate(found[name])]
    table = pd.concat([runs(), pd.DataFrame(entries)])
    large = table["method"].isin(["at", at])
    table.loc[large, ["cost/params", "cost/compute_tmac"]] = [300000.0, 2469.0]
    return tables(table, plan)


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
    assert "vs published" in text
    assert "vs published" not in printed(160)


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


def test_the_written_page_and_the_costs_for_programs_hold_the_effort_of_tuning(tmp_path):
    report.write(*tuned(), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text().splitlines()
    assert "| r56-r20 | kd (tuned) | 278k | 1234 | 1.00 | 20 | 24690 |" in page
    lines = {line["method"]: line for line in csv.DictReader((tmp_path / "costs.csv").read_text().splitlines())}
    tuned_kd, kd = lines["kd (tuned)"], lines["kd"]
    assert (tuned_kd["trials"], tuned_kd["search_tmac"], tuned_kd["compute_factor"]) == ("20", "24690.0", "1.0")
    assert (kd["trials"], kd["search_tmac"], lines["at"]["compute_factor"]) == ("0", "", "2.0")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_about_tuned_rows_is_wider_than_the_terminal(width):
    assert max(map(len, printed(width, arguments=tuned()).splitlines())) <= width
