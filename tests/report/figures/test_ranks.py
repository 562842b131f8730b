"""The critical-difference diagram of mean ranks."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from benchmark.report.figures import ranks
from benchmark.report.figures.base import Tables
from benchmark.study.plan import Plan
from tests.support.tabled import entry, tables


def six_methods(pairs=6, reversed_pairs=0):
    """Methods a to f, in this order on every pair but the first few, where it is reversed."""
    names, methods = tuple(f"pair{number}" for number in range(pairs)), tuple("abcdef")
    plan = Plan("six", "", names, methods, (0, 1, 2), "last", "f")
    runs = [
        entry(pair, method, seed, 70.0 + (place if number < reversed_pairs else -place), 1.0)
        for number, pair in enumerate(names)
        for place, method in enumerate(methods)
        for seed in plan.seeds
    ]
    return tables(pd.DataFrame(runs), plan)


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
def test_bars_join_the_longest_runs_whose_ends_are_at_most_the_difference_apart(means, runs):
    assert ranks.joined(means, 2.0) == runs


def bars(panel):
    """The ends of the bars."""
    thick = [line for line in panel.lines if line.get_linewidth() > 3]
    return [tuple(round(float(x), 2) for x in line.get_xdata()) for line in thick]


def test_the_diagram_has_a_label_per_method_and_bars_of_nemenyis_difference():
    (panel,) = ranks.draw(Tables(*six_methods())).axes
    texts = [text.get_text() for text in panel.texts]
    labels = [text for text in texts if text.endswith(".00)")]
    assert labels == [f"{name} ({rank}.00)" for rank, name in enumerate("abcdef", 1)]
    # Demsar's q for six methods is 2.850: 2.850 sqrt(6 * 7 / (6 * 6)) = 3.08, so ranks up to 3
    # apart are joined.
    assert "critical difference 3.08" in texts
    assert bars(panel) == [(0.94, 4.06), (1.94, 5.06), (2.94, 6.06)]
    assert "mean rank over 6 pairs (lower is better)" in texts


def test_one_bar_joins_all_methods_if_friedmans_test_finds_no_difference():
    (panel,) = ranks.draw(Tables(*six_methods(reversed_pairs=3))).axes
    assert bars(panel) == [(3.44, 3.56)]
    texts = [text.get_text() for text in panel.texts]
    assert any(
        "Friedman test: p = 1.000.\nOne bar joins all methods, because" in text for text in texts
    )


def test_the_diagram_needs_five_pairs_and_three_ranked_methods():
    assert ranks.draw(Tables(*six_methods(4))) is None

    board, costs, plan = six_methods(5)
    assert ranks.draw(Tables(board, costs, plan)) is not None
    board.loc[~board["method"].isin(["a", "b"]), "mean_rank"] = math.nan
    assert ranks.draw(Tables(board, costs, plan)) is None
