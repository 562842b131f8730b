"""Configurations of a Hugging Face data set: variants, of which a study names one."""

from __future__ import annotations

import re

from benchmark.errors import suggest
from benchmark.wording import listed

_QUOTED = re.compile(r"'([^']+)'")


def configuration_problem(message: str, chosen: str | None) -> str:
    """Explain an error of the `datasets` library about the configuration of a data set.

    Args:
        message: The library's message.
        chosen: The configuration that the study names, if any.

    Returns:
        What is wrong and what to do; empty if the error is about something else.
    """
    if "Config name is missing" in message:
        names = _names(message.partition("[")[2].partition("]")[0])
        return f"has several configurations; set config to one of {listed(names)}"

    if chosen is not None and "BuilderConfig" in message and "not found" in message:
        names = _names(message.partition("Available:")[2])
        return f"has no configuration {chosen!r}; {suggest(chosen, names)}"
    return ""


def _names(text: str) -> list[str]:
    names: list[str] = _QUOTED.findall(text)
    return names
