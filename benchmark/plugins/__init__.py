"""Plug-ins: a researcher's own methods, models, data sets and metrics.

`kinds` contains the decorators by which a plug-in adds things, `loading` imports plug-ins.
"""

from benchmark.plugins.arrays import Arrays
from benchmark.plugins.kinds import data_source, metric

__all__ = ["Arrays", "data_source", "metric"]
