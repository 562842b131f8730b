"""The results in Markdown: the page and the note."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from benchmark.report.figures import all_figures
from benchmark.report.markdown import to_markdown, to_note
from benchmark.study.plan import Plan
from tests.support.tabled import several, tables
from tests.test_markdown_text import MARKS_AT_START

LINKS = {"LaTeX": "leaderboard.tex", "costs": "costs.csv"}


def test_the_page_begins_with_question_answer_figure_and_table():
    page = to_markdown(*tables(), picture="leaderboard.png", links=LINKS).splitlines()
    assert page[0] == "# small: leaderboard"
    assert page[2] == "Which is best?"
    assert page[4].startswith("**at has the highest mean: 71.0 ± 0.6 (n = 3), +1.8 [")
    assert page[6].endswith("(leaderboard.png)")
    assert page[8] == "## r56-r20, cifar100"
    assert page[10].startswith("| Method | n | Top-1 (%) |")


def test_the_tables_hold_every_number():
    page = to_markdown(*tables()).splitlines()
    accuracy = "70.30 ± 0.30 | [69.55, 71.05] | +1.10 [0.85, 1.35] | - | 26%"
    rest = "91.50 | 69.8 | 4.2 | 78.0 | 278k | 41.2M | 1234"
    assert f"| kd | 3 | {accuracy} | {rest} | 2 |" in page
    assert any(line.startswith("| at | 3 | **71.00 ± 0.60** |") for line in page)
    assert "| r56-r20 | at | 278k | 1234 | 1.00 |" in page
    assert "| r56-r20 | at | 2.00 | 40.0 | 100 | 25.0 | 2230 |" in page


def test_notes_footnotes_and_provenance_follow_the_tables():
    text = to_markdown(*tables(), provenance=["9 students: torch 2"])
    page = text.splitlines()
    assert "* dkd: 1 of 3 cells failed: loss \\| nan [step 3]" in page
    assert any(line.startswith("* Selection rule:") for line in page)
    assert page[-3:] == ["## Training environments", "", "* 9 students: torch 2"]
    guide = "docs/reading-a-leaderboard.md"
    assert f"Every column is explained in [{guide}](../../{guide})." in page


def test_the_page_links_to_other_files():
    page = to_markdown(*tables(), links=LINKS)
    assert page.endswith("## Files\n\n[LaTeX](leaderboard.tex), [costs](costs.csv)\n")


def test_the_page_without_costs_points_to_their_file():
    board, _, plan = tables()
    page = to_markdown(board, None, plan)
    assert "[costs.csv](costs.csv)" in page
    assert "Latency" not in page


def test_every_row_of_a_page_has_as_many_cells_as_its_header():
    page = to_markdown(*several(2))
    widths = [
        {line.replace("\\|", "").count("|") for line in block.splitlines()}
        for block in page.split("\n\n")
        if block.startswith("|")
    ]
    assert [len(width) for width in widths] == [1] * 5  # two pairs, ranks over pairs, two costs


def test_text_of_others_cannot_break_the_page():
    reason = "[link](http://x) | $1$"
    plan = Plan("a*b*", "", ("x_y",), ("kd_<b>",), (0,), "last", None, {"x_y/kd_<b>": reason})
    page = to_markdown(*tables(pd.DataFrame(), plan))
    assert page.startswith("# a\\*b\\*: leaderboard\n")
    assert "## x_y\n" in page
    assert "* kd\\_\\<b>: not applicable: [link\\](http://x) \\| \\$1\\$" in page


def test_the_main_figure_has_the_same_caption_on_all_pages():
    board, costs, plan = tables()
    caption = all_figures()[0].caption(plan)
    assert f"![{caption}](x.png)" in to_markdown(board, costs, plan, picture="x.png")


@pytest.mark.parametrize("text", MARKS_AT_START)
def test_text_that_looks_like_a_mark_is_shown_as_it_is_in_a_paragraph_or_bullet(text):
    board, costs, plan = tables()
    page = to_markdown(board, costs, replace(plan, question=text), provenance=[text, text])
    tokens = MarkdownIt().enable(["table", "strikethrough"]).parse(page)

    shown = []
    for before, token in pairwise(tokens):
        if token.type == "inline":
            content = "".join(part.content for part in token.children)
            shown.append((before.type, content, {part.type for part in token.children}))
    assert shown[1] == shown[-1] == shown[-2] == ("paragraph_open", text, {"text"})

    kinds = [token.type for token in tokens]
    assert kinds[3:6] == ["paragraph_open", "inline", "paragraph_close"]
    bullets = ["list_item_open", "paragraph_open"]
    opened = [kind for kind in kinds if kind.endswith("_open")]
    assert opened[-5:] == ["bullet_list_open", *bullets, *bullets]


def test_rows_are_dropped_from_a_note_until_it_fits_and_are_counted():
    board, _, plan = tables()
    whole = to_note(board, plan, 5000)
    assert "in the report" not in whole

    short = to_note(board, plan, len(whole) - 1)
    assert len(short) < len(whole)
    assert "| crd |" not in short
    assert short.endswith("\n\n1 more row is in the report.\n")


def test_a_note_has_narrow_tables_with_space_between_the_columns():
    board, _, plan = tables()
    lines = to_note(board, plan, 5000).splitlines()
    head = ["Method", "n", "Top-1 (%)", "vs student", "F1", "ECE", "Rank"]
    assert "| " + " | &emsp;".join(head) + " |" in lines


def test_a_note_without_room_for_any_row_says_once_where_the_tables_are():
    board, _, plan = several(60)
    note = to_note(board, plan, 5000)
    assert note.splitlines()[1:] == ["", "The tables are in the report."]
    assert note.startswith("at has the highest mean on 60 of 60 pairs")
    assert len(to_note(board, plan, 50)) == 50
