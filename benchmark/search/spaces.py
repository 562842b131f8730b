"""Search spaces of rows: settings by flat name, and their conversion to a method's settings.

Flat names are `temperature` for a plain method, `kd.temperature` for a part of a composition, and
`recipe.lr` for a setting of the optimizer.
"""

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
"""Prefix of the flat names of the optimizer's settings."""


def space(row: Row, search: Search) -> dict[str, Setting]:
    """Return the settings to search for a row, by flat name.

    Args:
        row: The row.
        search: The search settings of the study.
    """
    settings: dict[str, Setting] = {}
    composed = _is_composed(row)

    for part in methods.parts(row.method):
        for name, setting in methods.schema(part).items():
            if setting.search is not None:
                settings[f"{part}.{name}" if composed else name] = setting

    for name in ("lr", "weight_decay"):
        span = getattr(search, name)
        if span is not None:
            settings[f"{RECIPE}{name}"] = Setting(name, float, None, None, LogUniform(*span))

    return settings


def nested(flat: Mapping[str, Any], row: Row) -> TunedSettings:
    """Convert settings by flat name to settings of the method and the recipe.

    Args:
        flat: The settings by flat name.
        row: The row that the settings belong to. Its own settings are kept unless `flat` overrides
            them.
    """
    composed = _is_composed(row)
    settings = deepcopy(row.settings)
    recipe: dict[str, Any] = {}

    for name, value in flat.items():
        part, _, key = name.rpartition(".")
        if name.startswith(RECIPE):
            recipe[key] = value
        elif composed:
            settings.setdefault(part, {})[key] = value
        else:
            settings[name] = value

    return TunedSettings(settings=settings, **recipe)


def published(
    row: Row, settings: Mapping[str, Setting], recipe: Recipe, location: str
) -> dict[str, Any]:
    """Return the settings of trial 0: those set in the study, and published values for the rest.

    Args:
        row: The row.
        settings: The searched settings by flat name.
        recipe: The row's recipe.
        location: Key path of the row in the study file, for messages.

    Raises:
        InputError: A value is outside its search space.
    """
    values: dict[str, Any] = {}
    composed = _is_composed(row)

    for name, setting in settings.items():
        part, _, key = name.rpartition(".")
        if name.startswith(RECIPE):
            value = getattr(recipe.optimizer, key)
            value_location = f"recipe.optimizer.{key}"
            if "optimizer" in row.recipe:
                value_location = f"{location}.{value_location}"
        else:
            own = row.settings.get(part, {}) if composed else row.settings
            value = own.get(key, setting.default)
            value_location = f"{location}.settings.{name}"

        if not _contains(setting, value):
            raise InputError(
                f"{value_location}: {value} is outside the search space ({setting.search}); "
                "trial 0 uses this value, so choose one inside it"
            )
        values[name] = value

    return values


def is_continuous(setting: Setting) -> bool:
    """Return whether a setting is searched over real numbers."""
    return setting.kind is float and not isinstance(setting.search, Choice)


def is_logarithmic(setting: Setting) -> bool:
    """Return whether a setting is searched on a logarithmic scale."""
    return isinstance(setting.search, LogUniform)


def _is_composed(row: Row) -> bool:
    return len(methods.parts(row.method)) > 1


def _contains(setting: Setting, value: Any) -> bool:
    """Return whether a value is in the search space of its setting."""
    search = setting.search
    if isinstance(search, Choice):
        return value in search.options

    assert search is not None
    return math.isfinite(value) and search.low <= value <= search.high
