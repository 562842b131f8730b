"""Recipes of rows that change a part of the study's recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from benchmark.study.messages import location_of, message_of
from benchmark.study.schema import Recipe
from benchmark.study.yamlfile import Location

_NAMED = ("optimizer", "schedule")
"""Sections that are chosen by a name; those of another name don't share their keys."""


def overridden(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with some of its keys replaced.

    Mappings are merged, so that all other keys keep their values; null restores a default. An
    optimizer or a schedule with another name replaces the whole section.

    Args:
        recipe: The recipe.
        changes: A part of a recipe, as in a study file.

    Raises:
        ValidationError: The result is not a valid recipe.
    """
    if not changes:
        return recipe
    return Recipe.model_validate(_merged(recipe.identity, changes))


def problems(recipe: Recipe, changes: Mapping[str, Any]) -> Iterator[tuple[Location, str]]:
    """Yield the location and the message of every mistake in the changes to a recipe."""
    try:
        overridden(recipe, changes)
    except ValidationError as error:
        for problem in error.errors():
            yield location_of(problem, Recipe), message_of(problem, Recipe)


def differences(recipe: Recipe, common: Recipe) -> str:
    """Describe how a recipe differs from the common one; empty if it doesn't.

    Returns:
        Text such as "epochs 24 instead of 12, optimizer.lr 0.1 instead of 0.05".
    """
    own = dict(_flat(recipe.identity))
    others = dict(_flat(common.identity))
    keys = [key for key in {**own, **others} if own.get(key) != others.get(key)]

    return ", ".join(
        f"{key} {_text(own.get(key))} instead of {_text(others.get(key))}" for key in keys
    )


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        before = base.get(key)
        if key in _NAMED and isinstance(value, str):
            value = {"name": value}

        if isinstance(before, Mapping) and isinstance(value, Mapping):
            same_name = key not in _NAMED or value.get("name", before["name"]) == before["name"]
            merged[key] = _merged(before, value) if same_name else value
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, with names joined by dots."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
