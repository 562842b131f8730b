"""The results as LaTeX: from hand-made tables; compiled where LaTeX is installed."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess

import pandas as pd
import pytest

from benchmark.leaderboard.table import leaderboard
from benchmark.report.latex import omitted_columns, to_latex
from benchmark.report.latex_parts import LONGEST, escaped
from benchmark.report.tables import OMITTED
from benchmark.study.plan import Plan
from tests.support.tabled import PLAN, runs, several, tables, tuned

pytestmark = pytest.mark.broad

ODD = r"a_b%c&d#e$f{g}h~i^j\k<l>m|n" + '"[o]*'

needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


def latex(arguments=None):
    board, _, plan = arguments or tables()
    return to_latex(board, plan)


def rows(text):
    return [line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if " & " in line]


def odd():
    """Names with all characters that LaTeX treats specially."""
    methods = ("[kd]_%#", "*at*")
    plan = Plan(ODD, "", ("x_y&z",), methods, (0,), "last", None, {"x_y&z/*at*": ODD})
    return tables(pd.DataFrame(), plan)


def long():
    """More rows than fit a page."""
    names = tuple(f"method_{number}" for number in range(LONGEST + 5))
    return tables(pd.DataFrame(), Plan("long", "", ("p",), names, (0,), "last", None))


def with_p_values():
    board, costs, plan = tables()
    board["p_student"] = [{"kd": 0.01, "dkd": 0.055}.get(method, 0.5) for method in board["method"]]
    board["p_kd"] = [0.001 if method == "at" else float("nan") for method in board["method"]]
    return board, costs, plan


def spread():
    """Accuracies that fall by 40 from seed to seed in some rows, so that intervals are wide."""
    table = runs()
    table.loc[table["method"].isin(["at", "dkd"]), "test/acc1"] -= 40.0 * table["seed"]
    return tables(table)


def test_there_is_a_booktabs_table_for_each_pair():
    text = latex(several(3))
    for command in (r"\begin{tabular}", r"\toprule", r"\bottomrule"):
        assert text.count(command) == 3
    assert text.startswith(r"% Needs \usepackage[T1]{fontenc} \usepackage{booktabs}" + "\n")
    assert len(set(re.findall(r"\\label\{([^}]*)\}", text))) == 3


def test_a_rule_stands_below_the_teacher():
    lines = latex().splitlines()
    teacher = next(index for index, line in enumerate(lines) if line.startswith("teacher &"))
    assert lines[teacher - 1] == lines[teacher + 1] == r"\midrule"


def test_the_best_mean_alone_is_bold():
    assert re.findall(r"\\textbf\{([^}]*)\}", latex()) == [r"71.00 $\pm$ 0.60"]


def test_negative_numbers_have_a_minus_sign_and_names_keep_their_hyphens():
    table = runs()
    table.loc[table["method"] == "kd", "test/acc1"] -= 5
    (kd,) = [row for row in rows(latex(tables(table))) if row[0] == "kd"]
    assert any(cell.startswith("$-$3.90 {[}$-$4.15, $-$3.65{]}") for cell in kd)
    assert "r56-r20" in latex()


def test_there_is_a_column_of_daggers_only_if_a_row_is_significant():
    assert "dagger" not in latex()
    board, _, plan = tables()
    board["p_student"] = float("nan")
    assert "dagger" not in to_latex(board, plan)

    marked = {row[0]: row[-1] for row in rows(latex(with_p_values()))}
    assert marked["kd"] == r"$\dagger$"
    assert marked["at"] == r"$\ddagger$"
    assert marked["dkd"] == marked["student"] == ""


@pytest.mark.parametrize(
    "arguments", [tables, lambda: several(2), odd, long, tuned, with_p_values, spread]
)
def test_environments_and_braces_are_balanced_and_rows_have_equal_widths(arguments):
    text = latex(arguments())

    depth = 0
    without_comments = re.sub(r"%.*", "", text.replace(r"\%", ""))
    for mark in re.findall(r"\\.|[{}]", without_comments, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        assert depth >= 0
    assert depth == 0

    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []

    for table in re.split(r"\\toprule", text)[1:]:
        assert len({len(row) for row in rows(table.replace(r"\&", ""))}) == 1


def test_what_latex_would_read_as_a_command_is_escaped():
    assert escaped("50 % of a_b & c#1 $x$") == r"50 \% of a\_b \& c\#1 \$x\$"
    assert escaped("a\\b\n {c}~^") == r"a\textbackslash{}b \{c\}\textasciitilde{}\textasciicircum{}"
    assert escaped("70 ± 1, é, 雪") == r"70 $\pm$ 1, é, ?"


def test_letters_that_the_fonts_of_pdflatex_lack_become_question_marks():
    assert escaped("caf\u00e9 \u0127 \x1b[31m\u0085 \u0416") == "caf\u00e9 ? ?{[}31m ?"


def test_a_table_longer_than_a_page_may_break():
    text = latex(long())
    assert r"\begin{longtable}" in text
    assert r"\usepackage{longtable}" in text.splitlines()[0]
    assert "longtable" not in latex()


def compiled(folder):
    """The log of `main.tex`, compiled twice so that references are resolved."""
    options = ["-draftmode", "-interaction=nonstopmode", "-halt-on-error"]
    for _ in range(2):
        process = subprocess.run(
            ["pdflatex", *options, "main.tex"],
            cwd=folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
    log = process.stdout.decode(errors="replace")
    assert process.returncode == 0, log
    return log


@needs_latex
@pytest.mark.parametrize("arguments", [lambda: several(2), odd, long, tuned, with_p_values, spread])
def test_it_compiles_without_lines_that_are_too_wide(arguments, tmp_path):
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}\usepackage{longtable}"
    body = r"\begin{document}\input{board.tex}\end{document}"
    (tmp_path / "board.tex").write_text(latex(arguments()), encoding="utf-8")
    (tmp_path / "main.tex").write_text(rf"\documentclass{{article}}{packages}{body}")

    overfull = re.findall(r"Overfull \\hbox \((\d+\.\d+)pt too wide\)", compiled(tmp_path))
    assert max(map(float, overfull), default=0) < 6


@needs_latex
def test_every_character_that_is_not_a_question_mark_compiles(tmp_path):
    characters = (*range(0x250), 0x2013, 0x2192, 0x2212, 0x96EA)
    text = "\n".join(escaped(chr(number)) for number in characters)
    head = r"\documentclass{article}\usepackage[T1]{fontenc}"
    document = f"{head}\\begin{{document}}\n{text}\n\\end{{document}}"
    (tmp_path / "main.tex").write_text(document, encoding="utf-8")

    compiled(tmp_path)
    # Control characters, some rare letters, and the question mark itself.
    assert text.count("?") < 0x250 - 0x180 + 80


def test_the_caption_says_what_tuned_rows_are_compared_with():
    assert "tuned rows are compared with tuned rows" in latex(tuned())
    assert "tuned" not in latex()


def test_the_caption_names_study_and_pair():
    assert f"small, {PLAN.pairs[0]}, cifar100: top-1 accuracy" in latex()


def test_columns_are_omitted_while_a_table_is_too_wide_and_a_comment_names_them():
    (head, *_) = rows(latex())
    assert head == ["Method", "n", r"Top-1 (\%)", "vs student", "vs kd", "Gap", "TMAC", "Rank"]
    assert OMITTED not in latex()

    text = latex(spread())
    head, *lines = rows(text)
    assert head == ["Method", "n", r"Top-1 (\%)", "vs student", "vs kd", "TMAC", "Rank"]
    assert {len(line) for line in lines} == {7}
    assert f"\n% {OMITTED}: Gap closed\n" in text

    text = latex(tuned())
    assert "TMAC" not in rows(text)[0]
    assert f"\n% {OMITTED}: Gap closed; Training compute (TMAC)" in text
    assert "training compute" in latex()
    assert "training compute" not in text


def test_the_notes_of_rows_stand_below_the_table():
    below = latex().split(r"\end{tabular}")[1]
    assert "dkd: 1 of 3 cells failed: loss \\textbar{} nan {[}step 3{]}" in below
    assert "crd: not applicable: needs sample indices" in below
    below = latex(long()).split(r"\end{longtable}")[1]
    assert r"method\_0, method\_1," in below


def test_runs_of_another_environment_are_noted_below_the_table():
    table = runs()
    table["fingerprint"] = "device cpu"
    table.loc[(table["method"] == "kd") & (table["seed"] == 0), "fingerprint"] = "device cuda"
    text = to_latex(leaderboard(table, PLAN, mix_environments=True), PLAN)
    below = text.split(r"\end{tabular}")[1]
    assert "kd: 1 of 3 runs was trained in another environment (device cuda)" in below


def test_the_caption_says_how_daggers_were_tested_and_which_seeds_are_too_few():
    assert "No difference can be significant with fewer than 6 seeds." in latex()

    board, _, plan = with_p_values()
    board["n"] = 6
    text = to_latex(board, plan)
    assert "No difference" not in text
    test = "(sign-flip test of paired differences, Holm's correction)"
    assert rf"$\ddagger$ $p < 0.05$ against kd {test}." in text


def test_omitted_columns_are_known_by_table():
    board, _, plan = spread()
    assert omitted_columns(board, plan) == {f"{PLAN.pairs[0]}, cifar100": ["Gap closed"]}
    assert omitted_columns(*tables()[::2]) == {}


def test_the_reference_is_called_by_the_name_of_its_row():
    board, _, plan = with_p_values()
    renamed = dataclasses.replace(
        plan,
        methods=tuple("plain_kd" if name == "kd" else name for name in plan.methods),
        reference="plain_kd",
    )
    board["method"] = board["method"].replace("kd", "plain_kd")
    assert r"against plain\_kd" in to_latex(board, renamed)
    assert "against kd" in to_latex(*with_p_values()[::2])
