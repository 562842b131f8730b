"""Plain text as Markdown that shows it unchanged, and Markdown tables."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from benchmark.markdown_text import Markdown, block, bold, bullets, inline, link, table

MARKS_AT_START = (
    "# of seeds: does it matter?", "###### x", "#", "1. Which is best?", "12) x", "> x", ">x",
    "- x", "+ x", "* x", "-", "--", "---", "- - -", "***", "___", "===", "```x", "~~~", "<div>",
    "<!-- x", "[a]: b", "[x](y)", "[x] done", "| a | b |", "&lt;b&gt; &#35;", "a\\# b", "`x`",
    "**x**",
)  # fmt: skip
"""Texts that Markdown reads as something else at the start of a paragraph."""


def parse(text):
    return MarkdownIt().enable(["table", "strikethrough"]).parse(text)


def shown(text):
    """The kinds of the parts of a text, and what they show."""
    parts = [part for token in parse(text) for part in token.children or ()]
    return {part.type for part in parts}, "".join(part.content for part in parts)


@pytest.mark.parametrize("text", MARKS_AT_START)
def test_a_paragraph_shows_its_text_unchanged(text):
    assert shown(block(text)) == ({"text"}, text)


@pytest.mark.parametrize(
    "text", ["-1.2 points", "#1 of 3", "1.5 times", "a - b", "a # b", "kd+at: x_y", "AT&T", "[x]"]
)
def test_what_markdown_leaves_alone_stays_readable(text):
    assert block(text) == text


def test_line_breaks_become_spaces():
    assert inline("a\n\n  b") == "a b"


def test_bold_text_and_links_show_their_text_unchanged():
    assert bold("a*b") == "**a\\*b**"
    assert link("a*[x](y)", "file.md") == "[a\\*[x\\](y)](file.md)"


def test_bullets_show_their_texts_unchanged():
    kinds = [token.type for token in parse(bullets(MARKS_AT_START))]
    assert kinds.count("list_item_open") == kinds.count("inline") == len(MARKS_AT_START)
    assert kinds.count("bullet_list_open") == 1


def test_a_table_escapes_plain_text_and_nothing_else():
    text = table(["a", "b|c"], [["x*y", bold("z")], ["|", Markdown("`q`")]], [False, True])
    assert text.splitlines() == [
        "| a | b\\|c |",
        "| --- | ---: |",
        "| x\\*y | **z** |",
        "| \\| | `q` |",
    ]


def test_columns_stand_on_the_left_by_default():
    assert table(["a", "b"], []).splitlines()[1] == "| --- | --- |"
