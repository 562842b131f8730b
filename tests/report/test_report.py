"""The files of a leaderboard: the same for the same results, written as a whole."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys

import matplotlib
import pandas as pd
import pytest

from benchmark.errors import InputError
from benchmark.leaderboard.table import leaderboard
from benchmark.report import files
from benchmark.report.markdown import to_markdown
from benchmark.study.plan import Plan
from tests.support.tabled import printed, runs, tables, tuned


def test_the_csv_is_exact_and_empty_where_nothing_is_known():
    board, _, _ = tables()
    text = files.to_csv(board)
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
    header, teacher, kd, student = files.to_csv(leaderboard(frame, plan)).splitlines()
    assert header == (
        "pair,method,rank,n,planned,acc1,sd,ci_low,ci_high,vs_student,vs_student_low,vs_student_high,gap_closed,"
        "vs_untuned,vs_untuned_low,vs_untuned_high,vs_kd,vs_kd_low,vs_kd_high,p_student,p_kd,significant,"
        "mean_rank,mean_rank_low,mean_rank_high,acc5,f1,ece,agreement,params,macs,compute_tmac,compute_factor,trials,"
        "search_tmac,best_minus_last,published,published_source,published_rule,note"
    )
    assert (
        teacher == "p,teacher,,0,1" + "," * 35 + "the teacher has no finished run with an accuracy"
    )
    assert kd.startswith("p,kd,1,3,3,1.0,0.0,1.0,1.0,0.5,")
    assert kd.endswith("," * 7 + "0.25" + "," * 14 + "0,,,,,,")
    assert student.startswith("p,student,2,3,3,0.5,0.25,")
    assert student.count(",-0.5,") == 1  # against kd
    assert student.endswith("," * 15 + "0,,,,,,")


def test_two_trainings_with_equal_results_write_equal_files_but_for_the_clock(tmp_path):
    first = files.write(*tables(runs(seconds=100.0)), tmp_path / "a")
    second = files.write(
        *tables(runs(seconds=123.4).sample(frac=1, random_state=0)), tmp_path / "b" / "deep"
    )
    names = ["leaderboard.csv", "costs.csv", "leaderboard.md", "leaderboard.svg", "leaderboard.png"]
    assert [path.name for path in first] == [path.name for path in second] == names
    differing = [
        a.name for a, b in zip(first, second, strict=True) if a.read_bytes() != b.read_bytes()
    ]
    assert differing == ["costs.csv"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(names)


def test_the_picture_is_the_same_from_another_process(tmp_path):
    files.write(*tables(), tmp_path / "here")
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import test_report as t; "
        "t.report.write(*t.tables(), pathlib.Path(sys.argv[2]))"
    )
    folder = os.path.dirname(__file__)
    environment = os.environ | {"PYTHONPATH": os.path.dirname(folder), "PYTHONHASHSEED": "7"}
    subprocess.run(
        [sys.executable, "-c", code, folder, str(tmp_path / "there")], check=True, env=environment
    )
    for name in ("leaderboard.svg", "leaderboard.png"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_the_written_page_points_to_the_costs_and_embeds_the_picture(tmp_path):
    files.write(*tables(), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "[costs.csv](costs.csv)" in page
    assert "](leaderboard.png)" in page
    assert "latency" not in page
    assert (tmp_path / "costs.csv").read_text().splitlines()[:2] == [
        "pair,method,latency_ms,latency_batch64_ms,train_seconds,teacher_seconds,peak_memory_mb,params,compute_tmac,"
        "compute_factor,trials,search_tmac",
        "r56-r20,teacher,2.0,40.0,100.0,25.0,2230.4,278324.0,1234.5,1.0,,",
    ]


def test_a_write_that_breaks_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    files.write(*tables(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match=r"leaderboard\.csv: cannot be written \(No space left"):
        files.write(*tables(runs(seconds=5.0)), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is(tmp_path):
    plan = Plan("cost $x^2$", "", ("a$b$",), ("kd$\\nothing$",), (0,), "last", None)
    assert len(files.write(*tables(pd.DataFrame(), plan), tmp_path)) == 5


def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    files.write(*tables(), tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_a_study_that_has_not_begun_can_be_shown(tmp_path):
    empty = tables(pd.DataFrame())
    text = printed(arguments=empty)
    assert text.startswith("No method is ranked")
    assert "* student, kd, at, dkd: 0 of 3 cells finished" in text
    assert "None was measured." in to_markdown(*empty)
    assert len(files.write(*empty, tmp_path)) == 5


def test_the_written_page_and_the_costs_for_programs_hold_the_effort_of_tuning(tmp_path):
    files.write(*tuned(), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text().splitlines()
    assert "| r56-r20 | kd (tuned) | 278k | 1234 | 1.00 | 20 | 24690 |" in page
    lines = {
        line["method"]: line
        for line in csv.DictReader((tmp_path / "costs.csv").read_text().splitlines())
    }
    tuned_kd, kd = lines["kd (tuned)"], lines["kd"]
    assert (tuned_kd["trials"], tuned_kd["search_tmac"], tuned_kd["compute_factor"]) == (
        "20",
        "24690.0",
        "1.0",
    )
    assert (kd["trials"], kd["search_tmac"], lines["at"]["compute_factor"]) == ("0", "", "2.0")
