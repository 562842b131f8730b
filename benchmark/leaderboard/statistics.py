"""What paired results can show: sign flips, Holm's correction, mean ranks with their intervals, Friedman and Nemenyi.

Pure functions of arrays of accuracies or their differences. Where chance is used it is seeded, so equal input gives
equal output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

EXACT_SEEDS = 16
"""With more differences than these a sign-flip p value is a Monte Carlo estimate: 2^16 sums are quick, 2^30 are not."""

FLIPS = 99_999
"""Random sign patterns of an estimated p value; its standard error at p = 0.05 is 0.0007."""

RESAMPLES = 2000
"""Bootstrap samples behind the interval of a mean rank."""

SIGNIFICANCE = 0.05

SIGN_FLIP_SEEDS = 6
"""With fewer seeds the smallest two-sided p of an exact sign-flip test, 2/2^n, is above 0.05."""

RANK_PAIRS = 2
"""With fewer pairs there is no mean rank."""

FRIEDMAN_PAIRS = 5
"""With fewer pairs the chi-square approximation of Friedman's test is not worth printing."""

FRIEDMAN_METHODS = 3
"""Friedman's test needs as many; two methods are compared by their paired differences."""

Floats = NDArray[np.float64]


def sign_flip(differences: ArrayLike) -> Any:
    """Two-sided p value of paired differences, under the hypothesis that each is as likely with the other sign.

    The statistic is the mean difference; differences are along the last axis, one per seed. Exact over all 2^n sign
    patterns up to `EXACT_SEEDS`; beyond, (1 + extreme) / (1 + `FLIPS`) over patterns drawn with a fixed seed, which
    is never below 1 / (1 + `FLIPS`). Sums that are equal but for rounding count as equal. NaN without differences.
    Source: Fisher, The Design of Experiments, 1935, section 21; for the estimate Phipson and Smyth, 2010.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    if n == 0:
        return np.full(values.shape[:-1], math.nan)[()]
    # Rounding errors are far below a billionth of the largest possible sum.
    extreme = np.abs(values.sum(-1, keepdims=True)) - 1e-9 * np.abs(values).sum(-1, keepdims=True)
    if n > EXACT_SEEDS:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (n, FLIPS))
        return (1 + (np.abs(values @ signs) >= extreme).sum(-1)) / (1 + FLIPS)
    # A pattern and its mirror image have sums of one size: the first sign stays.
    sums = values[..., :1]
    for place in range(1, n):
        value = values[..., place : place + 1]
        sums = np.concatenate([sums + value, sums - value], -1)
    return (np.abs(sums) >= extreme).mean(-1)


def holm(p: ArrayLike) -> Floats:
    """P values corrected for their number, along the last axis; NaN is no test, stays, and is not counted.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, axis=-1, kind="stable")  # NaN comes last
    tests = np.isfinite(values).sum(-1, keepdims=True)
    factors = np.maximum(tests - np.arange(values.shape[-1]), 1)
    stepped = np.maximum.accumulate(np.take_along_axis(values, order, -1) * factors, -1)
    corrected = np.empty_like(values)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), -1)
    return corrected


def smallest_p(seeds: int, tests: int) -> float:
    """The smallest p that a sign flip of so many differences can reach, after Holm's correction for so many tests."""
    return min(1.0, tests * 2 / float(2**seeds))


def ranks(accuracies: ArrayLike) -> Floats:
    """Ranks along the first axis, 1 for the highest; equal accuracies share the mean of their places."""
    # Rounded, because equal decimal accuracies may differ in the last bit once averaged.
    ranked: Floats = stats.rankdata(-np.round(np.asarray(accuracies, dtype=np.float64), 9), axis=0)
    return ranked


def mean_ranks(pairs: Sequence[ArrayLike]) -> list[tuple[float, float, float]]:
    """Each method's mean rank over pairs, and its 95 % bootstrap interval over seeds.

    pairs: per pair accuracies (method, seed). One bootstrap sample draws, per pair, seeds with replacement, the same
    for all methods; so the interval tells how seeds move the ranks on these pairs, and nothing about other pairs. It
    is the percentile interval, widened where needed to hold the mean rank itself.
    """
    tables = [np.asarray(pair, dtype=np.float64) for pair in pairs]
    random = np.random.default_rng(0)
    observed = np.mean([ranks(table.mean(-1)) for table in tables], axis=0)
    total = np.zeros((len(observed), RESAMPLES))
    for table in tables:
        drawn = random.integers(table.shape[-1], size=(RESAMPLES, table.shape[-1]))
        total += ranks(table[:, drawn].mean(-1))
    low, high = np.quantile(total / len(tables), (0.025, 0.975), axis=-1)
    limits = zip(observed, np.minimum(low, observed), np.maximum(high, observed), strict=True)
    return [(float(mean), float(least), float(most)) for mean, least, most in limits]


def friedman(means: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """Statistic and p value of Friedman's test: do the methods' ranks differ over pairs?

    means: method -> mean accuracy per pair, for at least three methods. (0, 1) where all are equal on every pair.
    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006, section 3.2.2.
    """
    table = np.round(np.array(list(means.values())), 9)
    if (table == table[:1]).all():
        return 0.0, 1.0
    statistic, p = stats.friedmanchisquare(*table)
    return float(statistic), float(p)


def critical_difference(methods: int, pairs: int) -> float:
    """Nemenyi's: two mean ranks that lie further apart differ at the 5 % level, all pairs of methods considered.

    q sqrt(k (k + 1) / (6 N)) with q the studentized range's 95 % quantile over sqrt(2). Source: as `friedman`.
    """
    q = float(stats.studentized_range.ppf(1 - SIGNIFICANCE, methods, math.inf))
    return q / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * pairs))
