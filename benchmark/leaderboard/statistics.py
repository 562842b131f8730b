"""Statistics of paired results: intervals, sign flips, Holm's correction, mean ranks, Friedman.

All functions are pure functions of accuracies or their differences. Random draws have a fixed seed,
so equal input gives equal output. SciPy and statsmodels offer some of these tests; the versions
here return bit-identical results for any order of the seeds and any library version, and are tested
against those libraries.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
"""Confidence level of all intervals."""

SIGNIFICANCE = 0.05
"""A p value below this is significant."""

EXACT_SEEDS = 16
"""Maximum number of seeds in an exact sign-flip test; with more, its 2^n sums take too long."""

FLIPS = 99_999
"""Number of random sign patterns for an estimated p; its standard error at p = 0.05 is 0.0007."""

SIGN_FLIP_SEEDS = 6
"""Minimum number of seeds for p < 0.05: the smallest p of an exact sign-flip test is 2/2^n."""

RESAMPLES = 2000
"""Number of bootstrap samples for the interval of a mean rank."""

RANK_PAIRS = 2
"""Minimum number of pairs for a mean rank."""

FRIEDMAN_PAIRS = 5
"""Minimum number of pairs for the Friedman test; its chi-square approximation is poor for fewer."""

FRIEDMAN_METHODS = 3
"""Minimum number of methods in the Friedman test; two are compared by paired differences."""

Floats = NDArray[np.float64]


def mean(values: Sequence[float]) -> float:
    """Return the mean of the values; NaN if there are none."""
    # The sum is exact until the final rounding, so the order of the values has no effect, and the
    # mean of equal values is that value.
    return statistics.mean(values) if values else math.nan


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return Student's t interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan

    quantile = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    centre = mean(values)
    return centre - half, centre + half


def share_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the t interval of a mean of percentages, without its parts below 0 and above 100.

    The mean is certainly in [0, 100], so that cutting off what lies outside leaves the coverage of
    the interval unchanged.

    Source: Mandelkern, Setting Confidence Intervals for Bounded Parameters, 2002.
    """
    low, high = interval(values)
    return (low, high) if math.isnan(low) else (max(low, 0.0), min(high, 100.0))


def sign_flip(differences: ArrayLike) -> Any:
    """Return the two-sided p value of paired differences by flipping their signs.

    Under the null hypothesis, each difference is equally likely to have either sign. The statistic
    is the mean difference. The test is exact, over all 2^n sign patterns, for up to `EXACT_SEEDS`
    differences. For more, p is (1 + extreme) / (1 + `FLIPS`) over patterns drawn with a fixed seed;
    `extreme` counts the patterns whose sum is at least as large in absolute value as the observed
    one. Sums that differ only by rounding errors count as equal.

    Sources: Fisher, The Design of Experiments, 1935, section 21; for the estimate, Phipson
    and Smyth, Permutation P-values Should Never Be Zero, 2010.

    Args:
        differences: Paired differences, one per seed along the last axis.

    Returns:
        P values along the remaining axes, or one number; NaN if there are no differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    if n == 0:
        return np.full(values.shape[:-1], math.nan)[()]

    # Rounding errors are far below a billionth of the largest possible sum.
    tolerance = 1e-9 * np.abs(values).sum(-1, keepdims=True)
    extreme = np.abs(values.sum(-1, keepdims=True)) - tolerance

    if n > EXACT_SEEDS:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (n, FLIPS))
        return (1 + (np.abs(values @ signs) >= extreme).sum(-1)) / (1 + FLIPS)

    # The first sign is fixed, because a pattern and its mirror image have sums of equal size.
    sums = values[..., :1]
    for seed in range(1, n):
        value = values[..., seed : seed + 1]
        sums = np.concatenate([sums + value, sums - value], -1)
    return (np.abs(sums) >= extreme).mean(-1)


def holm(p: ArrayLike) -> Floats:
    """Return p values corrected for their number by Holm's method.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.

    Args:
        p: P values of one family along the last axis. NaN means no test: it stays NaN and is not
            counted.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")  # NaN comes last
    ordered = np.take_along_axis(values, order, -1)

    tests = np.isfinite(values).sum(-1, keepdims=True)
    factors = np.maximum(tests - np.arange(values.shape[-1]), 1)
    stepped = np.maximum.accumulate(ordered * factors, -1)

    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), -1)
    return corrected


def smallest_p(seeds: int, tests: int) -> float:
    """Return the smallest p value that a sign-flip test can reach after Holm's correction.

    Args:
        seeds: Number of paired differences.
        tests: Number of tests that are corrected for.
    """
    return min(1.0, tests * 2 / float(2**seeds))


def ranks(accuracies: ArrayLike) -> Floats:
    """Return ranks along the first axis, 1 for the highest accuracy.

    Equal accuracies share the mean of the ranks that they occupy.
    """
    # Equal decimal accuracies may differ in the last bit once averaged.
    rounded = np.round(np.asarray(accuracies, dtype=np.float64), 9)
    ranked: Floats = stats.rankdata(-rounded, axis=0)
    return ranked


def mean_ranks(pairs: Sequence[ArrayLike]) -> list[tuple[float, float, float]]:
    """Return each method's mean rank over pairs, and its 95 % bootstrap interval over seeds.

    For every pair, a bootstrap sample draws seeds with replacement, the same ones for all methods.
    The interval therefore shows how the seeds affect the ranks on these pairs, and does not extend
    to other pairs. It is the percentile interval, widened if needed to include the mean rank
    itself.

    Args:
        pairs: Accuracies on every pair, of shape (methods, seeds).

    Returns:
        Mean rank, lower limit and upper limit of every method.
    """
    tables = [np.asarray(pair, dtype=np.float64) for pair in pairs]
    observed = np.mean([ranks(table.mean(-1)) for table in tables], axis=0)

    random = np.random.default_rng(0)
    total = np.zeros((len(observed), RESAMPLES))
    for table in tables:
        drawn = random.integers(table.shape[-1], size=(RESAMPLES, table.shape[-1]))
        total += ranks(table[:, drawn].mean(-1))

    low, high = np.quantile(total / len(tables), (0.025, 0.975), axis=-1)
    limits = zip(observed, np.minimum(low, observed), np.maximum(high, observed), strict=True)
    return [(float(centre), float(least), float(most)) for centre, least, most in limits]


def friedman(means: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Return the result of the Friedman test of whether the methods' ranks differ over pairs.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006, section
    3.2.2.

    Args:
        means: Method -> mean accuracy on every pair, for at least three methods.

    Returns:
        The chi-square statistic and its p value; (0, 1) if all methods are equal on every pair.
    """
    table = np.round(np.array(list(means.values())), 9)
    if (table == table[:1]).all():
        return 0.0, 1.0

    statistic, p = stats.friedmanchisquare(*table)
    return float(statistic), float(p)


def critical_difference(methods: int, pairs: int) -> float:
    """Return Nemenyi's critical difference of mean ranks at the 5 % level.

    The difference is q sqrt(k (k + 1) / (6 N)) for k methods and N pairs, where q is the
    95 % quantile of the studentized range divided by sqrt(2). Source: the paper cited in
    `friedman`, section 3.2.2.
    """
    q = float(stats.studentized_range.ppf(1 - SIGNIFICANCE, methods, math.inf))
    return q / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * pairs))
