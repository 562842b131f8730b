"""How all pictures look: their type, and colours that colour-blind readers tell apart (those of Okabe and Ito)."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from benchmark.study.plan import TEACHER, Plan

BLUE, GREEN, VERMILION, GREY = "#0072B2", "#009E73", "#D55E00", "#666666"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "kdbench",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name may hold a dollar sign
}


def colour_of(method: str, plan: Plan) -> str:
    """Of a row: teacher and student alone, tuned or not, have their own."""
    return VERMILION if method == TEACHER else GREEN if method in plan.alone else BLUE


@lru_cache(maxsize=4096)
def wide(text: str, size: float = 8, weight: str = "normal") -> float:
    """The inches that a line takes."""
    font = FontProperties(family=STYLE["font.family"], size=size, weight=weight)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrapped(text: str, inches: float, size: float = 8, weight: str = "normal") -> str:
    """A text in lines that take no more than so many inches."""
    for letters in range(len(text), 1, -1):
        lines = textwrap.wrap(text, letters)
        if all(wide(line, size, weight) <= inches for line in lines):
            return "\n".join(lines)
    return text


def heading(text: str, inches: float) -> str:
    """The title of a picture, as `suptitle` draws it, in lines that fit into so wide a picture."""
    return wrapped(text, inches - 0.2, 11, "bold")


def further(text: str, size: float = 8) -> float:
    """The inches that the lines of a text after its first take in height."""
    return text.count("\n") * 1.25 * size / 72
