"""What applies to one study, of all that the plug-ins of a process have registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.plugins.kinds import METRICS, Metric
from benchmark.plugins.loading import Plugin, foreign_modules


def metrics_of(references: Sequence[str], source: str) -> list[Metric]:
    """Return the metrics of a study, without those that only another study's plug-ins register.

    Args:
        references: The plug-ins that the study names.
        source: The study's file.
    """
    own = [Plugin(reference, Path(source).parent) for reference in references]
    foreign = foreign_modules(own)
    return [entry.value for entry in METRICS.entries() if entry.origin not in foreign]
