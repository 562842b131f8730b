"""How all pictures look: their type, and colours that colour-blind readers tell apart (those of Okabe and Ito)."""

from __future__ import annotations

from typing import Any

from benchmark.plan import TEACHER, Plan

BLUE, GREEN, VERMILION, GREY = "#0072B2", "#009E73", "#D55E00", "#666666"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "kdbench",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name may hold a dollar sign
}


def colour_of(method: str, plan: Plan) -> str:
    """Of a row: teacher and student alone have their own."""
    return {TEACHER: VERMILION, plan.baseline: GREEN}.get(method, BLUE)
