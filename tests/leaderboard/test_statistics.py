"""The statistics alone, against SciPy, statsmodels, printed tables and values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmark.leaderboard import statistics
from benchmark.leaderboard.statistics import (
    critical_difference,
    friedman,
    holm,
    interval,
    mean,
    mean_ranks,
    ranks,
    share_interval,
    sign_flip,
    smallest_p,
)


def permutation_p(differences, resamples=math.inf):
    """SciPy's p value of paired differences under flips of their signs."""
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=resamples
    )
    return test.pvalue


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0], 1.0),
        ([1.0, 1.0], 2 / 4),
        # sums of at least 3 in size: + + ±, - - ±
        ([1.0, 2.0, 0.0], 4 / 8),
        ([0.0, 0.0, 0.0], 1.0),
        ([1.0] * 6, 2 / 64),
        ([-1.0] * 6, 2 / 64),
        # 4 or 6 in size: 2 patterns of 6, 12 of 4
        ([1.0, 1.0, 1.0, 1.0, 1.0, -1.0], 14 / 64),
        # sums are 6, 4, 2 and 0 in size, each for two patterns; 4 was seen
        ([3.0, 2.0, -1.0], 4 / 8),
    ],
)
def test_the_p_value_of_a_sign_flip_is_the_share_of_sign_patterns_as_extreme_as_those_seen(
    differences, p
):
    assert sign_flip(differences) == p


@pytest.mark.parametrize(
    "differences",
    [
        [1.0, 2.0, -3.0, 5.0],
        [0.1, 0.2, -0.3, 0.5],
        [5e-9, 2e-9, -3e-9, 1e-9],
        [0.7, 1.4, -2.1, 3.5],
    ],
)
def test_sums_that_are_equal_but_for_rounding_count_as_equal(differences):
    # Sizes of 1, 2, 3, 5 with all signs: 11, 9, 7, 5, 5, 3, 1, 1, each for two patterns; 5 was seen
    assert sign_flip(differences) == 10 / 16


def test_sums_that_differ_by_more_than_rounding_do_not_count_as_equal():
    # 2 - 1 + 1.0000001 was seen; 2 + 1 - 1.0000001 is smaller, so only 2 of 4 are as extreme.
    assert sign_flip([2.0, -1.0, 1.0 + 1e-7]) == 2 / 4


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_sign_flips_agree_with_scipy(n):
    samples = np.random.default_rng(n).normal(0.4, 1.0, (5, n))
    expected = [permutation_p(differences) for differences in samples]
    assert sign_flip(samples) == pytest.approx(expected, rel=1e-12)


def test_more_than_sixteen_differences_are_estimated_close_to_scipys_exact_value_and_always_alike():
    eighths = [8, -4, 6, 16, -10, 4, 12, -2, 2, 14, -12, 7, 9, -6, 10, 5, -8]
    differences = np.array(eighths) / 8
    exact = permutation_p(differences, 2**17)
    assert 0.01 < exact < 0.5

    tolerance = 5 * math.sqrt(exact / statistics.FLIPS)
    assert sign_flip(differences) == pytest.approx(exact, abs=tolerance)
    assert sign_flip(differences) == sign_flip(differences)
    assert sign_flip([1.0] * 40) == 1 / 100_000


def test_sixteen_differences_are_flipped_exactly_and_seventeen_are_estimated():
    assert sign_flip([1.0] * 16) == 2 / 2**16
    hits = sign_flip([1.0] * 17) * (1 + statistics.FLIPS)
    assert hits == round(hits)
    assert sign_flip([1.0] * 17) != 2 / 2**17


def test_without_differences_there_is_no_p_value():
    assert math.isnan(sign_flip([]))


def test_holms_correction_is_the_one_worked_by_hand():
    # sorted 0.005 x 4, 0.01 x 3, then 0.03 x 2 = 0.06 holds up 0.04 x 1
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_holms_correction_agrees_with_statsmodels(count):
    random = np.random.default_rng(count)
    for values in (
        random.random(count),
        random.random(count) ** 4,
        random.integers(1, 5, count) / 64,
    ):
        _, expected, _, _ = multipletests(values, method="holm")
        assert holm(values) == pytest.approx(expected, rel=1e-12)


def test_what_was_not_tested_is_not_counted_and_stays_empty():
    corrected = holm([[math.nan, 0.02, 0.9], [math.nan] * 3])
    assert corrected[0, 1:].tolist() == [0.04, 0.9]
    assert np.isnan(corrected).sum() == 4
    assert holm([]).size == 0


def test_the_smallest_possible_p_grows_with_the_number_of_tests():
    assert smallest_p(6, 1) == 0.03125
    assert smallest_p(6, 2) == 0.0625
    assert smallest_p(2, 9) == 1.0


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_intervals_of_a_mean_agree_with_scipy(n):
    values = np.random.default_rng(n).normal(70, 2, n).tolist()
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((expected.low, expected.high), rel=1e-10)


def test_the_interval_of_a_share_is_the_same_within_the_bounds_and_ends_at_them():
    for values in ([69.0, 69.4, 69.2], [50.0, 60.0], [0.0, 100.0, 50.0, 50.0]):
        low, high = interval(values)
        assert share_interval(values) == (max(low, 0.0), min(high, 100.0))
    assert share_interval([69.0, 69.4, 69.2]) == interval([69.0, 69.4, 69.2])

    wide = [20.0, 90.0, 75.0]
    low, high = interval(wide)
    assert low < 0
    assert high > 100
    assert share_interval(wide) == (0.0, 100.0)
    assert share_interval([99.0, 97.0, 100.0]) == (interval([99.0, 97.0, 100.0])[0], 100.0)
    assert all(math.isnan(limit) for limit in share_interval([50.0]))


def test_a_mean_does_not_depend_on_the_order_of_its_values_and_needs_one():
    values = [70.1, 70.3, 1e-9, 69.8, 1e6]
    assert mean(values) == mean(values[::-1])
    assert mean([70.1] * 7) == 70.1
    assert math.isnan(mean([]))
    assert all(map(math.isnan, interval([70.0])))


def test_the_highest_has_rank_1_and_equal_values_share_the_mean_of_their_places():
    assert ranks([70.0, 72.0, 71.0, 71.0 + 1e-12]).tolist() == [4.0, 1.0, 2.5, 2.5]


def test_methods_whose_seeds_never_overlap_have_exact_mean_ranks():
    first = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    second = [[1, 2, 3], [7, 8, 9], [4, 5, 6]]
    assert mean_ranks([first, second]) == [(3.0, 3.0, 3.0), (1.5, 1.5, 1.5), (1.5, 1.5, 1.5)]


def test_a_mean_rank_that_seeds_can_turn_has_an_interval_as_wide_as_the_two_outcomes():
    # The second method wins unless a sample holds seed 2 alone: (1/3)^3 = 3.7 % of samples, more
    # than the 2.5 % that are cut.
    shaky = [[1.0, 1.0, 9.0], [9.0, 9.0, 8.0]]
    assert mean_ranks([shaky]) == [(2.0, 1.0, 2.0), (1.0, 1.0, 2.0)]


def test_a_bootstrap_sample_draws_as_many_seeds_as_there_are():
    # Only a sample of the fifth seed alone turns the ranks, 1 of 3,125; a single seed would turn
    # them in 1 of 5.
    pair = [[1.0] * 4 + [9.0], [9.0] * 4 + [8.0]]
    assert mean_ranks([pair]) == [(2.0, 2.0, 2.0), (1.0, 1.0, 1.0)]


def test_a_mean_rank_lies_in_its_own_interval_even_where_hardly_a_sample_has_it():
    # The first wins by its first seed alone, which 8 of 27 samples lack: in (19/27)^20 of them it
    # wins everywhere.
    close = [[2.0, -0.9, -0.9], [0.0, 0.0, 0.0]]
    (first, low, high), second = mean_ranks([close] * 20)
    assert (first, low) == (1.0, 1.0)
    assert 1.3 < high < 1.6
    assert second[0] == second[2] == 2.0


def test_the_interval_of_a_mean_rank_is_the_same_every_time():
    random = np.random.default_rng(3)
    pairs = [random.normal(size=(6, 5)) for _ in range(7)]
    assert mean_ranks(pairs) == mean_ranks(pairs)


def test_friedmans_test_agrees_with_the_formula_worked_by_hand():
    means = {"a": [3, 3, 3, 3, 3, 3], "b": [2, 2, 2, 2, 2, 1], "c": [1, 1, 1, 1, 1, 2]}
    # rank sums 6, 13, 17: 12 / (6 3 4) (36 + 169 + 289) - 3 6 4 = 10 1/3; with two degrees of
    # freedom p = exp(-x / 2)
    assert friedman(means) == pytest.approx((31 / 3, math.exp(-31 / 6)))
    assert friedman({"a": [1, 2], "b": [1, 2], "c": [1, 2]}) == (0.0, 1.0)


def test_friedmans_test_takes_means_that_differ_by_rounding_for_ties():
    tied = {"a": [0.3] * 5, "b": [0.3, 0.3, 0.3, 0.1, 0.1], "c": [0.2] * 5}
    assert friedman({**tied, "a": [0.1 + 0.2] * 5}) == friedman(tied)


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_that_of_demsars_table(methods, q):
    # Demsar 2006, table 5(a), printed to three decimals
    expected = q * math.sqrt(methods * (methods + 1) / 36)
    assert critical_difference(methods, 6) == pytest.approx(expected, rel=4e-4)
