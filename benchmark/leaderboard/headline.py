"""Summarizes the result of a table in one sentence."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.leaderboard.comparisons import STUDENT_ALONE
from benchmark.leaderboard.ranking import MIN_SEEDS
from benchmark.leaderboard.rounding import plain, signed
from benchmark.study.plan import TEACHER, Plan
from benchmark.wording import counted

Line = Mapping[Hashable, Any]


def headline(board: pd.DataFrame, plan: Plan) -> str:
    """Return the result in one sentence, with numbers but no claim of significance.

    If the study has tuned rows, there is one sentence for the rows with published settings, if any,
    and one for the tuned rows.
    """
    if not plan.budgets:
        return _capitalized(_result(board, plan))

    tuned = board["trials"].fillna(0) > 0
    sentences = []
    if not all(plan.trials.get(method) for method in plan.methods):
        sentences.append(f"With published settings, {_result(board[~tuned], plan)}")
    if plan.unequal:
        sentences.append(f"{_capitalized(plan.unequal)}.")
    else:
        sentences.append(
            f"Tuned with {counted(plan.budgets[0], 'trial')}, {_result(board[tuned], plan)}"
        )
    return " ".join(sentences)


def student_label(methods: Iterable[str], plan: Plan) -> str:
    """Return the name of the student-only baseline that rows are compared with.

    Args:
        methods: Names of the rows. Tuned rows are compared with the tuned student-only row.
        plan: The plan of the study.
    """
    rivals = {plan.rival(method, plan.baseline) for method in methods} - {None}
    if rivals == {plan.baseline}:
        return STUDENT_ALONE
    if plan.baseline not in rivals:
        return "the tuned student alone"
    return f"{STUDENT_ALONE} (for tuned rows, the tuned student alone)"


def _capitalized(sentence: str) -> str:
    """Capitalize a sentence, unless it starts with the name of a row."""
    starts = (STUDENT_ALONE, "no method is ranked", "rows were tuned")
    return sentence[0].upper() + sentence[1:] if sentence.startswith(starts) else sentence


def _result(board: pd.DataFrame, plan: Plan) -> str:
    """Return a sentence, not capitalized, on which methods have the highest mean on which pairs."""
    pairs_by_winners = _winners(board, plan)
    groups = [winners for winners in pairs_by_winners if winners]
    groups.sort(key=lambda winners: -len(pairs_by_winners[winners]))
    if not groups:
        condition = "it has the study's recipe and " if plan.overrides else ""
        return (
            f"no method is ranked: a row is ranked only when {condition}all its planned cells, and "
            f"at least {MIN_SEEDS} seeds, have finished."
        )

    clauses: list[str] = []
    for winners in groups:
        pairs = pairs_by_winners[winners]
        clause = _claim(winners, plan)
        if len(plan.pairs) > 1:
            clause += (
                f" on {len(pairs)}" if clauses else f" on {len(pairs)} of {len(plan.pairs)} pairs"
            )
        clauses.append(clause + _evidence(board, plan, winners, pairs))

    if len(groups) == 1 and set(groups[0]) <= plan.alone:
        clauses.append("no ranked method has a higher mean")
    if () in pairs_by_winners:
        clauses.append(f"no method is ranked on {len(pairs_by_winners[()])}")
    clauses += _unranked(board, plan)
    return "; ".join(clauses) + "."


def _winners(board: pd.DataFrame, plan: Plan) -> dict[tuple[str, ...], list[str]]:
    """Group the pairs by the methods that share rank 1 on them.

    Pairs on which no rows, or only student-only rows, are ranked have the key ().
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for pair in plan.pairs:
        ranked = board[(board["pair"] == pair) & board["rank"].notna()]
        first = set(ranked.loc[ranked["rank"] == 1, "method"])
        winners = tuple(method for method in plan.methods if method in first)
        if set(ranked["method"]) <= plan.alone:
            winners = ()
        groups.setdefault(winners, []).append(pair)
    return groups


def _claim(winners: Sequence[str], plan: Plan) -> str:
    names = [STUDENT_ALONE if name == plan.baseline else name for name in winners]
    if len(names) == 1:
        return f"{names[0]} has the highest mean"
    return f"{', '.join(names[:-1])} and {names[-1]} share the highest mean"


def _evidence(board: pd.DataFrame, plan: Plan, winners: Sequence[str], pairs: Sequence[str]) -> str:
    """Return the numbers behind a claim: each winner's for a study of one pair, else a range."""
    selected = board[board["pair"].isin(pairs) & board["method"].isin(winners)]
    lines = selected.to_dict("records")
    if len(plan.pairs) > 1:
        return _range_of_gains(lines, plan)

    numbers = [
        f"{line['acc1']:.1f} ± {line['sd']:.1f} (n = {line['n']}){_gain(line, plan)}"
        for line in lines
    ]
    if len(lines) == 1:
        return f": {numbers[0]}"
    named = [f"{line['method']} {text}" for line, text in zip(lines, numbers, strict=True)]
    return f": {', '.join(named)}"


def _range_of_gains(lines: Sequence[Line], plan: Plan) -> str:
    """Return the smallest and the largest gain over the student alone, in parentheses."""
    compared = [
        line
        for line in lines
        if math.isfinite(line["vs_student"]) and line["method"] not in plan.alone
    ]
    if not compared:
        return ""

    gains = [float(line["vs_student"]) for line in compared]
    low = signed(min(gains), 1)
    high = signed(max(gains), 1)
    values = low if low == high else f"{low} to {high}"

    preposition = "over" if min(gains) > 0 else "against"
    text = f"{values} {preposition} {student_label([line['method'] for line in compared], plan)}"

    unclear = {line["pair"] for line in compared if _includes_zero(line)}
    if unclear:
        pairs = {line["pair"] for line in compared}
        of_pairs = f"{len(unclear)} of {counted(len(pairs), 'pair')}"
        text += f", with an interval that includes zero on {of_pairs}"
    return f" ({text})"


def _gain(line: Line, plan: Plan) -> str:
    """Return a winner's gain over the student alone, with its interval."""
    gain = line["vs_student"]
    if not math.isfinite(gain):
        return ""

    text = f", {signed(gain, 1)}"
    if math.isfinite(line["vs_student_low"]):
        low = plain(line["vs_student_low"], 1)
        high = plain(line["vs_student_high"], 1)
        text += f" [{low}, {high}]"

    preposition = "over" if gain > 0 else "against"
    text += f" {preposition} {student_label([line['method']], plan)}"
    if _includes_zero(line):
        text += ", with an interval that includes zero"
    return text


def _includes_zero(line: Line) -> bool:
    return bool(line["vs_student_low"] <= 0 <= line["vs_student_high"])


def _unranked(board: pd.DataFrame, plan: Plan) -> list[str]:
    """Return how many applicable rows have no rank, if any."""
    methods = board[board["method"] != TEACHER]
    keys = zip(methods["pair"], methods["method"], strict=True)
    applicable = methods[[plan.why_not(pair, method) is None for pair, method in keys]]

    unranked = int(applicable["rank"].isna().sum())
    if not unranked:
        return []
    verb = "has" if unranked == 1 else "have"
    return [f"{unranked} of {counted(len(applicable), 'row')} {verb} no rank"]
