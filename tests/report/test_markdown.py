"""How a leaderboard looks as a page."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from benchmark.report import publish
from benchmark.report.markdown import to_markdown, to_note
from benchmark.report.markdown_text import block, plain
from benchmark.study.plan import Plan
from tests.support.tabled import several, tables


def test_the_page_holds_headline_tables_and_footnotes():
    board, clock, plan = tables()
    page = to_markdown(board, clock, plan, picture="leaderboard.png").splitlines()
    assert page[0] == "# small: leaderboard"
    assert page[2] == "Which is best?"
    assert page[4].startswith("**at has the highest mean: 71.0 ± 0.6 (n = 3), +1.8 [")
    assert page[6].endswith("(leaderboard.png)")
    assert "## r56-r20, cifar100" in page
    kd = "| kd | 3 | 70.30 ± 0.30 | [69.55, 71.05] | +1.10 [0.85, 1.35] | - | 26% | 91.50 | 69.8 | 4.2 | 78.0 |"
    assert f"{kd} 278k | 41.2M | 1234 | 2 |" in page
    assert any(line.startswith("| at | 3 | **71.00 ± 0.60** |") for line in page)
    assert "* dkd: 1 of 3 cells failed: loss \\| nan [step 3]" in page
    assert "| r56-r20 | at | 278k | 1234 | 1.00 |" in page
    assert "| r56-r20 | at | 2.00 | 40.0 | 100 | 25.0 | 2230 |" in page
    assert page[-1].startswith("* Compute is what training this row alone")
    told = to_markdown(board, clock, plan, provenance=["9 students: torch 2"]).splitlines()
    assert told[-3:] == ["## Where it was trained", "", "* 9 students: torch 2"]


def test_every_row_of_a_page_has_as_many_cells_as_its_header():
    board, clock, plan = several(2)
    page = to_markdown(board, clock, plan)
    widths = [
        {line.replace("\\|", "").count("|") for line in block.splitlines()}
        for block in page.split("\n\n")
        if block.startswith("|")
    ]
    assert [len(width) for width in widths] == [1] * 5  # two pairs, ranks over pairs, two costs


def test_text_of_others_cannot_break_the_page():
    plan = Plan(
        "a*b*",
        "",
        ("x_y",),
        ("kd_<b>",),
        (0,),
        "last",
        None,
        {"x_y/kd_<b>": "[link](http://x) | $1$"},
    )
    page = to_markdown(*tables(pd.DataFrame(), plan))
    assert page.startswith("# a\\*b\\*: leaderboard\n")
    assert "## x_y\n" in page
    assert "* kd\\_\\<b>: not applicable: [link\\](http://x) \\| \\$1\\$" in page


def test_the_main_picture_is_called_alike_on_all_pages():
    assert f"![{publish.TITLES['leaderboard']}](x.png)" in to_markdown(*tables(), picture="x.png")


def test_rows_drop_out_of_a_note_until_it_fits_and_are_counted():
    board, _, plan = tables()
    whole = to_note(board, plan, 5000)
    assert "in the report" not in whole
    short = to_note(board, plan, len(whole) - 1)
    assert len(short) < len(whole)
    assert "| crd |" not in short
    assert short.endswith("\n\n1 more row is in the report.\n")


def test_a_note_without_room_for_any_row_says_once_where_the_tables_are():
    board, _, plan = several(60)
    note = to_note(board, plan, 5000)
    assert note.splitlines()[1:] == ["", "The tables are in the report."]
    assert note.startswith("at has the highest mean on 60 of 60 pairs")
    assert len(to_note(board, plan, 50)) == 50


BLOCKS = (
    "# of seeds: does it matter?", "###### x", "#", "1. Which is best?", "12) x", "> x", ">x", "- x", "+ x", "* x",
    "-", "--", "---", "- - -", "***", "___", "===", "```x", "~~~", "<div>", "<!-- x", "[a]: b", "[x](y)", "[x] done",
    "| a | b |", "&lt;b&gt; &#35;", "a\\# b", "`x`", "**x**",
)  # fmt: skip


@pytest.mark.parametrize("text", BLOCKS)
def test_a_text_that_looks_like_a_mark_at_the_start_of_a_paragraph_or_bullet_is_shown_as_it_is(
    text,
):
    board, clock, plan = tables()
    page = to_markdown(board, clock, replace(plan, question=text), provenance=[text, text])
    tokens = MarkdownIt().enable(["table", "strikethrough"]).parse(page)
    shown = [
        (
            before.type,
            "".join(part.content for part in token.children),
            {part.type for part in token.children},
        )
        for before, token in pairwise(tokens)
        if token.type == "inline"
    ]
    kinds = [token.type for token in tokens]
    assert shown[1] == shown[-1] == shown[-2] == ("paragraph_open", text, {"text"})
    assert kinds[3:6] == ["paragraph_open", "inline", "paragraph_close"]
    assert [kind for kind in kinds if "_open" in kind][-5:] == [
        "bullet_list_open", *("list_item_open", "paragraph_open") * 2,
    ]  # fmt: skip
    assert plain(block(text)) == text


@pytest.mark.parametrize(
    "text", ["-1.2 points", "#1 of 3", "1.5 times", "a - b", "a # b", "kd+at: x_y", "AT&T", "[x]"]
)
def test_what_markdown_leaves_alone_stays_readable(text):
    assert block(text) == text
