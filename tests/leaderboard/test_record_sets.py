"""Record sets beside the twelve of `test_statistics`: where a rule meets another one, and what the page says then."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard import statistics
from benchmark.leaderboard.environments import MixedEnvironmentsError
from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.statistics import friedman, mean_ranks, sign_flip
from benchmark.leaderboard.table import leaderboard
from benchmark.report import markdown
from tests.leaderboard.test_statistics import EIGHT, PLAN, over_pairs, row, shown

SIX = dataclasses.replace(PLAN, seeds=tuple(range(6)))


def taught(accuracy):
    """The teacher of all rows."""
    return [{**row("teacher", [accuracy])[0], "kind": "teacher"}]


def power(runs, plan):
    """The sentences about what so many seeds cannot show."""
    notes = footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
    return [note for note in notes if note.startswith("n = ")]


def test_a_row_with_few_seeds_does_not_make_the_footnotes_deny_what_whole_rows_show():
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [95] * 5)]
    assert ("kd", "student") in shown(runs, EIGHT, ("significant",))
    (told,) = power(runs, EIGHT)
    assert told == (
        "n = 5 in some rows: with fewer than 6 seeds their paired differences cannot reach p < 0.05 in an exact "
        "sign-flip test (smallest possible p = 2/2^5 = 0.0625)."
    )


def test_the_footnotes_deny_significance_where_there_are_too_many_comparisons():
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6)]
    assert power(runs, dataclasses.replace(SIX, methods=("student", "kd"))) == []
    (told,) = power([*runs, *row("at", [99] * 6)], SIX)
    assert told == (
        "n = 6: with 3 comparisons to correct for, the smallest possible p is 3 x 2/2^6 = 0.09375, so no difference "
        "can reach p < 0.05."
    )
    plan = dataclasses.replace(SIX, methods=("student", "kd", "at", "dkd"))
    (told,) = power([*runs, *row("at", [99] * 6), *row("dkd", [99] * 6)], plan)
    assert "with 5 comparisons to correct for" in told


def test_the_footnotes_deny_significance_only_to_pairs_that_have_too_many_rows():
    plan = dataclasses.replace(SIX, pairs=("p", "q"), not_applicable={"q/at": "needs maps"})
    runs = [
        entry
        for pair in "pq"
        for name in ("student", "kd")
        for entry in row(name, [90 + (name == "kd")] * 6, pair)
    ]
    runs += row("at", [99] * 6)
    assert ("q", "kd", "student") in shown(runs, plan, ("significant",))
    (told,) = power(runs, plan)
    assert told.endswith("so no difference can reach p < 0.05 on a pair with so many.")


def test_the_footnotes_tell_exact_p_values_from_estimated_ones():
    for count, told in (
        (16, "under all flips of their signs"),
        (17, "under 99,999 random flips of their signs"),
    ):
        plan = dataclasses.replace(PLAN, methods=("student", "kd"), seeds=tuple(range(count)))
        runs = [*row("student", [90] * count), *row("kd", [91] * count)]
        (note,) = (
            note
            for note in footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
            if note.startswith("p is")
        )
        assert told in note


def test_the_footnotes_claim_no_difference_of_mean_ranks_where_friedmans_test_finds_none():
    plan = dataclasses.replace(PLAN, pairs=tuple("pqrst"))
    runs = [
        entry
        for number, pair in enumerate(plan.pairs)
        for place, name in enumerate(plan.methods)
        for entry in row(name, [90 + (number + place) % 3] * 3, pair)
    ]
    notes = footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
    # Rank sums 11, 9 and 10: 12 / (5 3 4) (121 + 81 + 100) - 3 5 4 = 0.4, p = exp(-0.2)
    (note,) = (note for note in notes if note.startswith("Friedman's test"))
    assert "chi-square 0.40, p = 0.819" in note
    assert note.endswith(
        "are more than 1.48 apart; as Friedman's test finds no difference, none is claimed."
    )


def test_every_number_of_a_table_is_the_one_worked_by_hand():
    runs = [
        *taught(96),
        *row("student", [90, 91, 92]),
        *row("kd", [93, 93, 93]),
        *row("at", [94, 92, 90]),
    ]
    table = leaderboard(pd.DataFrame(runs), PLAN).set_index("method")
    t = 0.95 * math.sqrt(
        2 / (1 - 0.95**2)
    )  # the 97.5 % quantile of Student's t with two degrees of freedom
    one, two, three = (
        t / math.sqrt(3),
        t * 2 / math.sqrt(3),
        t * 3 / math.sqrt(3),
    )  # half widths of deviations 1, 2, 3
    # Differences: kd to the student alone 3, 2, 1; at to the student alone 4, 1, -2; at to kd 1, -1, -3.
    expected = {
        "rank": (None, 1, 2, 3), "n": (1, 3, 3, 3), "planned": (1, 3, 3, 3), "acc1": (96, 93, 92, 91),
        "sd": (None, 0, 2, 1), "ci_low": (None, 93, 92 - two, 91 - one), "ci_high": (None, 93, 92 + two, 91 + one),
        "vs_student": (None, 2, 1, None), "vs_student_low": (None, 2 - one, 1 - three, None),
        "vs_student_high": (None, 2 + one, 1 + three, None), "gap_closed": (None, 40, 20, None),
        "vs_kd": (None, None, -1, -2), "vs_kd_low": (None, None, -1 - two, -2 - one),
        "vs_kd_high": (None, None, -1 + two, -2 + one), "p_student": (None, 0.75, 1, None),
        "p_kd": (None, None, 1, None), "trials": (None, 0, 0, 0),
    }  # fmt: skip
    # p: 2 of 8, three times; 4, 1, -2 and 1, -1, -3 sum to 3 or more in size in 6 of 8, and twice that is above 1.
    assert table.index.tolist() == ["teacher", "kd", "at", "student"]
    for name, values in expected.items():
        found = [None if pd.isna(value) else float(value) for value in table[name]]
        assert found == [
            None if value is None else pytest.approx(value, abs=1e-12) for value in values
        ], name
    texts = {
        "pair": "p",
        "significant": "",
        "note": "",
        "published_source": "",
        "published_rule": "",
    }
    for name, text in texts.items():
        assert set(table[name]) == {text}
    assert (
        table[[name for name in table if name not in {**expected, **texts}]].isna().all(axis=None)
    )


def test_the_order_of_the_plans_seeds_changes_no_bit():
    pairs = tuple(f"p{number}" for number in range(11))
    plan = dataclasses.replace(
        PLAN, pairs=pairs, methods=("student", "kd", "at", "dkd"), seeds=(0, 1, 2, 3, 4)
    )
    random = np.random.default_rng(0)
    runs = [
        entry
        for pair in pairs
        for name in plan.methods
        for entry in row(name, random.normal(size=5), pair)
    ]
    expected = leaderboard(pd.DataFrame(runs), plan)
    for seeds in ((4, 3, 2, 1, 0), (2, 0, 4, 1, 3)):
        other = leaderboard(pd.DataFrame(runs), dataclasses.replace(plan, seeds=seeds))
        pd.testing.assert_frame_equal(other, expected, check_exact=True)


def test_an_interval_that_ends_at_zero_includes_it():
    board = leaderboard(
        pd.DataFrame([*row("student", [90] * 3), *row("kd", [90] * 3), *row("at", [89] * 3)]), PLAN
    )
    assert (
        "kd 90.0 ± 0.0 (n = 3), +0.0 [0.0, 0.0] against the student alone, an interval that includes zero"
        in headline(board, PLAN)
    )


def test_a_p_value_just_above_the_level_has_no_dagger():
    board = leaderboard(pd.DataFrame([*row("student", [90] * 8), *row("kd", [91] * 8)]), EIGHT)
    for p, told in ((0.0547, "| 0.055 |"), (0.05, "| 0.050 |"), (0.0469, "| 0.047 † |")):
        board.loc[board["method"] == "kd", "p_student"] = p
        assert told in markdown.to_markdown(board, None, EIGHT)


def test_sums_that_differ_by_more_than_rounding_do_not_count_as_equal():
    # 2 - 1 + 1.0000001 was seen; 2 + 1 - 1.0000001 is smaller, so only 2 of 4 are as extreme.
    assert sign_flip([2.0, -1.0, 1.0 + 1e-7]) == 2 / 4


def test_sixteen_differences_are_flipped_exactly_and_seventeen_are_estimated():
    assert sign_flip([1.0] * 16) == 2 / 2**16
    hits = sign_flip([1.0] * 17) * (1 + statistics.FLIPS)
    assert hits == round(hits)
    assert sign_flip([1.0] * 17) != 2 / 2**17


def test_a_bootstrap_sample_draws_as_many_seeds_as_there_are():
    # Only a sample of the fifth seed alone turns the ranks, 1 of 3,125; a single seed would turn them in 1 of 5.
    assert mean_ranks([[[1.0] * 4 + [9.0], [9.0] * 4 + [8.0]]]) == [
        (2.0, 2.0, 2.0),
        (1.0, 1.0, 1.0),
    ]


def test_a_mean_rank_lies_in_its_own_interval_even_where_hardly_a_sample_has_it():
    # The first wins by its first seed alone, which 8 of 27 samples lack: (19/27)^20 of them have it win everywhere.
    close = [[2.0, -0.9, -0.9], [0.0, 0.0, 0.0]]
    (first, low, high), second = mean_ranks([close] * 20)
    assert (first, low) == (1.0, 1.0)
    assert 1.3 < high < 1.6
    assert second[0] == second[2] == 2.0


def test_the_interval_of_a_mean_rank_is_the_same_every_time():
    random = np.random.default_rng(3)
    pairs = [random.normal(size=(6, 5)) for _ in range(7)]
    assert mean_ranks(pairs) == mean_ranks(pairs)


def test_friedmans_test_takes_means_that_differ_by_rounding_for_ties():
    tied = {"a": [0.3] * 5, "b": [0.3, 0.3, 0.3, 0.1, 0.1], "c": [0.2] * 5}
    assert friedman({**tied, "a": [0.1 + 0.2] * 5}) == friedman(tied)


def test_four_pairs_have_mean_ranks_and_no_friedmans_test():
    runs, plan = over_pairs(4)
    notes = footnotes(leaderboard(pd.DataFrame(runs), plan), plan)
    assert any(note.startswith("Mean ranks are over the pairs") for note in notes)
    assert not any("Friedman" in note for note in notes)


def test_mean_ranks_are_among_rows_with_equal_budgets():
    tuned = ("student (tuned)", "kd (tuned)")
    plan = dataclasses.replace(
        PLAN, pairs=("p", "q"), methods=("student", "kd", *tuned), trials=dict.fromkeys(tuned, 20)
    )
    means = dict(zip(plan.methods, (90, 91, 93, 92), strict=True))
    runs = [
        entry
        for pair in plan.pairs
        for name, mean in means.items()
        for entry in row(name, [mean] * 3, pair)
    ]
    assert [line[1:] for line in shown(runs, plan, ("mean_rank",)) if line[0] == "p"] == [
        ("student (tuned)", 1.0), ("kd (tuned)", 2.0), ("kd", 1.0), ("student", 2.0),
    ]  # fmt: skip


def test_a_row_alone_with_its_budget_has_no_mean_rank():
    plan = dataclasses.replace(
        PLAN, pairs=("p", "q"), methods=("student", "kd", "kd (tuned)"), trials={"kd (tuned)": 9}
    )
    runs = [
        entry for pair in plan.pairs for name in plan.methods for entry in row(name, [90] * 3, pair)
    ]
    ranked = leaderboard(pd.DataFrame(runs), plan).set_index("method")["mean_rank"]
    assert ranked[["kd", "student"]].tolist() == [1.5] * 4
    assert ranked["kd (tuned)"].isna().all()


def test_a_row_that_misses_a_cell_on_one_pair_has_no_mean_rank_and_leaves_its_places_to_the_others():
    plan = dataclasses.replace(PLAN, pairs=("p", "q"))
    means = {"student": 90, "kd": 91, "at": 99}
    runs = [
        entry
        for pair in plan.pairs
        for name, mean in means.items()
        for entry in row(name, [mean] * 3, pair)
    ]
    assert [line[1:] for line in shown(runs[:-1], plan, ("rank", "mean_rank")) if line[0] == "p"] == [
        ("at", 1, None), ("kd", 2, 1.0), ("student", 3, 2.0),
    ]  # fmt: skip


def test_two_rows_that_miss_the_same_cell_are_not_tested_against_each_other():
    runs = [*row("student", [90] * 7), *row("kd", [91] * 7), *row("at", [92] * 8)]
    assert shown(runs, EIGHT, ("rank", "vs_student", "p_student", "p_kd")) == [
        ("at", 1, 2.0, None, None), ("kd", None, 1.0, None, None), ("student", None, None, None, None),
    ]  # fmt: skip


def test_differences_are_paired_by_seed_where_the_rows_miss_different_cells():
    plan = dataclasses.replace(PLAN, seeds=(0, 1, 2, 3))
    runs = [
        *row("student", [None, 80, 90, 70]),
        *row("kd", [95, 81, None, 73]),
        *row("at", [60, 60, 60, 60]),
    ]
    # kd and the student alone share the seeds 1 and 3: 1 and 3, mean 2, half width t(0.975, 1) sqrt(2) / sqrt(2)
    (kd,) = leaderboard(pd.DataFrame(runs), plan).query("method == 'kd'").to_dict("records")
    half = math.tan(math.pi * 0.475)
    assert (kd["n"], kd["vs_student"]) == (3, 2.0)
    assert (kd["vs_student_low"], kd["vs_student_high"]) == pytest.approx((2 - half, 2 + half))
    assert kd["note"] == "3 of 4 cells finished; paired with the student alone on 2 of 3 seeds"


def test_the_gap_is_that_of_the_seeds_which_the_row_shares_with_the_student_alone():
    runs = [
        *taught(100),
        *row("student", [80, 80, 95]),
        *row("kd", [90, 90]),
        *row("at", [90, 90, 90]),
    ]
    # kd lacks the third seed: 10 of 100 - 80. at: 10, 10, -5 is 5 of 100 - 85.
    closed = leaderboard(pd.DataFrame(runs), PLAN).set_index("method")["gap_closed"]
    assert (closed["kd"], closed["at"]) == (50.0, pytest.approx(100 / 3))


def test_a_teacher_that_is_better_by_a_rounding_only_has_no_gap_to_close():
    runs = [
        *taught(70.3 + 1e-12),
        *row("student", [70.3] * 3),
        *row("kd", [71.0] * 3),
        *row("at", [71.0] * 3),
    ]
    assert leaderboard(pd.DataFrame(runs), PLAN)["gap_closed"].isna().all()


def test_the_runs_of_the_rarer_environment_are_marked_whatever_its_name():
    runs = [
        *row("student", [90, 91, 92], fingerprint="device z"),
        *row("kd", [91, 92, 93], fingerprint="device z"),
    ]
    runs += [
        *row("at", [92, 93], fingerprint="device z"),
        *row("at", [None, None, 94], fingerprint="device a"),
    ]
    marked = "1 of 3 runs were made in another environment (device a)"
    assert shown(runs, PLAN, ("note",), mix_environments=True) == [
        ("at", marked),
        ("kd", ""),
        ("student", ""),
    ]


def test_an_environment_that_only_lacks_something_is_told_by_what_it_lacks():
    runs = [
        *row("student", [90, 91, 92], fingerprint="cpu, torch 2"),
        *row("kd", [91, 92, 93], fingerprint="cpu"),
    ]
    with pytest.raises(MixedEnvironmentsError, match=r"\(3 in no torch 2; 3 in torch 2\)"):
        shown(runs, PLAN, ("note",))


def test_pairs_that_were_trained_in_different_environments_stand_in_one_study_unmarked():
    plan = dataclasses.replace(PLAN, pairs=("p", "q"))
    runs = [
        entry
        for pair, made in (("p", "device cpu"), ("q", "device cuda"))
        for name in PLAN.methods
        for entry in row(name, [90, 91, 92], pair, made)
    ]
    assert {line[-1] for line in shown(runs, plan, ("note",))} == {""}


def test_runs_of_one_row_with_other_networks_have_no_published_accuracy():
    networks = {"dataset": "cifar100", "teacher": "cifar_resnet56", "student": "cifar_resnet20"}
    runs = [
        entry | networks
        for entry in [*row("student", [69] * 3), *row("kd", [70] * 3), *row("at", [70] * 3)]
    ]
    assert leaderboard(pd.DataFrame(runs), PLAN)["published"].notna().sum() == 3
    runs[4]["student"] = "cifar_resnet8"
    found = leaderboard(pd.DataFrame(runs), PLAN).set_index("method")["published"]
    assert found.drop(["kd", "teacher"]).notna().all()
    assert math.isnan(found["kd"])
