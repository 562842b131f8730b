"""Turns pydantic's validation errors into messages about a study file."""

from __future__ import annotations

import re
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from benchmark.errors import similar, suggest
from benchmark.study.schema import short_repr
from benchmark.study.yamlfile import Location

Models: TypeAlias = list[type[BaseModel]]

_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")


def key_of(location: Location) -> str:
    """Format a location as a key path, such as `pairs[0].teacher.recipe`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return "".join(parts).lstrip(".")


def location_of(error: ErrorDetails, model: type[BaseModel]) -> Location:
    """Return the location of a pydantic error in the data of `model`."""
    location, _, _ = _walk(error["loc"], model)
    return location


def without_misspelt(errors: list[ErrorDetails], model: type[BaseModel]) -> list[ErrorDetails]:
    """Return the errors without those that follow from a misspelt key.

    A required key that is misspelt is both unknown and missing; the hint for the unknown key says
    all that there is to say.
    """
    meant = {
        (*error["loc"][:-1], key)
        for error in errors
        if error["type"] == "extra_forbidden"
        for key in _meant(error["loc"], model)
    }
    return [error for error in errors if error["type"] != "missing" or error["loc"] not in meant]


def message_of(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Return a message that says what is wrong and how to fix it."""
    kind, message = error["type"], error["msg"]

    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], model)
    if kind == "missing":
        return "missing; this key is required"
    if kind == "value_error":
        return message.removeprefix("Value error, ")

    if kind == "list_type":
        return f"is {short_repr(error['input'])}; it must be a list: [{short_repr(error['input'])}]"

    if isinstance(error["input"], str) and _DECIMAL_COMMA.fullmatch(error["input"]):
        number = error["input"].replace(",", ".")
        return f"is {short_repr(error['input'])}; write a decimal point: {number}"

    message = message.replace("Input should", "it must", 1)
    return f"is {short_repr(error['input'])}; {message[0].lower()}{message[1:]}"


def _meant(location: Location, model: type[BaseModel]) -> list[str]:
    """Return the key that a misspelt key probably stands for, if there is one."""
    _, models, _ = _walk(location[:-1], model)
    return similar(str(location[-1]), _keys(models))


def _unknown_key(location: Location, model: type[BaseModel]) -> str:
    """Return a hint for an unknown or inapplicable key."""
    key = str(location[-1])
    _, models, alternatives = _walk(location[:-1], model)

    if key in _keys(alternatives):
        return "has no effect here; remove it"
    return f"unknown key; {suggest(key, _keys(models))}"


def _walk(location: Location, model: type[BaseModel]) -> tuple[Location, Models, Models]:
    """Resolve a pydantic error location against the models.

    Returns:
        The location without pydantic's tags for union members, the possible models of the value at
        that location, and all members of the last union on the path.
    """
    keys: list[str | int] = []
    models: Models = [model]
    alternatives: Models = []

    for part in location:
        tagged = [member for member in models if member.__name__ == part]
        if len(models) > 1 and tagged:
            models, alternatives = tagged, models
            continue

        keys.append(part)
        fields = [member.model_fields[part] for member in models if part in member.model_fields]
        if fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]

    return tuple(keys), models, alternatives


def _models_in(annotation: Any) -> Models:
    """Return the models within an annotation such as `list[Pair]` or `Recipe | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _keys(models: Models) -> set[str]:
    return {key for model in models for key in model.model_fields}
