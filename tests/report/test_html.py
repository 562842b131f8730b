"""The HTML page of a leaderboard: from hand-made tables, without a browser."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmark.report.columns import COMPUTED, DIAGNOSTICS, MEASURED, OVER_PAIRS, PAGE, PAIR
from benchmark.report.html import to_html
from benchmark.report.tables import pair_tables
from benchmark.study.plan import Plan
from tests.support.htmlpage import Page
from tests.support.tabled import PLAN, entry, several, tables, tuned


@pytest.fixture(scope="module")
def small_text():
    return to_html(*tables(), provenance=["9 students: torch 2"])


@pytest.fixture(scope="module")
def small(small_text):
    """The page of the small study."""
    return Page(small_text)


def test_the_page_declares_utf_8_and_loads_nothing_from_any_server(small_results):
    text = (small_results / "leaderboard.html").read_bytes().decode("utf-8")
    page = Page(text)
    assert {"charset": "utf-8"} in page.all("meta")
    assert "default-src 'none'" in text

    images = [image["src"] for image in page.all("img")]
    assert len(images) == 3
    assert all(source.startswith("data:image/svg+xml;base64,") for source in images)
    assert all(image["alt"] for image in page.all("img"))
    assert [script for script in page.all("script") if "src" in script] == []
    assert "http://" not in text
    assert "https://" not in text
    assert page.all("link") == [{"rel": "icon", "href": "data:,"}]


def test_question_answer_figure_and_table_come_first_in_this_order(small_results):
    text = (small_results / "leaderboard.html").read_text(encoding="utf-8")
    parts = ["Which is best?", "at has the highest mean", "<img", "<table>", "Computed costs"]
    positions = [text.index(part) for part in parts]
    assert positions == sorted(positions)


def test_every_table_scrolls_in_a_box_of_its_own(small_text):
    in_box = small_text.count('<div class="box" tabindex="0"><table>')
    assert small_text.count("<table>") == in_box == 3


def test_a_cell_shows_a_rounded_number_and_sorts_by_the_exact_one(small):
    board, _, _ = tables()
    best = next(cell for cell in small.cells if "best" in cell.attributes.get("class", ""))
    at = board[board["method"] == "at"].iloc[0]
    assert best.text == "71.00 ± 0.60"
    assert float(best.attributes["data-v"]) == at["acc1"]
    parameters = [cell for cell in small.cells if cell.text == "278k"]
    assert {cell.attributes["data-v"] for cell in parameters} == {"278324.0"}
    assert {cell.attributes["data-v"] for cell in small.cells if cell.text == "-"} == {""}


def with_p_values():
    """Eight seeds, enough for p values, which differ by less than what is shown."""
    board, costs, plan = tuned()
    board["n"] = board["planned"] = 8
    board["p_student"] = [0.02 + 1e-6 * number for number in range(len(board))]
    board["p_kd"] = [0.0001 * number for number in range(len(board))]
    board["vs_kd"] = board["vs_kd_low"] = board["vs_kd_high"] = board["p_student"]
    return board, costs, plan


@pytest.mark.parametrize("name", ["p_student", "p_kd", "vs_kd", "vs_untuned", "rank"])
def test_a_column_sorts_by_exact_values_even_if_its_texts_are_equal_or_empty(name):
    board, costs, plan = with_p_values()
    (table,) = pair_tables(board, plan)
    names = [column.name for column in table.columns]
    width, index = len(names), names.index(name)

    cells = Page(to_html(board, costs, plan)).cells[: width * len(board)]
    values = [cell.attributes["data-v"] for cell in cells[index::width]]
    assert values == ["" if pd.isna(value) else repr(float(value)) for value in board[name]]
    assert len(set(values)) > 2


@pytest.mark.parametrize("columns", [PAGE, (*COMPUTED, *DIAGNOSTICS), OVER_PAIRS])
def test_every_column_of_the_results_has_a_value_to_sort_by(columns):
    assert {column.name for column in columns} <= set(tables()[0].columns)


def test_every_column_of_measured_costs_has_a_value_to_sort_by():
    assert {column.name for column in (PAIR, *MEASURED)} <= set(tables()[1].columns)


def test_every_header_is_a_button_and_every_row_has_a_cell_for_each(small_text):
    for table in small_text.split("<table>")[1:]:
        body = table.split("</table>")[0]
        width = body.count("<th ")
        assert body.count("<button") == width
        rows = body.split("<tbody>")[1].split("</tr>")[:-1]
        assert {row.count("<td") for row in rows} == {width}


def test_the_page_shows_the_mean_ranks_of_several_pairs_and_none_of_one(small):
    assert "Mean rank over pairs" not in small.text
    board, costs, plan = several(2)
    page = Page(to_html(board, costs, plan))
    assert "Mean rank over pairs" in page.text

    exact = board[board["method"] == "kd"].iloc[0]["mean_rank"]
    shown = [cell for cell in page.cells if cell.text.startswith(f"{exact:.2f} [")]
    assert exact in [float(cell.attributes["data-v"]) for cell in shown]


@pytest.mark.parametrize(("name", "letters"), [("kd", 9), ("a" * 20, 22), ("b" * 50, 24)])
def test_a_name_stands_on_one_line_unless_it_would_hide_the_numbers(name, letters):
    """The longest name of the table, here at least `teacher`, and two letters for the padding."""
    plan = Plan("small", "", PLAN.pairs, (name,), (0,), "last", None)
    runs = pd.DataFrame([entry(plan.pairs[0], name, 0, 70.0, 1.0)])
    heads = Page(to_html(*tables(runs, plan))).all("th")
    assert heads[0]["style"] == f"min-width:{letters}ch"


def test_no_header_breaks_at_a_hyphen(small):
    assert "Top\N{NON-BREAKING HYPHEN}5" in small.text
    assert "Top-5" not in small.text


def test_the_page_says_what_bold_and_shading_mean_and_that_costs_depend_on_the_machine(small):
    assert "Bold: the highest mean among ranked rows" in small.text
    assert "Medians over the seeds. They depend on the machine and its load." in small.text


def test_rows_of_the_references_are_shaded():
    rows = Page(to_html(*tuned())).all("tr")
    assert {row.get("class") for row in rows} == {None, "teacher", "alone"}


def test_text_of_others_cannot_break_out_of_the_page():
    evil = "<script>alert(1)</script>\"'&"
    plan = Plan("a<b>", evil, ("x&y",), ("kd<i>",), (0,), "last", None, {"x&y/kd<i>": evil})
    text = to_html(*tables(pd.DataFrame(), plan), provenance=[evil])
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("i") == page.all("b") == []
    assert "kd&lt;i&gt;" in text
    assert page.text.count(evil) == 3


def test_a_caption_and_the_name_of_a_file_cannot_break_out_of_the_page():
    evil = "<b>\"'&"
    page = Page(to_html(*tables(), {evil: b"<svg></svg>"}, (), {evil: evil}))
    assert page.all("b") == []
    assert page.all("img")[0]["alt"] == evil
    assert "%3Cb%3E%22%27%26" in [link["href"] for link in page.all("a")]


def test_a_wide_figure_scrolls_before_it_becomes_unreadable():
    images = Page(
        to_html(*tables(), {"a": b'<svg width="400pt">', "b": b'<svg width="1200pt">'})
    ).all("img")
    assert "style" not in images[0]
    assert images[1]["style"] == "min-width:1200px"


def test_the_page_holds_headline_notes_footnotes_and_provenance(small):
    assert "at has the highest mean" in small.text
    assert "dkd: 1 of 3 cells failed: loss | nan [step 3]" in small.text
    assert "Selection rule:" in small.text
    assert "9 students: torch 2" in small.text


def test_the_page_links_to_the_documentation(small):
    addresses = [link["href"] for link in small.all("a")]
    assert "../../docs/reading-a-leaderboard.md" in addresses
