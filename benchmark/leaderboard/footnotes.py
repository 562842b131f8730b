"""The notes needed to interpret one table; everything else is in the guide."""

from __future__ import annotations

import pandas as pd

from benchmark.leaderboard.comparisons import STUDENT_ALONE
from benchmark.leaderboard.ranking import MIN_SEEDS, friedman_groups
from benchmark.leaderboard.statistics import (
    EXACT_SEEDS,
    FLIPS,
    SIGN_FLIP_SEEDS,
    SIGNIFICANCE,
    critical_difference,
    friedman,
    smallest_p,
)
from benchmark.study.plan import TEACHER, Plan
from benchmark.wording import counted

GUIDE = "docs/reading-a-leaderboard.md"
"""Path of the guide to all columns and numbers of a leaderboard, relative to the repository."""

_P_VALUES = ["p_student", "p_kd"]


def footnotes(board: pd.DataFrame, plan: Plan) -> list[str]:
    """Return up to seven notes that affect how a table should be read.

    They cover the protocol, metrics of plug-ins, spread and ranks, comparisons and tests, tuned
    rows and rows with a recipe of their own, mean ranks over pairs, and published accuracies.
    `GUIDE` explains the rest.
    """
    notes = [
        _protocol(plan),
        _own_measures(plan),
        _spread_and_ranks(),
        _comparisons(board, plan),
        [*_tuned_rows(plan), *_own_recipes(plan)],
        _mean_ranks(board, plan),
        _published(board),
    ]
    return [" ".join(sentences) for sentences in notes if sentences]


def _protocol(plan: Plan) -> list[str]:
    if plan.select == "last":
        sentences = ["Selection rule: every network was tested after its last epoch."]
    else:
        sentences = [
            "Selection rule: every network was tested at its epoch with the best validation "
            "accuracy."
        ]
    if plan.protocol == "legacy":
        sentences.append(
            "Legacy protocol: networks were trained on all training images, with none held out "
            "for validation, as in most published tables."
        )
    if plan.fixed_views is not None:
        sentences.append(_fixed_views(plan.fixed_views, plan))
    if plan.test_images is not None:
        used, total = plan.test_images
        sentences.append(f"Smoke test: networks were tested on {used:,} of {total:,} test images.")
    if plan.trained_on is not None:
        equal, tested = plan.trained_on
        verb = "is" if equal == 1 else "are"
        sentences.append(
            f"{equal:,} of {tested:,} test images {verb} also among the training images: networks "
            "were tested on what they were trained on."
        )
    return sentences


def _fixed_views(count: int, plan: Plan) -> str:
    """Describe what a recipe's `teacher_cache` changes."""
    shown = counted(count, "fixed view")
    how = "in the same view in every epoch"
    if count > 1:
        how = f"in {shown}, one per epoch in turn, instead of a new one in each epoch"

    differ = any("teacher_cache" in text for text in plan.overrides.values())
    exceptions = ", except in rows whose own recipe says otherwise" if differ else ""
    return (
        f"Every training image was shown {how}{exceptions}, and the teacher's outputs were rounded "
        f"to half precision: compare only with other rows of {shown}."
    )


def _own_measures(plan: Plan) -> list[str]:
    """Define the metrics of the study's plug-ins."""
    return [f"{measure.title}: {measure.help}" for measure in plan.measures]


def _spread_and_ranks() -> list[str]:
    return [
        "± is the standard deviation over seeds. Brackets show the 95 % confidence interval of the "
        "mean over seeds: Student's t, cut to [0, 100] for accuracies, and not corrected for the "
        "number of rows.",
        "Ranks only order the means; they are not a significance test. A row is ranked once all "
        f"its planned cells, and at least {MIN_SEEDS} seeds, have finished.",
    ]


def _comparisons(board: pd.DataFrame, plan: Plan) -> list[str]:
    return [*_compared_rows(board, plan), *_tests(board, plan), *_power(board)]


def _compared_rows(board: pd.DataFrame, plan: Plan) -> list[str]:
    compared = []
    if plan.baseline is not None:
        rows = _with_tuned(plan, plan.baseline)
        compared.append(f"{STUDENT_ALONE} (row {rows})")
    if plan.reference is not None and board["vs_kd"].notna().any():
        compared.append(f"the reference (row {_with_tuned(plan, plan.reference)})")
    if board["vs_untuned"].notna().any():
        compared.append("the same method with published settings (tuned rows only)")

    sentences = []
    if compared:
        sentences.append(
            "Differences are in percentage points, paired by seed. Rows are compared with "
            f"{'; with '.join(compared)}."
        )
    if plan.baseline is None:
        sentences.append(
            f"The study has no row for {STUDENT_ALONE}, so the table shows neither differences "
            "from it nor the share of the gap that a method closes."
        )
    return sentences


def _with_tuned(plan: Plan, reference: str) -> str:
    """Return the name of a reference row, plus its tuned counterpart for tuned rows, if any."""
    rivals = {plan.rival(method, reference) for method in plan.methods if plan.trials.get(method)}
    tuned = sorted(rival for rival in rivals - {reference} if rival is not None)
    return f"{reference}, or {tuned[0]} for tuned rows" if tuned else reference


def _tests(board: pd.DataFrame, plan: Plan) -> list[str]:
    tested = board[board["n"] >= SIGN_FLIP_SEEDS]
    if not tested[_P_VALUES].notna().any(axis=None):
        return []  # no page shows a p value in this case

    flips = "all" if len(plan.seeds) <= EXACT_SEEDS else f"{FLIPS:,} random"
    both = board[_P_VALUES].notna().any().all()
    family = "both comparisons and all rows" if both else "all rows"
    sentences = [
        f"p is the two-sided p value of a sign-flip test over {flips} sign patterns of the "
        f"per-seed differences, Holm-corrected over {family} of each pair; rows with missing cells "
        f"are not tested. † marks p < {SIGNIFICANCE:g}."
    ]
    if len(plan.pairs) > 1:
        sentences.append(
            "Each pair is corrected separately, so false positives become more likely as the "
            "number of pairs grows."
        )
    return sentences


def _power(board: pd.DataFrame) -> list[str]:
    """Return notes on whether any difference can be significant with this number of seeds."""
    rows = board[(board["method"] != TEACHER) & (board["n"] > 0)]
    few = rows[rows["n"] < SIGN_FLIP_SEEDS]
    if rows.empty:
        return []
    if few.empty:
        return _power_after_correction(rows)

    least = int(few["n"].min())
    most = int(few["n"].max())
    seeds = f"{least}" if least == most else f"{least} to {most}"
    everywhere = len(few) == len(rows)
    where = "With" if everywhere else "In rows with"
    sentence = (
        f"{where} fewer than {SIGN_FLIP_SEEDS} seeds (n = {seeds}), no difference can reach "
        f"p < {SIGNIFICANCE:g} in an exact sign-flip test: the smallest possible p is "
        f"2/2^{most} = {smallest_p(most, 1):g}."
    )
    return [sentence] if everywhere else [sentence, *_power_after_correction(rows)]


def _power_after_correction(rows: pd.DataFrame) -> list[str]:
    """Return a note if no difference can be significant after correcting for all tests."""
    tested = rows[rows[_P_VALUES].notna().any(axis=1)]
    if tested.empty:
        return []

    tests = tested.groupby("pair")[_P_VALUES].count().sum(axis=1)
    most = int(tests.max())
    seeds = int(tested["n"].min())  # only complete rows are tested, so all have the same n
    smallest = smallest_p(seeds, most)
    if smallest < SIGNIFICANCE:
        return []

    everywhere = smallest_p(seeds, int(tests.min())) >= SIGNIFICANCE
    where = "" if everywhere else " on a pair with so many tests"
    return [
        f"With n = {seeds} and {most} tests to correct for, the smallest possible p is "
        f"{most} x 2/2^{seeds} = {smallest:g}, so no difference{where} can reach "
        f"p < {SIGNIFICANCE:g}."
    ]


def _tuned_rows(plan: Plan) -> list[str]:
    if not plan.budgets:
        return []

    if plan.unequal:
        return [f"{plan.unequal[0].upper()}{plan.unequal[1:]}."]
    return [
        f"Tuned rows were tuned with {counted(plan.budgets[0], 'trial')} each. They are ranked "
        "separately from rows with published settings, because tuning gives an advantage."
    ]


def _own_recipes(plan: Plan) -> list[str]:
    if not plan.overrides:
        return []

    rows = "; ".join(f"{name}: {text}" for name, text in plan.overrides.items())
    return [
        "Rows with a recipe of their own are neither ranked nor compared with other rows, because "
        f"the training differs as well as the method ({rows})."
    ]


def _mean_ranks(board: pd.DataFrame, plan: Plan) -> list[str]:
    if not board["mean_rank"].notna().any():
        return []

    sentences = [
        "A mean rank is a row's rank among the rows ranked on every pair, averaged over all pairs. "
        "Brackets show its 95 % bootstrap interval over seeds, which does not extend to other "
        "pairs."
    ]
    for trials, means in friedman_groups(board, plan).items():
        rows = f"{len(means)} rows"
        if trials:
            rows += f" tuned with {counted(trials, 'trial')}"
        sentences.append(_friedman(means, rows, len(plan.pairs)))
    return sentences


def _friedman(means: dict[str, list[float]], rows: str, pairs: int) -> str:
    statistic, p = friedman(means)
    p_text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    result = f"Friedman test of the {rows} over {pairs} pairs: chi-square {statistic:.2f}, {p_text}"

    apart = f"more than {critical_difference(len(means), pairs):.2f} apart"
    if p < SIGNIFICANCE:
        return f"{result}; mean ranks {apart} differ at the 5 % level (Nemenyi)."
    return (
        f"{result}. No mean ranks can be said to differ, not even those {apart} (Nemenyi's "
        "critical difference at the 5 % level)."
    )


def _published(board: pd.DataFrame) -> list[str]:
    lines = board[board["published"].notna()]
    if lines.empty:
        return []

    return [
        'The "published" column quotes results of other training runs of the same networks, with '
        "different teachers and seeds: 240 epochs (480 or more for mlld) on all 50,000 training "
        "images. It is never compared with the other columns, and no other number depends on it. "
        f"Sources, each with the epoch that was tested: {_sources(lines)}."
    ]


def _sources(lines: pd.DataFrame) -> str:
    """List the rows by source and selection rule, naming the pair if a row has several sources."""
    origins = lines["published_source"] + " (" + lines["published_rule"] + ")"
    sources = lines.assign(origin=origins).groupby("method")["origin"].nunique()

    rows: dict[str, list[str]] = {}
    for origin, pair, method in zip(origins, lines["pair"], lines["method"], strict=True):
        name = f"{method} on {pair}" if sources[method] > 1 else method
        names = rows.setdefault(origin, [])
        if name not in names:
            names.append(name)
    return "; ".join(f"{origin}: {', '.join(names)}" for origin, names in sorted(rows.items()))
