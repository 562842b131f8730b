"""The content of `summary.json`: the result of a study for programs that read results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.errors import InputError
from benchmark.leaderboard.headline import headline
from benchmark.study.plan import Plan, from_dict, to_dict

FORMAT = 1
"""Version of the content; a change that older readers cannot read takes the next number."""


@dataclass(frozen=True)
class Summary:
    """The result of a study.

    Attributes:
        plan: What the study set out to compare, without cells and teachers.
        headline: The result in one sentence.
        provenance: A line for every environment in which networks were trained.
    """

    plan: Plan
    headline: str
    provenance: tuple[str, ...]


def summary(board: pd.DataFrame, plan: Plan, provenance: Sequence[str]) -> dict[str, Any]:
    """Return the content of `summary.json`: plain data with sorted keys.

    Args:
        board: The leaderboard.
        plan: The plan of the study.
        provenance: The lines that `provenance.provenance` returns.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "headline": headline(board, plan),
        "plan": to_dict(plan.for_tables()),
        "provenance": list(provenance),
    }
    ordered: dict[str, Any] = json.loads(json.dumps(content, sort_keys=True))
    return ordered


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        InputError: The file cannot be read, or is not a summary.
    """
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        name = path.parent.name
        raise InputError(
            f"{path}: damaged, or written by a later version; `kdbench leaderboard {name}` "
            "writes it again"
        ) from None


def _parse(content: Any) -> Summary:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"not a summary of format {FORMAT}")
    try:
        sentence = content["headline"]
        lines = content["provenance"]
        plan = from_dict(content["plan"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a summary of format {FORMAT}") from error
    return Summary(plan, str(sentence), tuple(map(str, lines)))
