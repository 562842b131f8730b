"""The table for papers: methods x pairs, in chosen columns and decimals, compiled if possible."""

from __future__ import annotations

import dataclasses
import re
import shutil

import pandas as pd
import pytest

from benchmark.errors import InputError
from benchmark.report.latex_parts import LONGEST
from benchmark.report.paper import choose_columns, paper
from benchmark.study.plan import Plan
from tests.report.test_latex import compiled
from tests.support.tabled import PLAN, several, tables, tuned

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


def written(names="acc1", decimals=1, arguments=None):
    board, _, plan = arguments or tables()
    return paper(board, plan, choose_columns(names.split(","), plan, decimals))


def rows(text):
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]


def named(count, name="a_rather_long_teacher-a_rather_long_student"):
    """The small study on pairs with long names."""
    _, _, plan = several(count)
    board, costs, _ = several(count)
    names = {pair: f"{name}-{number}" for number, pair in enumerate(plan.pairs)}
    board["pair"] = board["pair"].map(names)
    return board, costs, dataclasses.replace(plan, pairs=tuple(names.values()), not_applicable={})


def long():
    names = tuple(f"method_{number}" for number in range(LONGEST + 5))
    return tables(pd.DataFrame(), Plan("long", "", ("p",), names, (0,), "last", None))


def test_a_row_has_mean_and_deviation_for_each_pair_in_the_order_of_the_study():
    board, costs, plan = several(2)
    second = board["pair"] == plan.pairs[1]
    board.loc[second, "acc1"] -= 10
    head, teacher, *others = rows(written(arguments=(board, costs, plan)).text)

    assert head[0] == ""
    assert [re.findall(r"shortstack\{([^}]*)\}", title) for title in head[1:]] == [
        [r"r56\\r20"],
        [r"0\\r20"],
    ] or len(head) == 3
    assert teacher == ["teacher", "73.4", "63.4"]
    assert [row[0] for row in others] == list(PLAN.methods)
    assert others[0] == ["student", r"69.2 $\pm$ 0.2", r"59.2 $\pm$ 0.2"]
    assert others[2] == ["at", r"\textbf{71.0 $\pm$ 0.6}", r"\textbf{61.0 $\pm$ 0.6}"]


def test_decimals_apply_to_accuracies_and_differences():
    for decimals, expected in (
        (0, r"70 $\pm$ 0 & +1 {[}1, 1{]}"),
        (2, r"70.30 $\pm$ 0.30 & +1.10 {[}0.85, 1.35{]}"),
    ):
        (line,) = [
            line
            for line in written("acc1,vs_student", decimals).text.splitlines()
            if line.startswith("kd &")
        ]
        assert line == rf"kd & {expected} \\"


def test_an_incomplete_row_says_its_number_of_seeds_and_an_empty_cell_is_explained():
    text = written().text
    assert rows(text)[-1] == ["dkd", r"70.6 $\pm$ 0.1$_{2}$"]
    assert rows(text)[-2] == ["crd", "--"]
    assert "Subscripts: number of seeds, where some are missing. --: no value." in text


def test_several_columns_have_a_second_header_below_each_pair():
    text = written("acc1,ece,params").text
    head, titles, *_ = rows(text)
    assert head[1].startswith(r"\multicolumn{3}{c}")
    assert titles == [r"\cmidrule(lr){2-4}Method", "Top-1 (\\%)", "ECE", "params"] or titles == [
        "Method",
        r"Top-1 (\%)",
        "ECE",
        "params",
    ]
    assert {len(row) for row in rows(text)[1:]} == {4}


def test_pairs_that_do_not_fit_continue_in_another_table_and_the_user_is_told():
    few = written(arguments=named(2))
    assert few.remarks == []
    assert few.text.count(r"\begin{table}") == 1

    many = written("acc1,vs_student", arguments=named(6))
    count = many.text.count(r"\begin{table}")
    assert count > 1
    assert many.remarks == [f"the pairs don't fit beside each other, so there are {count} tables"]
    for number in range(6):
        assert f"student-{number}" in many.text


def test_a_pair_that_is_wider_than_a_page_is_kept_and_told():
    every = "acc1,ci_low,vs_student,vs_kd,ece,f1,agreement,acc5,params,macs,compute_tmac"
    told = written(every, 4)
    assert told.remarks == [
        f"wider than a page of 345 points: {PLAN.pairs[0]}; choose fewer columns"
    ]
    assert {len(row) for row in rows(told.text)[1:]} == {12}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["acc"], r"--latex-columns: no column 'acc'; did you mean 'acc[15]'\?"),
        (["nonsense"], r"--latex-columns: no column 'nonsense'; choose from acc1, "),
        (["method"], r"--latex-columns: no column 'method'; "),
        (["ece", "ece"], r"--latex-columns: 'ece' occurs twice; remove one"),
    ],
)
def test_an_unknown_column_is_refused(names, message):
    with pytest.raises(InputError, match=message):
        choose_columns(names, PLAN)


@needs_latex
@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        ("acc1", lambda: named(6)),
        ("acc1,vs_student", lambda: named(4)),
        ("acc1,vs_student,ece", tuned),
        ("acc1,n", long),
    ],
)
def test_it_compiles_without_lines_that_are_too_wide(names, arguments, tmp_path):
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}\usepackage{longtable}"
    body = r"\begin{document}\input{paper.tex}\end{document}"
    result = written(names, arguments=arguments())
    assert not any("wider" in remark for remark in result.remarks)
    (tmp_path / "paper.tex").write_text(result.text, encoding="utf-8")
    (tmp_path / "main.tex").write_text(rf"\documentclass{{article}}{packages}{body}")

    overfull = re.findall(r"Overfull \\hbox \((\d+\.\d+)pt too wide\)", compiled(tmp_path))
    assert max(map(float, overfull), default=0) < 6
