"""What a search may choose for a row of a study: flat names and their spaces, and the way back to settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import methods
from benchmark.errors import InputError
from benchmark.study.schema import Recipe, Row, Search, TunedSettings
from methods import Choice, LogUniform, Setting

RECIPE = "recipe."
"""Before the names of settings that are the optimizer's."""


def space(row: Row, search: Search) -> dict[str, Setting]:
    """What is searched for a row, by flat name: `temperature`; `kd.temperature` of a composition; `recipe.lr`."""
    parts = methods.parts(row.method)
    found = {
        (f"{part}.{name}" if len(parts) > 1 else name): setting
        for part in parts
        for name, setting in methods.schema(part).items()
        if setting.search is not None
    }
    for name in ("lr", "weight_decay"):
        if (span := getattr(search, name)) is not None:
            found[f"{RECIPE}{name}"] = Setting(name, float, None, None, LogUniform(*span))
    return found


def nested(flat: Mapping[str, Any], row: Row) -> TunedSettings:
    """Flat names -> a method's settings, with those that the study fixes, and a recipe's."""
    several = len(methods.parts(row.method)) > 1
    settings = deepcopy(row.settings)
    recipe: dict[str, Any] = {}
    for name, value in flat.items():
        part, _, key = name.rpartition(".")
        if name.startswith(RECIPE):
            recipe[key] = value
        elif several:
            settings.setdefault(part, {})[key] = value
        else:
            settings[name] = value
    return TunedSettings(settings=settings, **recipe)


def published(
    row: Row, spaces: Mapping[str, Setting], recipe: Recipe, where: str
) -> dict[str, Any]:
    """The first trial's settings: the row's own, else the published ones.

    where: the row's place in the study. Raises InputError for a value out of its space.
    """
    several = len(methods.parts(row.method)) > 1
    found = {}
    for name, setting in spaces.items():
        part, _, key = name.rpartition(".")
        if name.startswith(RECIPE):
            value, place = getattr(recipe.optimizer, key), f"recipe.optimizer.{key}"
        else:
            given = row.settings.get(part, {}) if several else row.settings
            value, place = given.get(key, setting.default), f"{where}.settings.{name}"
        if not _holds(setting, value):
            hint = "the first trial takes it, so give one inside"
            raise InputError(
                f"{place}: is {value}, out of its search space, {setting.search}; {hint}"
            )
        found[name] = value
    return found


def _holds(setting: Setting, value: Any) -> bool:
    search = setting.search
    if isinstance(search, Choice):
        return value in search.options
    assert search is not None
    return math.isfinite(value) and search.low <= value <= search.high


def is_continuous(setting: Setting) -> bool:
    """Whether a setting is searched over real numbers."""
    return setting.kind is float and not isinstance(setting.search, Choice)


def is_logarithmic(setting: Setting) -> bool:
    """Whether a setting is searched by orders of magnitude."""
    return isinstance(setting.search, LogUniform)
