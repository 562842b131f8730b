"""`summary.json`: the result of a study, in a form that programs can read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.study.plan import Plan, from_dict, to_dict

FILE = "summary.json"

FORMAT = 1
"""Version of the file format; incremented by changes that older readers cannot handle."""


@dataclass(frozen=True)
class Summary:
    """The result of a study.

    Attributes:
        plan: The study's plan; its cells and teachers are not written.
        headline: The result in one sentence.
        provenance: A line for every environment in which networks were trained.
    """

    plan: Plan
    headline: str
    provenance: Sequence[str]


def to_json(summary: Summary) -> str:
    """Return the content of the file."""
    content = {
        "format": FORMAT,
        "headline": summary.headline,
        "plan": to_dict(summary.plan.for_tables()),
        "provenance": list(summary.provenance),
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        InputError: The file cannot be read, is damaged, or has another format.
    """
    remedy = f"`kdbench leaderboard {path.parent.name}` writes it again"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(f"{path}: format: {content['format']}, not {FORMAT}; {remedy}")
        return _parse(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: damaged; {remedy}") from None


def _parse(content: dict[str, Any]) -> Summary:
    plan = from_dict(content["plan"])
    return Summary(plan, str(content["headline"]), tuple(map(str, content["provenance"])))
