"""Chooses the settings of trials reproducibly: each choice has its own seed."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from benchmark import seeds
from benchmark.failpoint import failpoint
from benchmark.search.row_search import RowSearch
from benchmark.search.samplers import distribution, sampler, sampler_name
from benchmark.study.schema import Search


def ask(row_search: RowSearch, count: int, search: Search) -> None:
    """Choose settings until `count` trials have them, and store each trial in one step.

    Args:
        row_search: The search.
        count: Total number of trials that have settings afterwards.
        search: The search settings of the study.
    """
    distributions = {name: distribution(setting) for name, setting in row_search.space.items()}

    for number in range(len(row_search.trials()), count):
        failpoint("tune.ask")
        if number == 0:
            params = row_search.published
            attributes = {"source": "published"}
        else:
            params = choose(row_search, number, distributions, search)
            attributes = {}

        trial = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs=attributes,
        )
        row_search.study.add_trial(trial)


def choose(
    row_search: RowSearch, number: int, distributions: dict[str, BaseDistribution], search: Search
) -> dict[str, Any]:
    """Choose the settings of one trial from the results of earlier trials.

    The sampler works on an in-memory copy of the study. Optuna itself would store a trial first and
    then its settings one by one, so a crash in between would leave an incomplete trial.

    Args:
        row_search: The search.
        number: Number of the trial.
        distributions: The distribution of each setting, by flat name.
        search: The search settings of the study.

    Returns:
        The settings by flat name.
    """
    seed = seeds.derive(search.seed, "search", row_search.key, number) % 2**32
    name = sampler_name(search, row_search.space)
    copy = optuna.create_study(
        study_name=row_search.study.study_name,
        direction=row_search.study.direction,
        sampler=sampler(name, seed),
        pruner=row_search.study.pruner,
    )
    copy.add_trials(row_search.trials())
    return copy.ask(distributions).params
