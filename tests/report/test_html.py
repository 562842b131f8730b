"""The page of a leaderboard, and the pictures that it holds: from hand-made frames, without a browser."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from benchmark.report import publish
from benchmark.report.columns import BOARD, CLOCKED, COUNTED_PAGE, OVER_PAIRS, WORDS, boards
from benchmark.report.figures import curves as figures_curves
from benchmark.report.figures import heatmap, pareto, ranks
from benchmark.report.figures.accuracies import figure
from benchmark.report.html import SORTED_BY, to_html
from benchmark.study.plan import Plan
from tests.support.tabled import PLAN, entry, runs, several, tables, tuned

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """What a test asks of a page: its tags, its cells, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells, self.text = [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append([dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open:
            self.cells[-1][1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def histories(pairs=PLAN.pairs, methods=("student", "kd", "at"), epochs=4):
    return pd.DataFrame(
        [(pair, method, seed, step, 50.0 + 5 * step + seed)
         for pair in pairs for method in methods for seed in (0, 1) for step in range(1, epochs + 1)],
        columns=["pair", "method", "seed", "step", "value"],
    )  # fmt: skip


def test_the_page_declares_utf_8_and_asks_nothing_of_any_server(tmp_path):
    publish.write(*tables(), tmp_path, histories=histories())
    text = (tmp_path / "leaderboard.html").read_bytes().decode("utf-8")
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


def test_every_table_scrolls_in_a_box_of_its_own():
    text = to_html(*tables())
    assert text.count("<table>") == text.count('<div class="box" tabindex="0"><table>') == 3


def test_a_cell_shows_a_rounded_number_and_sorts_by_the_exact_one():
    board, costs, plan = tables()
    page = Page(to_html(board, costs, plan))
    best = next(cell for cell in page.cells if "best" in cell[0].get("class", ""))
    at = board[board["method"] == "at"].iloc[0]
    assert best[1] == "71.00 ± 0.60"
    assert float(best[0]["data-v"]) == at["acc1"]
    parameters = [cell for cell in page.cells if cell[1] == "278k"]
    assert {cell[0]["data-v"] for cell in parameters} == {"278324.0"}
    assert {cell[0]["data-v"] for cell in page.cells if cell[1] == "-"} == {""}


def with_p():
    """Eight seeds, more than are needed for a p value, that differ by less than what is shown."""
    board, costs, plan = tuned()
    board["n"] = board["planned"] = 8
    board["p_student"] = [0.02 + 1e-6 * place for place in range(len(board))]
    board["p_kd"] = [0.0001 * place for place in range(len(board))]
    board["vs_kd"] = board["vs_kd_low"] = board["vs_kd_high"] = board["p_student"]
    return board, costs, plan


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("p student", "p_student"),
        ("p kd", "p_kd"),
        ("vs kd", "vs_kd"),
        ("vs untuned", "vs_untuned"),
        ("rank", "rank"),
    ],
)
def test_a_column_sorts_by_the_exact_number_where_its_texts_are_equal_or_none(title, name):
    board, costs, plan = with_p()
    (shown,) = boards(board, plan)
    width, place = len(shown.titles), shown.titles.index(title)
    column = [
        cell["data-v"]
        for cell, _ in Page(to_html(board, costs, plan)).cells[: width * len(board)][place::width]
    ]
    assert column == ["" if pd.isna(value) else repr(float(value)) for value in board[name]]
    assert len(set(column)) > 2


def test_every_column_of_numbers_has_an_exact_number_to_sort_by():
    titles = {column.title for column in (*BOARD, *COUNTED_PAGE, *CLOCKED, *OVER_PAIRS)}
    assert titles - set(WORDS) == set(SORTED_BY)


def test_every_header_is_a_button_and_every_row_has_a_cell_for_each():
    text = to_html(*tables())
    for table in text.split("<table>")[1:]:
        body = table.split("</table>")[0]
        width = body.count("<th ")
        assert body.count("<button") == width
        assert {row.count("<td") for row in body.split("<tbody>")[1].split("</tr>")[:-1]} == {width}


def test_the_page_shows_the_mean_ranks_of_several_pairs_and_none_of_one():
    assert "Mean rank over pairs" not in Page(to_html(*tables())).text
    board, costs, plan = several(2)
    page = Page(to_html(board, costs, plan))
    assert "Mean rank over pairs" in page.text
    exact = board[board["method"] == "kd"].iloc[0]["mean_rank"]
    shown = [
        float(cell["data-v"]) for cell, text in page.cells if text.startswith(f"{exact:.2f} [")
    ]
    assert exact in shown


@pytest.mark.parametrize(("name", "letters"), [("kd", 9), ("a" * 20, 22), ("b" * 50, 24)])
def test_a_name_stands_in_one_line_unless_it_would_hide_the_numbers(name, letters):
    """The longest name of the table, here at least `teacher`, and two letters for the padding."""
    plan = Plan("small", "", PLAN.pairs, (name,), (0,), "last", None)
    heads = Page(
        to_html(*tables(pd.DataFrame([entry(plan.pairs[0], name, 0, 70.0, 1.0)]), plan))
    ).all("th")
    assert heads[0]["style"] == f"min-width:{letters}ch"


def test_no_header_breaks_at_a_hyphen():
    text = to_html(*tables())
    assert "Top\u20115" in Page(text).text
    assert "Top-5" not in Page(text).text


def test_the_page_says_what_bold_and_shading_mean_and_that_clocks_depend_on_the_machine():
    text = Page(to_html(*tables())).text
    assert "Bold: the highest mean among ranked rows" in text
    assert "Medians over seeds. They depend on the machine and its load." in text


def test_text_of_others_cannot_break_out_of_the_page():
    evil = "<script>alert(1)</script>\"'&"
    plan = Plan("a<b>", evil, ("x&y",), ("kd<i>",), (0,), "last", None, {"x&y/kd<i>": evil})
    text = to_html(*tables(pd.DataFrame(), plan), provenance=[evil])
    page = Page(text)
    assert len(page.all("script")) == 1
    assert page.all("i") == page.all("b") == []
    assert "kd&lt;i&gt;" in text
    assert page.text.count(evil) == 3


def test_the_page_holds_headline_notes_footnotes_and_provenance():
    text = Page(to_html(*tables(), provenance=["9 students: torch 2"])).text
    assert "at has the highest mean" in text
    assert "dkd: 1 of 3 cells failed: loss | nan [step 3]" in text
    assert "Selection rule:" in text
    assert "9 students: torch 2" in text


def test_equal_results_and_costs_give_equal_files_and_the_clock_is_in_those_that_are_named(
    tmp_path,
):
    publish.write(*tables(), tmp_path / "a", histories=histories())
    publish.write(
        *tables(runs().sample(frac=1, random_state=0)), tmp_path / "b", histories=histories()
    )
    publish.write(*tables(runs(seconds=7.0)), tmp_path / "c", histories=histories())
    first, second, third = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("a", "b", "c")
    )
    assert first == second
    assert {name for name in first if first[name] != third[name]} <= set(publish.CLOCKED)
    assert set(publish.CLOCKED) <= set(first)


def test_the_markdown_page_links_what_was_written_and_old_pictures_go(tmp_path):
    publish.write(*tables(), tmp_path, histories=histories())
    page = (tmp_path / "leaderboard.md").read_text()
    assert (
        "(leaderboard.html), [LaTeX](leaderboard.tex), [learning curves](curves.png), [accuracy over"
        in page
    )
    publish.write(*tables(), tmp_path)
    assert "curves" not in (tmp_path / "leaderboard.md").read_text()
    assert not (tmp_path / "curves.svg").exists()


def test_a_study_that_has_not_begun_has_a_page_and_no_further_pictures(tmp_path):
    written = publish.write(*tables(pd.DataFrame()), tmp_path)
    assert len(written) == 7
    assert (
        "None was measured."
        in Page((tmp_path / "leaderboard.html").read_text(encoding="utf-8")).text
    )


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([(1, 5), (2, 6), (3, 5), (2, 7)], [0, 3]),
        ([(1, 5), (1, 5), (2, 5)], [0, 1]),
        ([(1, 0.1 + 0.2), (1, 0.3), (1, 0.2)], [0, 1]),
        ([(2, 9), (1, 9)], [1]),
        ([], []),
    ],
)
def test_the_joined_rows_are_those_that_none_equals_at_less_cost_or_beats_at_the_same(points, kept):
    assert pareto.undominated(points) == kept


def test_rows_with_the_same_network_share_a_latency():
    board, costs, _ = tables()
    costs.loc[costs["method"] == "kd", "latency_ms"] = 4.0
    priced = pareto._priced(board, costs).set_index("method")["latency_ms"]
    assert priced["kd"] == priced["student"] == 2.0


def test_the_picture_of_costs_names_its_points_and_has_a_panel_per_cost_and_pair():
    board, costs, plan = several(2)
    drawn = pareto.draw(board, costs, plan)
    assert [panel.get_xlabel() for panel in drawn.axes] == [*pareto.AXES.values()] * 2
    for panel in drawn.axes:
        assert {"at", "teacher", "student"} <= {text.get_text() for text in panel.texts}
    board["params"] = board["compute_tmac"] = costs["latency_ms"] = math.nan
    assert pareto.draw(board, costs, plan) is None


def test_a_panel_of_a_cost_that_a_pair_lacks_says_so_and_the_others_are_drawn(tmp_path):
    board, costs, plan = several(2)
    lone = board[(board["pair"] == "pair0") | (board["method"] == "teacher")].copy()
    lone.loc[lone["pair"] == "pair1", "compute_tmac"] = math.nan
    texts = [
        [text.get_text() for text in panel.texts] for panel in pareto.draw(lone, costs, plan).axes
    ]
    assert texts[5] == ["not measured"]
    assert all("teacher" in of_panel for of_panel in texts[:5])


def test_names_stay_beside_their_points_where_lines_lead_to_some():
    drawn = pareto.draw(*tuned())
    drawn.draw_without_rendering()
    panel = drawn.axes[0]
    assert any(line.get_linewidth() == 0.5 for line in panel.lines)
    ((x, _),) = panel.transData.transform([(2.0, 70.0)])
    assert all(
        abs(text.get_window_extent().x0 - x) < 20 * drawn.dpi / 72
        for text in panel.texts
        if text.get_text()
    )


def marks(panel):
    return {
        (to_hex(line.get_color()), line.get_marker(), to_hex(line.get_markerfacecolor()))
        for line in panel.lines
        if line.get_marker() not in ("None", "")
    }


def test_rows_that_are_equal_in_accuracy_and_cost_are_filled_alike():
    plan = Plan("small", "", ("p",), ("student", "kd", "at"), (0, 1, 2), "last", "student")
    accuracies = {"student": 60.0, "kd": 70.0, "at": 70.0}
    lines = [
        entry("p", method, seed, acc1, 1.0)
        for method, acc1 in accuracies.items()
        for seed in plan.seeds
    ]
    panel = pareto.draw(*tables(pd.DataFrame(lines), plan)).axes[1]
    assert marks(panel) == {("#0072b2", "o", "#0072b2"), ("#009e73", "D", "#ffffff")}


def of_tuned():
    """Two pairs; every row has a tuned one, which is better."""
    rows, of_search = ("student", "kd"), ("student (tuned)", "kd (tuned)")
    trials = dict.fromkeys(of_search, 5)
    plan = Plan(
        "small", "", ("p", "q"), rows + of_search, (0, 1, 2), "last", "student", trials=trials
    )
    means = dict(zip(plan.methods, (60.0, 70.0, 61.0, 72.0), strict=True))
    lines = [
        entry(pair, method, seed, acc1, 1.0)
        for pair in plan.pairs for method, acc1 in means.items() for seed in plan.seeds
    ]  # fmt: skip
    return tables(pd.DataFrame(lines), plan)


def test_the_heat_map_has_no_row_of_a_reference_and_says_what_tuned_rows_are_compared_with(
    tmp_path,
):
    board, costs, plan = of_tuned()
    panel, bar = heatmap.heatmap(board, plan).axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["kd (tuned)", "kd"]
    assert [text.get_text() for text in panel.texts] == ["+11.00"] * 2 + ["+10.00"] * 2
    told = "oints against the student alone, tuned rows the tuned one"
    assert bar.get_ylabel().replace("\n", " ") == f"p{told}"
    publish.write(board, costs, plan, tmp_path)
    assert f'alt="P{told}, methods by pairs"' in (tmp_path / "leaderboard.html").read_text(
        encoding="utf-8"
    )
    board, _, plan = several(2)
    assert (
        heatmap.heatmap(board, plan).axes[1].get_ylabel().replace("\n", " ")
        == "points against the student alone"
    )


def test_the_tuned_student_alone_has_the_colour_of_the_student_alone_in_every_picture():
    board, costs, plan = of_tuned()
    of_costs = pareto.draw(board, costs, plan).axes[0]
    assert {mark for colour, mark, _ in marks(of_costs) if colour == "#009e73"} == {"D"}
    assert len([line for line in of_costs.lines if line.get_marker() == "D"]) == 2
    for panel, mark in ((of_costs, "D"), (figure(board, plan).axes[0], "o")):
        assert [
            to_hex(line.get_color()) for line in panel.lines if line.get_marker() == mark
        ].count("#009e73") == 2
    curves = figures_curves.curves(histories(plan.pairs, plan.methods), board, plan).axes[0].lines
    colours = {line.get_label().split(" (n")[0]: to_hex(line.get_color()) for line in curves}
    assert colours["student (tuned)"] == colours["student alone"] == "#009e73"
    assert "#009e73" not in (colours["kd"], colours["kd (tuned)"])


def test_the_heat_map_shows_differences_to_the_student_alone_for_two_pairs_or_more():
    board, _, plan = tables()
    assert heatmap.heatmap(board, plan) is None
    board, _, plan = several(2)
    panel = heatmap.heatmap(board, plan).axes[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["at", "dkd", "kd", "crd"]
    assert [text.get_text() for text in panel.texts] == ["+1.80"] * 2 + ["+1.40"] * 2 + [
        "+1.10"
    ] * 2 + ["-"] * 2
    (image,) = panel.images
    assert image.norm.vmin == -image.norm.vmax


def test_learning_curves_have_a_band_over_seeds_and_need_more_than_one_epoch():
    board, _, plan = tables()
    (panel,) = figures_curves.curves(histories(), board, plan).axes
    assert len(panel.lines) == len(panel.collections) == 3
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    named = ["at (n = 2, last 70.5)", "kd (n = 2, last 70.5)", "student alone (n = 2, last 70.5)"]
    assert labels == [*named, "1 other is not drawn"]
    assert figures_curves.curves(histories(epochs=1), board, plan) is None
    assert figures_curves.curves(histories().iloc[:0], board, plan) is None


def test_a_pair_without_an_accuracy_has_no_panel_of_curves():
    board, _, plan = several(2)
    board.loc[board["pair"] == "pair0", "n"] = 0
    (panel,) = figures_curves.curves(histories(plan.pairs), board, plan).axes
    assert panel.get_title(loc="left") == "pair1"
    board["n"] = 0
    assert figures_curves.curves(histories(plan.pairs), board, plan) is None


def test_of_many_rows_only_those_with_a_name_need_values_and_the_legend_counts_the_others():
    methods = ("student", *(f"m{number}" for number in range(53)))
    plan = Plan("large", "", ("p",), methods, tuple(range(5)), "last", "student")
    lines = [
        entry("p", name, seed, 60.0 + place / 10, 1.0)
        for place, name in enumerate(methods)
        for seed in plan.seeds
    ]
    board, _, _ = tables(pd.DataFrame(lines), plan)
    named = figures_curves.named(board, plan)
    assert named == {"p": ["m52", "m51", "m50", "m49", "m48", "student"]}
    (panel,) = figures_curves.curves(histories(plan.pairs, named["p"]), board, plan).axes
    assert len(panel.lines) == 6
    assert panel.get_legend().get_texts()[-1].get_text() == "48 others are not drawn"
    (panel,) = figures_curves.curves(histories(plan.pairs, methods), board, plan).axes
    assert len(panel.lines) == 54
    assert panel.get_legend().get_texts()[0].get_text() == "48 others"


def test_a_curve_is_told_by_its_mark_too_and_the_legend_covers_none():
    board, _, plan = tables()
    drawn = figures_curves.curves(histories(), board, plan)
    drawn.draw_without_rendering()
    (panel,) = drawn.axes
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in panel.lines]
    assert len({mark for _, mark, _ in looks}) == len({colour for colour, _, _ in looks}) == 3
    assert panel.get_legend().get_window_extent().y1 < panel.bbox.y0


def test_a_method_keeps_its_colour_on_every_pair():
    board, _, plan = several(2)
    board.loc[(board["pair"] == "pair1") & (board["method"] == "kd"), "acc1"] = 99.0
    first, second = figures_curves.curves(
        histories(plan.pairs), board.sort_values("acc1", ascending=False), plan
    ).axes
    colours = [
        {line.get_label().split()[0]: line.get_color() for line in panel.lines}
        for panel in (first, second)
    ]
    assert list(colours[0]) != list(colours[1])
    assert colours[0] == colours[1]


def test_the_numbers_of_the_heat_map_are_white_on_dark_fields_alone():
    assert not heatmap._dark((1, 1, 1, 1))
    assert not heatmap._dark((0.9, 0.6, 0.2, 1))
    assert heatmap._dark((0.2, 0.0, 0.3, 1))


def of_ranks(count=6, turned=0):
    """Six methods a to f, in this order on every pair but the first `turned`, where it is turned around."""
    pairs, methods = tuple(f"pair{number}" for number in range(count)), tuple("abcdef")
    plan = Plan("six", "", pairs, methods, PLAN.seeds, "last", "f")
    lines = [
        entry(pair, method, seed, 70.0 + (place if number < turned else -place), 1.0)
        for number, pair in enumerate(pairs) for place, method in enumerate(methods) for seed in plan.seeds
    ]  # fmt: skip
    return tables(pd.DataFrame(lines), plan)


@pytest.mark.parametrize(
    ("means", "runs"),
    [
        ([1.0, 2.0, 3.0, 4.0], [(0, 2), (1, 3)]),
        ([1.0, 1.5, 4.0, 6.0], [(0, 1), (2, 3)]),
        ([1.0, 3.5, 6.0], []),
        ([2.0, 2.0, 2.0], [(0, 2)]),
        ([1.0, 3.0, 3.5], [(0, 1), (1, 2)]),
    ],
)
def test_bars_join_the_longest_runs_of_mean_ranks_no_more_than_the_difference_apart(means, runs):
    assert ranks.joined(means, 2.0) == runs


def bars(panel):
    return [
        tuple(round(float(x), 2) for x in line.get_xdata())
        for line in panel.lines
        if line.get_linewidth() > 3
    ]


def test_the_diagram_of_ranks_has_a_labelled_tick_per_method_and_bars_of_nemenyis_difference():
    board, _, plan = of_ranks()
    (panel,) = ranks.ranks(board, plan).axes
    texts = [text.get_text() for text in panel.texts]
    assert [text for text in texts if text.endswith(".00)")] == [
        f"{name} ({rank}.00)" for rank, name in enumerate("abcdef", 1)
    ]
    # Demsar's q for six methods is 2.850: 2.850 sqrt(6 * 7 / (6 * 6)) = 3.08, so ranks up to 3 apart are joined.
    assert "critical difference 3.08" in texts
    assert bars(panel) == [(0.94, 4.06), (1.94, 5.06), (2.94, 6.06)]
    assert "mean rank over 6 pairs (left is better)" in texts


def test_one_bar_joins_all_where_friedmans_test_finds_no_difference():
    board, _, plan = of_ranks(turned=3)
    (panel,) = ranks.ranks(board, plan).axes
    assert bars(panel) == [(3.44, 3.56)]
    assert any("finds no difference: p = 1.000" in text.get_text() for text in panel.texts)


def test_the_diagram_of_ranks_needs_five_pairs_and_three_ranked_methods_and_goes_where_it_does_not_apply(
    tmp_path,
):
    assert ranks.ranks(*of_ranks(4)[::2]) is None
    board, costs, plan = of_ranks(5)
    publish.write(board, costs, plan, tmp_path)
    assert "[mean ranks](ranks.png)" in (tmp_path / "leaderboard.md").read_text()
    assert f'alt="{publish.TITLES["ranks"]}"' in (tmp_path / "leaderboard.html").read_text(
        encoding="utf-8"
    )
    assert (tmp_path / "ranks.svg").exists()
    board.loc[~board["method"].isin(["a", "b"]), "mean_rank"] = math.nan
    assert ranks.ranks(board, plan) is None
    publish.write(board, costs, plan, tmp_path)
    assert list(tmp_path.glob("ranks.*")) == []
    assert "ranks.png" not in (tmp_path / "leaderboard.md").read_text()


def test_pages_show_the_diagnostic_beside_the_counted_costs_where_it_is_known(tmp_path):
    publish.write(*tables(runs().assign(**{"val/best_minus_last": 0.25})), tmp_path)
    for name in ("leaderboard.md", "leaderboard.html"):
        assert "val best - last" in (tmp_path / name).read_text(encoding="utf-8")
        assert "0.25" in (tmp_path / name).read_text(encoding="utf-8")
    publish.write(*tables(), tmp_path)
    assert "best - last" not in (tmp_path / "leaderboard.md").read_text()
