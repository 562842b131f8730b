"""Rows of the leaderboard: methods with their settings."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from benchmark.study.schema.base import Name, Strict, name_is_optional


def _without_spaces(method: str) -> str:
    """Remove spaces from a composition, whose spelling is part of a cell's identity."""
    return re.sub(r"\s*([+()])\s*", r"\1", method).strip()


class TunedSettings(Strict):
    """Settings that a search chose for one pair."""

    settings: dict[str, Any] = {}
    """Settings of the method."""

    lr: Annotated[float, Field(gt=0)] | None = None
    """Learning rate, if it was searched."""

    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay, if it was searched."""


class Row(Strict):
    """A method, or a composition such as `kd+at`, with its settings.

    `kdbench run --settings tuned` adds a tuned row for each row that `kdbench tune` searched, with
    `found`, `trials` and `search_tmac` from the file that it wrote.
    """

    model_config = ConfigDict(json_schema_extra=name_is_optional)

    name: Name
    """Name of the row. The default is the method."""

    method: Annotated[str, AfterValidator(_without_spaces)]
    """Name of the method (`kdbench methods`)."""

    settings: dict[str, Any] = {}
    """Settings of the method (`kdbench methods NAME`). All others keep their published values."""

    recipe: dict[str, Any] = {}
    """The part of the study's recipe that this row changes, such as
    `{epochs: 24, optimizer: {lr: 0.1}}`; null restores a default. An optimizer or a schedule with
    another name replaces the whole section. Such a row is shown, but neither ranked nor compared
    with the others."""

    found: dict[str, TunedSettings] = {}
    """Settings that a search chose, by pair. They override `settings`."""

    trials: Annotated[int, Field(ge=0)] = 0
    """Number of trials of that search."""

    search_tmac: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Compute of that search in 10^12 multiply-accumulates, by pair."""

    @model_validator(mode="before")
    @classmethod
    def _set_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value:
            return {"name": _without_spaces(str(value.get("method", "row"))), **value}
        return value
