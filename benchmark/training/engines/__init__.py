"""How the device runs the steps of a cohort: one file for each engine."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.training.conditions import Conditions
from benchmark.training.engines.base import Engine
from benchmark.training.engines.eager import Eager
from benchmark.training.engines.graphs import Graphs

__all__ = ["Engine", "create"]


def create(conditions: Conditions, warn: Callable[[str], None]) -> Engine:
    """Return the engine of a cohort.

    Args:
        conditions: The conditions of the cohort, which name its engine.
        warn: Receives a line if steps run otherwise than chosen.
    """
    if conditions.engine.uses_graphs(conditions.data.device.type):
        return Graphs(conditions, warn)
    return Eager()
