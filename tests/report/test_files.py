"""The files of a leaderboard: the same for the same results, each written as a whole."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pandas as pd
import pytest

from benchmark.errors import InputError
from benchmark.leaderboard.table import leaderboard
from benchmark.report import files
from benchmark.report.figures import all_figures
from benchmark.report.figures.base import Tables, render
from benchmark.report.markdown import to_markdown
from benchmark.study.plan import Plan
from tests.support.htmlpage import Page
from tests.support.tabled import PLAN, histories, printed, runs, several, tables, tuned

pytestmark = pytest.mark.broad

ROOT = Path(__file__).parents[2]

FILES = [
    "leaderboard.csv",
    "costs.csv",
    "summary.json",
    "leaderboard.md",
    "leaderboard.html",
    "leaderboard.tex",
    "leaderboard.svg",
    "leaderboard.png",
]
"""What every leaderboard has."""


@pytest.fixture
def undrawn(monkeypatch):
    """Saves time where figures don't matter: each is an empty file."""
    monkeypatch.setattr(files, "render", lambda figure: (b"<svg></svg>", b"PNG"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_csv_is_exact_and_empty_where_a_value_is_missing():
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
    plan = Plan("s", "", ("p",), ("student", "kd"), (0, 1, 2), "last", "student", reference="kd")
    accuracies = {"student": (0.25, 0.5, 0.75), "kd": (1.0, 1.0, 1.0)}
    entries = [
        {
            "run_id": f"{method}{seed}",
            "kind": "run",
            "status": "FINISHED",
            "reason": "",
            "pair": "p",
            "method": method,
            "seed": seed,
            "teacher_id": "T",
            "test/acc1": acc1,
        }
        for method, values in accuracies.items()
        for seed, acc1 in enumerate(values)
    ]
    table = leaderboard(pd.DataFrame(entries), plan)
    header, teacher, kd, student = files.to_csv(table).splitlines()
    assert header == (
        "pair,method,rank,n,planned,acc1,sd,ci_low,ci_high,vs_student,vs_student_low,"
        "vs_student_high,gap_closed,vs_untuned,vs_untuned_low,vs_untuned_high,vs_kd,vs_kd_low,"
        "vs_kd_high,p_student,p_kd,significant,mean_rank,mean_rank_low,mean_rank_high,acc5,f1,ece,"
        "agreement,params,macs,compute_tmac,compute_factor,trials,search_tmac,best_minus_last,"
        "published,published_source,published_rule,note"
    )
    no_teacher = "the teacher has no finished run with an accuracy"
    assert teacher == f"p,teacher,,0,1{',' * 35}{no_teacher}"
    assert kd.startswith("p,kd,1,3,3,1.0,0.0,1.0,1.0,0.5,")
    assert kd.endswith("," * 7 + "0.25" + "," * 14 + "0,,,,,,")
    assert student.startswith("p,student,2,3,3,0.5,0.25,")
    assert student.count(",-0.5,") == 1  # against kd
    assert student.endswith("," * 15 + "0,,,,,,")


def test_equal_results_give_equal_files_but_for_those_with_measured_costs(small_results, tmp_path):
    shuffled = tables(runs().sample(frac=1, random_state=0))
    files.write(*shuffled, tmp_path / "deep" / "same", ["9 students: torch 2"], histories())
    slower = tables(runs(seconds=123.4))
    files.write(*slower, tmp_path / "slower", ["9 students: torch 2"], histories())

    first, second, third = map(
        contents, (small_results, tmp_path / "deep" / "same", tmp_path / "slower")
    )
    assert first == second
    differing = {name for name in first if first[name] != third[name]}
    assert "costs.csv" in differing
    assert differing <= set(files.MACHINE_DEPENDENT) <= set(first)


@pytest.mark.parametrize("name", ["leaderboard.md", "leaderboard.tex", "leaderboard.csv"])
def test_files_without_measured_costs_are_not_machine_dependent(name):
    assert name not in files.MACHINE_DEPENDENT


def test_a_leaderboard_has_these_files(small_results):
    figures = {f"{name}.{suffix}" for name in ("curves", "pareto") for suffix in ("svg", "png")}
    assert {*FILES, *figures} <= set(contents(small_results))


def test_the_written_files_are_returned(tmp_path, undrawn):
    written = files.write(*tables(), tmp_path)
    assert [path.name for path in written][: len(FILES)] == FILES
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}


def test_a_figure_is_the_same_from_another_process(small_results, tmp_path):
    code = (
        "import pathlib, sys\n"
        "from benchmark.report import files\n"
        "from tests.support.tabled import tables\n"
        "files.write(*tables(), pathlib.Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
    for name in ("leaderboard.svg", "leaderboard.png"):
        assert (small_results / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_written_page_links_to_the_costs_and_shows_the_figure(small_results):
    page = (small_results / "leaderboard.md").read_text(encoding="utf-8")
    assert "[costs.csv](costs.csv)" in page
    assert "](leaderboard.png)" in page
    assert "Latency" not in page
    assert (small_results / "costs.csv").read_text().splitlines()[:2] == [
        "pair,method,latency_ms,latency_batch64_ms,train_seconds,teacher_seconds,peak_memory_mb,"
        "params,compute_tmac,compute_factor,trials,search_tmac",
        "r56-r20,teacher,2.0,40.0,100.0,25.0,2230.4,278324.0,1234.5,1.0,,",
    ]


def test_the_pages_link_every_other_file(small_results):
    for page in ("leaderboard.md", "leaderboard.html"):
        text = (small_results / page).read_text(encoding="utf-8")
        for name in ("leaderboard.tex", "leaderboard.csv", "costs.csv", "curves.png", "pareto.png"):
            assert name in text
    text = (small_results / "leaderboard.md").read_text(encoding="utf-8")
    assert "[LaTeX](leaderboard.tex), [learning curves](curves.png), [accuracy over" in text


def test_figures_of_an_earlier_leaderboard_are_deleted(tmp_path, undrawn):
    files.write(*tables(), tmp_path, histories=histories())
    assert (tmp_path / "curves.svg").exists()

    files.write(*tables(), tmp_path)
    assert "curves" not in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert list(tmp_path.glob("curves.*")) == []


def test_the_figure_of_ranks_is_linked_and_captioned_if_it_applies(tmp_path, undrawn, monkeypatch):
    kinds = [kind for kind in all_figures() if kind.name in ("leaderboard", "ranks")]
    monkeypatch.setattr(files, "all_figures", lambda: kinds)

    files.write(*several(5), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "[mean ranks](ranks.png)" in page
    html = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert f'alt="{kinds[1].caption(PLAN)}"' in html
    assert (tmp_path / "ranks.svg").exists()

    files.write(*several(2), tmp_path)
    assert list(tmp_path.glob("ranks.*")) == []
    assert "ranks.png" not in (tmp_path / "leaderboard.md").read_text(encoding="utf-8")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, undrawn):
    files.write(*tables(), tmp_path)
    before = contents(tmp_path)

    def full_disk(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(InputError, match=r"leaderboard\.csv: cannot be written \(No space left"):
        files.write(*tables(runs(seconds=5.0)), tmp_path)
    assert contents(tmp_path) == before


def test_a_dollar_sign_in_a_name_does_not_break_a_file(tmp_path):
    plan = Plan("cost $x^2$", "", ("a$b$",), ("kd$\\nothing$",), (0,), "last", None)
    written = files.write(*tables(pd.DataFrame(), plan), tmp_path)
    assert [path.name for path in written] == FILES


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    for kind in all_figures():
        figure = kind.draw(Tables(*tables(), histories()))
        if figure is not None:
            render(figure)
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_a_study_that_has_not_begun_has_all_files_but_no_further_figures(tmp_path):
    empty = tables(pd.DataFrame())
    written = files.write(*empty, tmp_path)
    assert [path.name for path in written] == FILES
    page = Page((tmp_path / "leaderboard.html").read_text(encoding="utf-8"))
    assert "Nothing was measured." in page.text


def test_a_study_that_has_not_begun_can_be_shown():
    empty = tables(pd.DataFrame())
    text = printed(arguments=empty)
    assert text.startswith("No method is ranked")
    assert "* student, kd, at, dkd: only 0 of 3 cells finished with an accuracy" in text
    assert "Nothing was measured." in to_markdown(*empty)


def test_the_page_and_the_costs_for_programs_hold_the_effort_of_tuning(tmp_path, undrawn):
    files.write(*tuned(), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    assert "| r56-r20 | kd (tuned) | 278k | 1234 | 1.00 | 20 | 24690 |" in page

    table = (tmp_path / "costs.csv").read_text(encoding="utf-8").splitlines()
    lines = {line["method"]: line for line in csv.DictReader(table)}
    tuned_kd, kd = lines["kd (tuned)"], lines["kd"]
    assert tuned_kd["trials"] == "20"
    assert tuned_kd["search_tmac"] == "24690.0"
    assert tuned_kd["compute_factor"] == "1.0"
    assert (kd["trials"], kd["search_tmac"]) == ("0", "")
    assert lines["at"]["compute_factor"] == "2.0"


def test_pages_show_the_diagnostic_beside_the_computed_costs_if_it_is_known():
    known = tables(runs().assign(**{"val/best_minus_last": 0.25}))
    for text in files.pages(*known, [], {}).values():
        if b"Computed costs" in text:
            assert b"Best - last (val)" in text
            assert b"0.25" in text
    unknown = files.pages(*tables(), [], {})
    assert b"Best - last" not in unknown["leaderboard.md"]
