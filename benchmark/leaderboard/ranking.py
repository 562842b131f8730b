"""Ranks the rows of a pair, and the methods over all pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from benchmark.leaderboard.rows import PairRows, Row
from benchmark.leaderboard.statistics import (
    FRIEDMAN_METHODS,
    FRIEDMAN_PAIRS,
    RANK_PAIRS,
    mean,
    mean_ranks,
)
from benchmark.study.plan import Plan

MIN_SEEDS = 3
"""Minimum number of finished seeds; a row with fewer has no rank."""


def why_unranked(row: Row, plan: Plan) -> list[str]:
    """Return the reasons why a row has no rank; empty if it has one."""
    if row.inapplicable is not None:
        return [f"not applicable: {row.inapplicable}"]

    reasons = []
    if row.failed:
        reasons.append(f"{len(row.failed)} of {row.planned} cells failed: {_failures(row)}")
    if row.unmeasured:
        reasons.append(f"{row.unmeasured} of {row.planned} cells finished without an accuracy")
    if row.n + len(row.failed) + row.unmeasured < row.planned:
        reasons.append(f"only {row.n} of {row.planned} cells finished with an accuracy")
    if not reasons and row.n < MIN_SEEDS:
        reasons.append(f"n = {row.n}: no rank with fewer than {MIN_SEEDS} seeds")
    if plan.unequal and plan.trials.get(row.method):
        reasons.append(plan.unequal)
    if row.method in plan.overrides:
        reasons.append(f"no rank with a recipe of its own: {plan.overrides[row.method]}")
    return reasons


def ranks_of_pair(rows: PairRows) -> dict[str, int | None]:
    """Return each method's rank among the rows with the same number of trials; None if unranked."""
    budgets = {method: rows.plan.trials.get(method, 0) for method in rows.methods}
    means = {
        method: comparable_mean(row)
        for method, row in rows.methods.items()
        if not why_unranked(row, rows.plan)
    }

    ranks: dict[str, int | None] = dict.fromkeys(rows.methods)
    for method, own in means.items():
        rivals = [means[other] for other in means if budgets[other] == budgets[method]]
        ranks[method] = 1 + sum(rival > own for rival in rivals)
    return ranks


def ranks_over_pairs(pairs: Sequence[PairRows], plan: Plan) -> dict[str, dict[str, float]]:
    """Return `mean_rank` and its limits for every method that has a rank on every pair.

    Methods are ranked among those with the same number of trials; a method that is the only one
    with its number of trials is omitted.
    """
    if len(pairs) < RANK_PAIRS:
        return {}

    ranked = [
        method
        for method in plan.methods
        if not any(why_unranked(rows.methods[method], plan) for rows in pairs)
    ]
    columns: dict[str, dict[str, float]] = {}
    for trials in sorted({plan.trials.get(method, 0) for method in ranked}):
        group = [method for method in ranked if plan.trials.get(method, 0) == trials]
        if len(group) >= 2:
            columns |= _mean_ranks(group, pairs)
    return columns


def friedman_groups(board: pd.DataFrame, plan: Plan) -> dict[int, dict[str, list[float]]]:
    """Return the groups of rows that are large enough for the Friedman test.

    Returns:
        Number of trials -> method -> mean accuracy on every pair.
    """
    groups: dict[int, dict[str, list[float]]] = {}
    if len(plan.pairs) < FRIEDMAN_PAIRS:
        return groups

    for trials, lines in board[board["mean_rank"].notna()].groupby("trials"):
        means = {
            method: lines.loc[lines["method"] == method, "acc1"].tolist()
            for method in sorted(set(lines["method"]))
        }
        if len(means) >= FRIEDMAN_METHODS:
            groups[int(str(trials))] = means
    return groups


def comparable_mean(row: Row) -> float:
    """Return the mean accuracy of a row, rounded so that equal results compare equal."""
    # Means that are equal in exact arithmetic may differ in the last bit.
    return round(mean(list(row.accuracies.values())), 9)


def _failures(row: Row) -> str:
    """Return why a row's cells failed, in the order of seeds, with counts if the reasons differ."""
    counts = Counter(row.failed[seed] for seed in sorted(row.failed))
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{reason} ({count})" for reason, count in counts.items())


def _mean_ranks(group: Sequence[str], pairs: Sequence[PairRows]) -> dict[str, dict[str, float]]:
    accuracies = [
        [list(rows.methods[method].accuracies.values()) for method in group] for rows in pairs
    ]
    columns: dict[str, dict[str, float]] = {}
    for method, (centre, low, high) in zip(group, mean_ranks(accuracies), strict=True):
        columns[method] = {"mean_rank": centre, "mean_rank_low": low, "mean_rank_high": high}
    return columns
