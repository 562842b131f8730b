"""Pages show published accuracies only where a row has one."""

from __future__ import annotations

import io

import pandas as pd
from rich.console import Console

from benchmark.leaderboard.table import costs, leaderboard
from benchmark.report.html import to_html
from benchmark.report.latex import to_latex
from benchmark.report.markdown import to_markdown
from benchmark.report.terminal import to_console
from tests.support.handmade import PLAN, full

NETWORKS = {"dataset": "cifar100", "teacher": "cifar_resnet56", "student": "cifar_resnet20"}


def pages(**tags):
    """The study as Markdown, HTML, in the terminal and as LaTeX."""
    runs = pd.DataFrame([entry | NETWORKS | tags for entry in full()])
    results = leaderboard(runs, PLAN)
    spent = costs(runs, PLAN)

    text = io.StringIO()
    console = Console(file=text, width=200, force_terminal=True)
    to_console(results, spent, PLAN, console)
    return (
        to_markdown(results, spent, PLAN),
        to_html(results, spent, PLAN),
        text.getvalue(),
        to_latex(results, PLAN),
    )


def test_pages_have_the_column_where_a_row_has_a_number():
    markdown, html, terminal, latex = pages()
    assert "| Published |" in markdown
    assert 'data-v="70.66">70.66</td>' in html
    assert "Published" in terminal
    assert "70.66" in terminal
    assert "70.66" not in latex


def test_pages_lack_the_column_where_no_row_has_a_number():
    for text in pages(dataset="digits")[:3]:
        assert "published" not in text.lower()
