"""What a search's fields and a method's settings are to Optuna: distributions, a sampler, a pruner."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmark.search.spaces import is_continuous, is_logarithmic
from benchmark.study.schema import Search
from methods import Choice, Setting

GP_LIMIT = 6
"""So many continuous settings does a Gaussian process search at most."""

STARTUP = 8
"""Trials before a sampler makes a model of them."""


def distribution(setting: Setting) -> BaseDistribution:
    """What Optuna draws a setting from."""
    search = setting.search
    if isinstance(search, Choice):
        return CategoricalDistribution(search.options)
    assert search is not None
    log = is_logarithmic(setting)
    if setting.kind is int:
        return IntDistribution(int(search.low), int(search.high), log=log)
    return FloatDistribution(search.low, search.high, log=log)


def sampler_name(search: Search, spaces: Mapping[str, Setting]) -> str:
    """The sampler for a space: see `Search`."""
    if search.sampler != "auto":
        return search.sampler
    continuous = all(map(is_continuous, spaces.values()))
    return "gp" if continuous and len(spaces) <= GP_LIMIT and search.pruner == "none" else "tpe"


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a name that `sampler_name` gives."""
    if name == "gp":
        return optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=STARTUP, deterministic_objective=False
        )
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner(search: Search, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner of a search whose trials have so many epochs."""
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 3)
    if search.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=epochs)
    return optuna.pruners.NopPruner()
