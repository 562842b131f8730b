"""Creates Optuna's distributions, samplers and pruners for the search settings of a study."""

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
"""Maximum number of settings for the Gaussian process sampler."""

STARTUP = 8
"""Number of trials that a sampler needs before it models their results."""


def distribution(setting: Setting) -> BaseDistribution:
    """Return the distribution that Optuna draws a setting from."""
    space = setting.search
    if isinstance(space, Choice):
        return CategoricalDistribution(space.options)

    assert space is not None
    logarithmic = is_logarithmic(setting)
    if setting.kind is int:
        return IntDistribution(int(space.low), int(space.high), log=logarithmic)
    return FloatDistribution(space.low, space.high, log=logarithmic)


def sampler_name(search: Search, space: Mapping[str, Setting]) -> str:
    """Return the name of the sampler for a search space; `Search` documents the choice.

    Args:
        search: The search settings of the study.
        space: The searched settings by flat name.
    """
    if search.sampler != "auto":
        return search.sampler

    continuous = all(is_continuous(setting) for setting in space.values())
    suits_gp = continuous and len(space) <= GP_LIMIT and search.pruner == "none"
    return "gp" if suits_gp else "tpe"


def sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Create a sampler.

    Args:
        name: `gp`, `tpe` or `random`.
        seed: Seed of its draws.
    """
    if name == "gp":
        return optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=STARTUP, deterministic_objective=False
        )
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    return optuna.samplers.RandomSampler(seed=seed)


def pruner(search: Search, epochs: int) -> optuna.pruners.BasePruner:
    """Create the pruner that a study chooses.

    Args:
        search: The search settings of the study.
        epochs: Epochs of the study's recipe.
    """
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=epochs // 3)
    if search.pruner == "hyperband":
        shortest = max(1, epochs // 9)
        return optuna.pruners.HyperbandPruner(min_resource=shortest, max_resource=epochs)
    return optuna.pruners.NopPruner()
