"""What a table says in sentences: its result, what a reader must know to read it, and where its numbers were made."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.leaderboard.rounding import plain, signed
from benchmark.leaderboard.statistics import (
    EXACT_SEEDS,
    FLIPS,
    FRIEDMAN_METHODS,
    FRIEDMAN_PAIRS,
    SIGN_FLIP_SEEDS,
    SIGNIFICANCE,
    critical_difference,
    friedman,
    smallest_p,
)
from benchmark.leaderboard.table import MIN_SEEDS
from benchmark.study.plan import TEACHER, Plan


def provenance(runs: pd.DataFrame) -> list[str]:
    """Where the numbers of a table were made: a line for each environment of its finished runs and teachers."""
    lines = []
    finished = runs[runs["status"] == "FINISHED"] if len(runs) else runs
    for environment, made in finished.groupby("environment") if len(finished) else ():
        students = int((made["kind"] == "run").sum())
        counts = [(students, "student"), (len(made) - students, "teacher")]
        told = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in counts if n)
        lines.append(f"{told}: {str(environment) or 'not recorded'}")
    return lines


def headline(board: pd.DataFrame, plan: Plan) -> str:
    """The result in one sentence; it states means and intervals and claims no significance.

    Where rows were tuned there is one for them, after one for the rows with published settings.
    """
    if not plan.budgets:
        return _capital(_result(board, plan))
    tuned = board["trials"].fillna(0) > 0
    untuned = "" if all(map(plan.trials.get, plan.methods)) else _result(board[~tuned], plan)
    sentences = [f"With published settings, {untuned}"] if untuned else []
    if plan.unequal:
        return " ".join([*sentences, f"{_capital(plan.unequal)}."])
    return " ".join(
        [*sentences, f"Tuned with {plan.budgets[0]} trials, {_result(board[tuned], plan)}"]
    )


def _capital(sentence: str) -> str:
    """Starts a sentence with a capital letter, unless it starts with the name of a row."""
    own = sentence.startswith(("the student alone", "no method is ranked", "rows were tuned"))
    return sentence[0].upper() + sentence[1:] if own else sentence


def _result(board: pd.DataFrame, plan: Plan) -> str:
    groups = _winners(board, plan)
    won = sorted((names for names in groups if names), key=lambda names: -len(groups[names]))
    if not won:
        return f"no method is ranked: a rank needs {MIN_SEEDS} finished seeds and every planned cell of the row."
    clauses: list[str] = []
    for names in won:
        where = f" on {len(groups[names])}" + ("" if clauses else f" of {len(plan.pairs)} pairs")
        place = where if len(plan.pairs) > 1 else ""
        clauses.append(f"{_label(names, plan)}{place}{_detail(board, plan, names, groups[names])}")
    if len(won) == 1 and set(won[0]) <= plan.alone:
        clauses.append("no ranked method has a higher mean")
    if () in groups:
        clauses.append(f"no method is ranked on {len(groups[()])}")
    return "; ".join(clauses) + _unranked(board, plan) + "."


def _winners(board: pd.DataFrame, plan: Plan) -> dict[tuple[str, ...], list[str]]:
    """Pairs by the methods that share rank 1 there; () for pairs where nothing but the student alone has a rank."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for pair in plan.pairs:
        ranked = board[(board["pair"] == pair) & board["rank"].notna()]
        first = set(ranked.loc[ranked["rank"] == 1, "method"])
        names = tuple(method for method in plan.methods if method in first)
        groups.setdefault(() if set(ranked["method"]) <= plan.alone else names, []).append(pair)
    return groups


def _label(names: Sequence[str], plan: Plan) -> str:
    shown = ["the student alone" if name == plan.baseline else name for name in names]
    if len(shown) == 1:
        return f"{shown[0]} has the highest mean"
    return f"{', '.join(shown[:-1])} and {shown[-1]} share the highest mean"


def _detail(board: pd.DataFrame, plan: Plan, names: Sequence[str], pairs: Sequence[str]) -> str:
    """What stands behind being best: the numbers themselves for a study of one pair, else the range of the gains."""
    rows = board[board["pair"].isin(pairs) & board["method"].isin(names)].to_dict("records")
    if len(plan.pairs) == 1:
        numbers = [
            f"{row['acc1']:.1f} ± {row['sd']:.1f} (n = {row['n']}){_over_student(row, plan)}"
            for row in rows
        ]
        named = [f"{row['method']} {text}" for row, text in zip(rows, numbers, strict=True)]
        return ": " + (numbers[0] if len(rows) == 1 else ", ".join(named))
    rows = [
        row for row in rows if math.isfinite(row["vs_student"]) and row["method"] not in plan.alone
    ]
    if not rows:
        return ""
    gains = [float(row["vs_student"]) for row in rows]
    low, high = signed(min(gains), 1), signed(max(gains), 1)
    unclear = len({row["pair"] for row in rows if _includes_zero(row)})
    zero = (
        f", an interval includes zero on {unclear} of {len({row['pair'] for row in rows})}"
        if unclear
        else ""
    )
    over = "over" if min(gains) > 0 else "against"
    against = reference([row["method"] for row in rows], plan)
    return f" ({low if low == high else f'{low} to {high}'} {over} {against}{zero})"


def reference(methods: Iterable[str], plan: Plan) -> str:
    """The student alone that rows are compared with: a tuned row with the tuned one."""
    rivals = {plan.rival(method, plan.baseline) for method in methods} - {None}
    if rivals == {plan.baseline}:
        return "the student alone"
    return (
        "the tuned student alone"
        if plan.baseline not in rivals
        else "the student alone, tuned rows the tuned one"
    )


def _over_student(row: Mapping[Hashable, Any], plan: Plan) -> str:
    if not math.isfinite(row["vs_student"]):
        return ""
    gain = f", {signed(row['vs_student'], 1)}"
    if math.isfinite(row["vs_student_low"]):
        gain += f" [{plain(row['vs_student_low'], 1)}, {plain(row['vs_student_high'], 1)}]"
    zero = ", an interval that includes zero" if _includes_zero(row) else ""
    return f"{gain} {'over' if row['vs_student'] > 0 else 'against'} {reference([row['method']], plan)}{zero}"


def _includes_zero(row: Mapping[Hashable, Any]) -> bool:
    return bool(row["vs_student_low"] <= 0 <= row["vs_student_high"])


def _unranked(board: pd.DataFrame, plan: Plan) -> str:
    methods = board[board["method"] != TEACHER]
    keys = zip(methods["pair"], methods["method"], strict=True)
    applicable = methods[[plan.why_not(pair, method) is None for pair, method in keys]]
    unranked = int(applicable["rank"].isna().sum())
    return (
        f"; {unranked} of {len(applicable)} rows {'has' if unranked == 1 else 'have'} no rank"
        if unranked
        else ""
    )


def footnotes(board: pd.DataFrame, plan: Plan) -> list[str]:
    """What a reader must know to read the table, in full sentences."""
    tested = (
        "after the last epoch"
        if plan.select == "last"
        else "of the epoch with the best validation accuracy"
    )
    sentences = [
        f"Selection rule: the network {tested} is the one that was tested.",
        *_about_protocol(plan),
        "± is the standard deviation over seeds. Intervals are 95 % intervals of the mean over seeds (Student's t, "
        "n - 1 degrees of freedom), one row at a time, not corrected for the number of rows; of few seeds that differ "
        "much they reach beyond what is possible. The teacher is one network: n = 1, no spread.",
        *_about_student(plan),
        *_about_kd(board, plan),
        *_about_tests(board, plan),
        *_about_power(board),
        f"Ranks order the means within a pair and test nothing; a row needs {MIN_SEEDS} finished seeds and all of its "
        "planned cells, and equal means share a rank.",
        *_about_mean_ranks(board, plan),
        *_about_tuning(plan),
        *_about_published(board),
        "Accuracies, F1 (mean over classes), ECE (expected calibration error) and agreement (same predicted class as "
        "the teacher) are in percent, on the test set.",
        "Compute is what training this row alone would cost per seed, without sharing a cohort, in 10^12 "
        "multiply-accumulates (TMAC), all stages of its training included, that of its teacher not"
        + (
            "."
            if plan.baseline is None
            else "; beside it the same as a multiple of the student alone's."
        ),
        *_about_validation(board),
    ]
    return sentences


def _about_protocol(plan: Plan) -> list[str]:
    if plan.protocol != "legacy":
        return []
    return [
        "Legacy protocol: all training images were trained on and none held out, as for most published tables."
    ]


def _about_student(plan: Plan) -> list[str]:
    if plan.baseline is None:
        return [
            "The study has no row for the student alone, so it shows no differences to it and no closed gap."
        ]
    which = "".join(f", for tuned rows row {tuned}" for tuned in plan.alone - {plan.baseline})
    return [
        f"Differences to the student alone (row {plan.baseline}{which}) are in percentage points and paired by seed "
        "(only seeds that both rows have count); in brackets the 95 % interval of their mean.",
        "The gap closed is (row - student alone) / (teacher - student alone) in percent, over the same paired seeds: 0 "
        "is the student alone, 100 the teacher.",
    ]


def _about_validation(board: pd.DataFrame) -> list[str]:
    if not board["best_minus_last"].notna().any():
        return []
    return [
        "Val best - last is the accuracy of a run's best epoch minus that of its last, in percentage points, mean over "
        "seeds. It is on the validation images: a diagnostic, never a result."
    ]


def _about_tuning(plan: Plan) -> list[str]:
    if not plan.budgets:
        return []
    apart = "Rows with published settings and tuned rows are ranked apart, because a search gives an advantage"
    ranks = (
        "tuned rows have no rank"
        if plan.unequal
        else f"tuned rows took {plan.budgets[0]} trials each"
    )
    return [
        f"{apart}; {ranks}. The compute of a search is that of all trials for a row, in TMAC.",
        "Differences to untuned rows are those of a tuned row to the row of the same method with published "
        "settings, in percentage points and paired by seed; in brackets the 95 % interval of their mean.",
    ]


def _about_published(board: pd.DataFrame) -> list[str]:
    known = board[board["published"].notna()]
    if known.empty:
        return []
    origins = (known["published_source"] + " (" + known["published_rule"] + ")").tolist()
    several = known.assign(origin=origins).groupby("method")["origin"].nunique()
    rows: dict[str, list[str]] = {}
    for origin, pair, method in zip(origins, known["pair"], known["method"], strict=True):
        name = f"{method} on {pair}" if several[method] > 1 else method
        if name not in rows.setdefault(origin, []):
            rows[origin].append(name)
    listed = "; ".join(f"{origin}: {', '.join(names)}" for origin, names in sorted(rows.items()))
    return [
        'The column "published" is copied from other trainings of the same networks: 240 epochs (mlld 480 or more) on '
        "all 50,000 training images, with other teachers and seeds. It is never compared with the other columns, and "
        f"no number here is computed from it. Top-1 accuracy in percent, by source and tested epoch: {listed}."
    ]


def _about_kd(board: pd.DataFrame, plan: Plan) -> list[str]:
    known = board[board["vs_kd"].notna()]
    if known.empty:
        return []
    tuned = bool((known["trials"] > 0).any())
    return [
        f"Differences to {plan.reference} are those to plain distillation{', of tuned rows to its tuned row' * tuned}, in "
        "percentage points and paired by seed; in brackets the 95 % interval of their mean."
    ]


def _about_tests(board: pd.DataFrame, plan: Plan) -> list[str]:
    if not board.loc[board["n"] >= SIGN_FLIP_SEEDS, ["p_student", "p_kd"]].notna().any(axis=None):
        return []  # then no page shows a p value
    both = bool(board[["p_student", "p_kd"]].notna().any().all())
    flips = "all" if len(plan.seeds) <= EXACT_SEEDS else f"{FLIPS:,} random"
    apart = " Each pair is corrected for by itself: a false mark is the likelier, the more pairs there are."
    return [
        f"p is the two-sided p value of the paired differences under {flips} flips of their signs, corrected by "
        f"Holm over {'both comparisons and ' * both}all rows of a pair; only rows with all of their planned cells are "
        f"tested. † marks p < {SIGNIFICANCE:g}.{apart if len(plan.pairs) > 1 else ''}"
    ]


def _about_mean_ranks(board: pd.DataFrame, plan: Plan) -> list[str]:
    ranked = board[board["mean_rank"].notna()]
    if ranked.empty:
        return []
    sentences = [
        "Mean ranks are over the pairs, among the rows that have a rank on every pair; equal means share the mean of "
        "their places. Intervals are 95 % bootstrap intervals over seeds, drawn alike for all rows: they tell how "
        "seeds move the ranks on these pairs, and nothing about other pairs."
    ]
    for trials, means in ranked_together(board, plan).items():
        which = f" tuned with {trials} trials" if trials else ""
        sentences.append(_friedman(means, which, len(plan.pairs)))
    return sentences


def ranked_together(board: pd.DataFrame, plan: Plan) -> dict[int, dict[str, list[float]]]:
    """Mean accuracy per pair by method, apart by number of trials, of rows enough for Friedman's test."""
    groups: dict[int, dict[str, list[float]]] = {}
    for trials, rows in board[board["mean_rank"].notna()].groupby("trials"):
        means = {
            name: rows.loc[rows["method"] == name, "acc1"].tolist()
            for name in sorted(set(rows["method"]))
        }
        if len(plan.pairs) >= FRIEDMAN_PAIRS and len(means) >= FRIEDMAN_METHODS:
            groups[int(str(trials))] = means
    return groups


def _friedman(means: Mapping[str, Sequence[float]], which: str, pairs: int) -> str:
    statistic, p = friedman(means)
    found = f"chi-square {statistic:.2f}, p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    end = "." if p < SIGNIFICANCE else "; as Friedman's test finds no difference, none is claimed."
    return (
        f"Friedman's test of the {len(means)} rows{which} over {pairs} pairs: {found}. Two mean ranks differ at the 5 "
        f"% level (Nemenyi) if they are more than {critical_difference(len(means), pairs):.2f} apart{end}"
    )


def _about_power(board: pd.DataFrame) -> list[str]:
    methods = board[(board["method"] != TEACHER) & (board["n"] > 0)]
    if methods.empty:
        return []
    few = methods[methods["n"] < SIGN_FLIP_SEEDS]
    if few.empty:
        return _about_corrected_power(methods)
    all_few = len(few) == len(methods)
    which, what = (
        ("", "no paired difference can")
        if all_few
        else (" in some rows", "their paired differences cannot")
    )
    least, most = int(few["n"].min()), int(few["n"].max())
    told = (
        f"n = {least}{f' to {most}' if most > least else ''}{which}: with fewer than {SIGN_FLIP_SEEDS} seeds {what} "
        f"reach p < {SIGNIFICANCE:g} in an exact sign-flip test (smallest possible p = 2/2^{most} = {2 / 2**most:g})."
    )
    return [told] if all_few else [told, *_about_corrected_power(methods)]


def _about_corrected_power(methods: pd.DataFrame) -> list[str]:
    """That no comparison can find anything, where so many are corrected for."""
    tested = methods[methods[["p_student", "p_kd"]].notna().any(axis=1)]
    counts = tested.groupby("pair")[["p_student", "p_kd"]].count().sum(axis=1)
    n = tested["n"].min()  # only whole rows are tested: all have as many seeds
    if counts.empty or smallest_p(n, most := int(counts.max())) < SIGNIFICANCE:
        return []
    everywhere = smallest_p(n, int(counts.min())) >= SIGNIFICANCE
    return [
        f"n = {n}: with {most} comparisons to correct for, the smallest possible p is {most} x 2/2^{n} = "
        f"{smallest_p(n, most):g}, so no difference can reach p < {SIGNIFICANCE:g}"
        f"{'.' if everywhere else ' on a pair with so many.'}"
    ]
