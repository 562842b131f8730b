"""What paired results show, against scipy, printed tables and twelve record sets that were worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from benchmark.leaderboard import statistics
from benchmark.leaderboard.environments import MixedEnvironmentsError
from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.statistics import (
    critical_difference,
    friedman,
    holm,
    mean_ranks,
    ranks,
    sign_flip,
    smallest_p,
)
from benchmark.leaderboard.table import costs, leaderboard
from benchmark.report import markdown, terminal
from benchmark.study.plan import Plan


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0], 1.0),
        ([1.0, 1.0], 2 / 4),
        ([1.0, 2.0, 0.0], 4 / 8),  # sums of at least 3 in size: + + ±, - - ±
        ([0.0, 0.0, 0.0], 1.0),
        ([1.0] * 6, 2 / 64),
        ([-1.0] * 6, 2 / 64),
        ([1.0, 1.0, 1.0, 1.0, 1.0, -1.0], 14 / 64),  # 4 or 6 in size: 2 patterns of 6, 12 of 4
        (
            [3.0, 2.0, -1.0],
            4 / 8,
        ),  # sums are 6, 4, 2 and 0 in size, each for two patterns; 4 was seen
    ],
)
def test_the_p_value_of_a_sign_flip_is_the_share_of_sign_patterns_as_extreme_as_those_seen(
    differences, p
):
    assert sign_flip(differences) == p


def test_sums_that_are_equal_but_for_rounding_count_as_equal():
    # Sizes of 1, 2, 3, 5 with all signs: 11, 9, 7, 5, 5, 3, 1, 1, each for two patterns; 5 was seen.
    for differences in (
        [1.0, 2.0, -3.0, 5.0],
        [0.1, 0.2, -0.3, 0.5],
        [5e-9, 2e-9, -3e-9, 1e-9],
        [0.7, 1.4, -2.1, 3.5],
    ):
        assert sign_flip(differences) == 10 / 16


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_sign_flips_agree_with_scipy(n):
    rows = np.random.default_rng(n).normal(0.4, 1.0, (5, n))
    expected = [
        stats.permutation_test(
            (row,), np.mean, permutation_type="samples", n_resamples=math.inf
        ).pvalue
        for row in rows
    ]
    assert sign_flip(rows) == pytest.approx(expected, rel=1e-12)


def test_more_than_sixteen_differences_are_estimated_close_to_scipys_exact_value_and_always_alike():
    row = np.array(
        [
            1.0,
            -0.5,
            0.75,
            2.0,
            -1.25,
            0.5,
            1.5,
            -0.25,
            0.25,
            1.75,
            -1.5,
            0.875,
            1.125,
            -0.75,
            1.25,
            0.625,
            -1.0,
        ]
    )
    exact = stats.permutation_test(
        (row,), np.mean, permutation_type="samples", n_resamples=2**17
    ).pvalue
    assert 0.01 < exact < 0.5
    assert sign_flip(row) == pytest.approx(exact, abs=5 * math.sqrt(exact / statistics.FLIPS))
    assert sign_flip(row) == sign_flip(row)
    assert sign_flip([1.0] * 40) == 1 / 100_000


def test_without_differences_there_is_no_p_value():
    assert math.isnan(sign_flip([]))


def test_holms_correction_is_the_one_worked_by_hand():
    # sorted 0.005 x 4, 0.01 x 3, then 0.03 x 2 = 0.06 holds up 0.04 x 1
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_what_was_not_tested_is_not_counted_and_stays_empty():
    corrected = holm([[math.nan, 0.02, 0.9], [math.nan] * 3])
    assert corrected[0, 1:].tolist() == [0.04, 0.9]
    assert np.isnan(corrected).sum() == 4
    assert holm([]).size == 0


def test_the_smallest_possible_p_grows_with_the_number_of_tests():
    assert (smallest_p(6, 1), smallest_p(6, 2), smallest_p(2, 9)) == (0.03125, 0.0625, 1.0)


def test_tables_in_which_nothing_differs_bear_a_mark_in_at_most_6_percent():
    # 2,000 tables of 9 seeds, the student alone, kd and two methods; the noise of a seed is shared, as paired seeds do.
    plan = dataclasses.replace(
        PLAN, methods=("student", "kd", "at", "fitnet"), seeds=tuple(range(9))
    )
    runs = pd.DataFrame([run for method in plan.methods for run in row(method, [70.0] * 9)])
    random, marked, uncorrected = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        noise = random.standard_t(3, size=9) + random.standard_t(3, size=(4, 9))
        table = leaderboard(runs.assign(**{"test/acc1": 70 + noise.ravel()}), plan)
        marked += table["significant"].str.len().gt(0).any()
        against = [noise[1:] - noise[0], noise[2:] - noise[1]]
        uncorrected += (sign_flip(np.concatenate(against)) < statistics.SIGNIFICANCE).any()
    assert 0.01 < marked / 2000 <= 0.06
    assert uncorrected / 2000 > 0.1


def test_the_highest_has_rank_1_and_equal_values_share_the_mean_of_their_places():
    assert ranks([70.0, 72.0, 71.0, 71.0 + 1e-12]).tolist() == [4.0, 1.0, 2.5, 2.5]


def test_methods_whose_seeds_never_overlap_have_exact_mean_ranks():
    first = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    second = [[1, 2, 3], [7, 8, 9], [4, 5, 6]]
    assert mean_ranks([first, second]) == [(3.0, 3.0, 3.0), (1.5, 1.5, 1.5), (1.5, 1.5, 1.5)]


def test_a_mean_rank_that_seeds_can_turn_has_an_interval_as_wide_as_the_two_outcomes():
    # The second method wins unless a sample holds seed 2 alone: (1/3)^3 = 3.7 % of samples, more than the 2.5 % cut.
    shaky = [[1.0, 1.0, 9.0], [9.0, 9.0, 8.0]]
    assert mean_ranks([shaky]) == [(2.0, 1.0, 2.0), (1.0, 1.0, 2.0)]


def test_friedmans_test_agrees_with_the_formula_worked_by_hand():
    means = {"a": [3, 3, 3, 3, 3, 3], "b": [2, 2, 2, 2, 2, 1], "c": [1, 1, 1, 1, 1, 2]}
    # rank sums 6, 13, 17: 12 / (6 3 4) (36 + 169 + 289) - 3 6 4 = 10 1/3; two degrees of freedom: p = exp(-x / 2)
    assert friedman(means) == pytest.approx((31 / 3, math.exp(-31 / 6)))
    assert friedman({"a": [1, 2], "b": [1, 2], "c": [1, 2]}) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_demsars_table(methods, q):
    # Demsar 2006, table 5(a), printed to three decimals
    assert critical_difference(methods, 6) == pytest.approx(
        q * math.sqrt(methods * (methods + 1) / 36), rel=4e-4
    )


PLAN = Plan(
    "study", "", ("p",), ("student", "kd", "at"), (0, 1, 2), "last", "student", reference="kd"
)
EIGHT = dataclasses.replace(PLAN, seeds=tuple(range(8)))


def row(method, accuracies, pair="p", fingerprint="", status="FINISHED", reason=""):
    return [
        {
            "run_id": f"{pair}-{method}-{seed}-{status}", "kind": "run", "status": status, "reason": reason,
            "fingerprint": fingerprint, "pair": pair, "method": method, "teacher_id": "T", "seed": seed,
            "test/acc1": acc1,
        }
        for seed, acc1 in enumerate(accuracies)
        if acc1 is not None
    ]  # fmt: skip


def shown(runs, plan, names=("rank", "n", "vs_kd", "p_student", "p_kd", "significant"), **options):
    """The table, without its teachers, as tuples; None for what is empty."""
    table = leaderboard(pd.DataFrame(runs), plan, **options)
    table = table[table["method"] != "teacher"]
    head = ("method",) if len(plan.pairs) == 1 else ("pair", "method")
    lines = table[[*head, *names]].astype(object)
    return [
        tuple(None if pd.isna(value) else value for value in line)
        for line in lines.itertuples(index=False)
    ]


def test_record_set_1_ties_share_a_rank_and_differ_by_nothing_from_each_other():
    plan = dataclasses.replace(PLAN, seeds=tuple(range(6)))
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6), *row("at", [92, 90, 92, 90, 92, 90])]
    # at against the student: 2, 0, 2, 0, 2, 0, extreme are 2 of the 8 signs of the 2s; at against kd: mean 0.
    # kd: 2 of 64 = 0.03125. Of three comparisons the smallest p counts three times, the next one twice.
    assert shown(runs, plan) == [
        ("kd", 1, 6, None, 0.09375, None, ""),
        ("at", 1, 6, 0.0, 0.5, 1.0, ""),
        ("student", 3, 6, -1.0, None, None, ""),
    ]


def test_record_set_2_a_row_with_a_missing_cell_is_not_tested_and_not_counted():
    plan = dataclasses.replace(PLAN, seeds=tuple(range(6)))
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6), *row("at", [95] * 5)]
    # Only kd is left to correct for: 2 of 64.
    assert shown(
        runs, plan, ("rank", "n", "vs_kd", "p_student", "p_kd", "significant", "note")
    ) == [
        ("at", None, 5, 4.0, None, None, "", "5 of 6 cells finished"),
        ("kd", 1, 6, None, 0.03125, None, "student", ""),
        ("student", 2, 6, -1.0, None, None, "", ""),
    ]


def test_record_set_3_a_failed_cell_is_shown_with_its_reason_and_takes_rank_and_test():
    failed = row("kd", [None, None, math.nan], status="FAILED", reason="loss is nan")
    runs = [*row("student", [90, 91, 92]), *row("kd", [93, 94]), *failed, *row("at", [91, 92, 93])]
    # at is one above the student alone with all three seeds: 2 of 8, and the only comparison.
    assert shown(runs, PLAN, ("rank", "n", "vs_kd", "p_student", "p_kd", "note")) == [
        ("kd", None, 2, None, None, None, "1 of 3 cells failed: loss is nan"),
        ("at", 1, 3, -2.0, 0.25, None, "paired with kd on 2 of 3 seeds"),
        ("student", 2, 3, -3.0, None, None, ""),
    ]


def test_record_set_4_one_seed_has_differences_but_no_interval_rank_or_p_value():
    plan = dataclasses.replace(PLAN, seeds=(0,))
    runs = [*row("student", [90]), *row("kd", [91]), *row("at", [93])]
    names = ("rank", "n", "vs_kd", "vs_kd_low", "p_student", "p_kd", "note")
    note = "n = 1: no rank under 3 seeds"
    assert shown(runs, plan, names) == [
        ("at", None, 1, 2.0, None, None, None, note),
        ("kd", None, 1, None, None, None, None, note),
        ("student", None, 1, -1.0, None, None, None, note),
    ]


def test_record_set_5_two_seeds_have_p_values_of_a_half_at_least_and_no_rank():
    plan = dataclasses.replace(PLAN, seeds=(0, 1))
    runs = [*row("student", [90, 90]), *row("kd", [91, 91]), *row("at", [92, 94])]
    # 2 of 4, three times: at most 1. at is 1 and 3 above kd: mean 2, half width t(0.975, 1) sqrt(2) / sqrt(2)
    assert shown(runs, plan) == [
        ("at", None, 2, 2.0, 1.0, 1.0, ""),
        ("kd", None, 2, None, 1.0, None, ""),
        ("student", None, 2, -1.0, None, None, ""),
    ]
    table = leaderboard(pd.DataFrame(runs), plan).set_index("method")
    half = math.tan(math.pi * 0.475)
    assert (table["vs_kd_low"]["at"], table["vs_kd_high"]["at"]) == pytest.approx(
        (2 - half, 2 + half)
    )
    assert any(
        "smallest possible p = 2/2^2 = 0.5" in note for note in footnotes(table.reset_index(), plan)
    )


def test_record_set_6_six_seeds_can_make_one_row_significant_and_not_two():
    plan = dataclasses.replace(PLAN, methods=("student", "kd"), seeds=tuple(range(6)))
    runs = [*row("student", [90] * 6), *row("kd", [91, 92, 91, 92, 91, 92])]
    assert shown(runs, plan) == [
        ("kd", 1, 6, None, 0.03125, None, "student"),
        ("student", 2, 6, -1.5, None, None, ""),
    ]
    two = dataclasses.replace(plan, methods=PLAN.methods)
    runs += row("at", [99] * 6)
    assert shown(runs, two) == [
        ("at", 1, 6, 7.5, 0.09375, 0.09375, ""),
        ("kd", 2, 6, None, 0.09375, None, ""),
        ("student", 3, 6, -1.5, None, None, ""),
    ]
    notes = footnotes(leaderboard(pd.DataFrame(runs), two), two)
    assert any(
        "with 3 comparisons to correct for, the smallest possible p is 3 x 2/2^6 = 0.09375" in note
        for note in notes
    )


def test_record_set_7_rows_tuned_with_unequal_budgets_are_neither_ranked_nor_tested_against_each_other():
    plan = dataclasses.replace(
        EIGHT, methods=("student", "kd", "student (tuned)", "kd (tuned)", "at (tuned)"),
        trials={"student (tuned)": 20, "kd (tuned)": 5, "at (tuned)": 20},
    )  # fmt: skip
    runs = [
        *row("student", [90] * 8), *row("kd", [92] * 8), *row("student (tuned)", [91] * 8),
        *row("kd (tuned)", [93] * 8), *row("at (tuned)", [94] * 8),
    ]  # fmt: skip
    # Tested are kd against the student alone and tuned at against the tuned student: 2 of 256 each, twice that.
    note = "rows were tuned with different numbers of trials (20, 5); they are not ranked"
    assert shown(runs, plan, ("rank", "vs_kd", "p_student", "p_kd", "significant", "note")) == [
        ("at (tuned)", None, None, 0.015625, None, "student", note),
        ("kd (tuned)", None, None, None, None, "", note),
        ("kd", 1, None, 0.015625, None, "student", ""),
        ("student (tuned)", None, None, None, None, "", note),
        ("student", 2, -2.0, None, None, "", ""),
    ]


def test_record_set_8_runs_of_several_environments_are_refused_unless_asked_for_and_then_marked():
    here, there = "device cpu, torch 2.11", "device cuda, torch 2.11"
    runs = [
        *row("student", [90, 91, 92], fingerprint=here),
        *row("kd", [91, 92, 93], fingerprint=here),
    ]
    runs += [
        *row("at", [92, 93], fingerprint=here),
        *row("at", [None, None, 94], fingerprint=there),
    ]
    told = r"of p were made in different environments \(8 in device cpu; 1 in device cuda\).*--mix-environments"
    with pytest.raises(MixedEnvironmentsError, match=told):
        shown(runs, PLAN)
    assert shown(
        runs, PLAN, ("rank", "vs_kd", "p_student", "p_kd", "note"), mix_environments=True
    ) == [
        ("at", 1, 1.0, 0.75, 0.75, "1 of 3 runs were made in another environment (device cuda)"),
        ("kd", 2, None, 0.75, None, ""),
        ("student", 3, -1.0, None, None, ""),
    ]
    for run in runs[-1:]:
        run["fingerprint"] = ""  # recorded before there were fingerprints
    assert [line[-1] for line in shown(runs, PLAN, ("note",))] == ["", "", ""]


def test_record_set_9_one_pair_has_no_mean_rank():
    runs = [*row("student", [90, 91, 92]), *row("kd", [91, 92, 93]), *row("at", [94, 94, 94])]
    assert shown(runs, PLAN, ("rank", "mean_rank", "mean_rank_low")) == [
        ("at", 1, None, None), ("kd", 2, None, None), ("student", 3, None, None),
    ]  # fmt: skip
    # All of one sign, 2 of 8, and three comparisons.
    assert [line[1:] for line in shown(runs, PLAN, ("p_student", "p_kd"))] == [
        (0.75, 0.75),
        (0.75, None),
        (None, None),
    ]


def over_pairs(count):
    """at and kd take turns in being the best of every pair; the student alone is always last."""
    plan = dataclasses.replace(PLAN, pairs=tuple(f"p{number}" for number in range(count)))
    runs = []
    for number, pair in enumerate(plan.pairs):
        best = 93 - 2 * (number % 2)
        runs += [
            *row("student", [80] * 3, pair),
            *row("kd", [92] * 3, pair),
            *row("at", [best] * 3, pair),
        ]
    return runs, plan


def test_record_set_10_several_pairs_have_mean_ranks_and_five_have_friedmans_test():
    runs, plan = over_pairs(2)
    assert shown(runs, plan, ("rank", "mean_rank", "mean_rank_low", "mean_rank_high")) == [
        ("p0", "at", 1, 1.5, 1.5, 1.5), ("p0", "kd", 2, 1.5, 1.5, 1.5), ("p0", "student", 3, 3.0, 3.0, 3.0),
        ("p1", "kd", 1, 1.5, 1.5, 1.5), ("p1", "at", 2, 1.5, 1.5, 1.5), ("p1", "student", 3, 3.0, 3.0, 3.0),
    ]  # fmt: skip
    assert not any(
        "Friedman" in note for note in footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
    )
    runs, plan = over_pairs(5)
    # Rank sums 15, 8 and 7: 12 / (5 3 4) (225 + 64 + 49) - 3 5 4 = 7.6, p = exp(-3.8); 2.3437 sqrt(12 / 30) = 1.482
    told = (
        "Friedman's test of the 3 rows over 5 pairs: chi-square 7.60, p = 0.022. Two mean ranks differ at the 5 % "
        "level (Nemenyi) if they are more than 1.48 apart."
    )
    assert told in footnotes(leaderboard(pd.DataFrame(runs), plan), plan)


def test_record_set_11_without_the_student_alone_rows_are_tested_against_kd_only():
    plan = dataclasses.replace(EIGHT, methods=("kd", "at"), baseline=None)
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [92] * 8)]
    assert shown(runs, plan) == [
        ("at", 1, 8, 1.0, None, 2 / 256, "kd"),
        ("kd", 2, 8, None, None, None, ""),
    ]


def test_record_set_12_without_kd_rows_are_tested_against_the_student_alone_only():
    plan = dataclasses.replace(EIGHT, methods=("student", "at", "fitnet"))
    runs = [
        *row("student", [90] * 8),
        *row("at", [92] * 8),
        *row("fitnet", [89, 91, 90, 90, 90, 90, 90, 90]),
    ]
    # fitnet is -1 and 1 away: mean 0, p 1. at: 2 of 256, twice that.
    assert shown(runs, plan) == [
        ("at", 1, 8, None, 4 / 256, None, "student"),
        ("student", 2, 8, None, None, None, ""),
        ("fitnet", 2, 8, None, 1.0, None, ""),
    ]


def page(runs, plan):
    table = pd.DataFrame(runs)
    return markdown.to_markdown(leaderboard(table, plan), costs(table, plan), plan)


def test_a_significant_p_value_has_a_dagger_on_the_page():
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [92] * 8)]
    text = page(runs, EIGHT)
    head = "| Method | n | Top-1 (%) | 95 % interval | vs student | p vs student | vs kd | p vs kd | Rank |"
    assert head in text
    at = "| at | 8 | **92.00 ± 0.00** | [92.00, 92.00] | +2.00 [2.00, 2.00] | 0.023 † | +1.00 [1.00, 1.00] | 0.023 † |"
    assert f"{at} 1 |" in text
    assert "† marks p < 0.05" in text


def test_seeds_too_few_for_significance_show_no_column_of_p_values_but_say_why():
    text = page([*row("student", [90] * 3), *row("kd", [91] * 3), *row("at", [92] * 3)], PLAN)
    assert "p vs student |" not in text
    assert "no paired difference can reach p < 0.05" in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_with_p_values_is_wider_than_the_terminal_and_the_test_against_the_student_stays(
    width,
):
    plan = dataclasses.replace(
        EIGHT, methods=("student", "kd", "at", "student (tuned)", "kd (tuned)", "ls(kd)+at (tuned)"),
        trials={"student (tuned)": 20, "kd (tuned)": 20, "ls(kd)+at (tuned)": 20},
    )  # fmt: skip
    means = zip(plan.methods, (90, 91, 92, 93, 94, 95), strict=True)
    table = pd.DataFrame([run for name, mean in means for run in row(name, [mean, mean + 1] * 4)])
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None)
    terminal.to_console(leaderboard(table, plan), costs(table, plan), plan, console)
    assert max(map(len, text.getvalue().splitlines())) <= width
    assert re.search("p (vs )?student", text.getvalue())
    assert "0.047 †" in text.getvalue()


def test_mean_ranks_over_pairs_have_a_table_of_their_own():
    text = page(*over_pairs(2))
    place = text.index("## Mean rank over pairs")
    lines = text[place:].splitlines()[2:7]
    assert lines == [
        "| Method | Mean rank |", "| --- | ---: |", "| kd | 1.50 [1.50, 1.50] |", "| at | 1.50 [1.50, 1.50] |",
        "| student | 3.00 [3.00, 3.00] |",
    ]  # fmt: skip
