"""`summary.json`: the plan, the headline and the provenance of a leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.study.plan import Plan, from_dict, to_dict

FILE = "summary.json"


@dataclass(frozen=True)
class Summary:
    """What `summary.json` holds."""

    plan: Plan
    headline: str
    provenance: Sequence[str]


def to_json(summary: Summary) -> str:
    """Return the content of the file."""
    content = {
        "plan": to_dict(summary.plan.for_tables()),
        "headline": summary.headline,
        "provenance": list(summary.provenance),
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Summary(from_dict(content["plan"]), str(content["headline"]), content["provenance"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: damaged") from None
