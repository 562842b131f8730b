"""Plug-ins: a researcher's own methods, models, data sets, metrics and parts of recipes.

`kinds` contains the decorators by which a plug-in adds things, `loading` imports plug-ins.
"""

from benchmark.plugins.arrays import Arrays
from benchmark.plugins.kinds import (
    Moment,
    augmentation,
    data_source,
    metric,
    optimizer,
    schedule,
)

__all__ = [
    "Arrays",
    "Moment",
    "augmentation",
    "data_source",
    "metric",
    "optimizer",
    "schedule",
]
