"""Plug-ins: a researcher's own methods, models, data, augmentations, metrics and optimizers.

`kinds` contains the decorators by which a plug-in adds things, `loading` imports plug-ins.
"""

from benchmark.plugins.arrays import Arrays
from benchmark.plugins.kinds import augmentation, data_source, metric, optimizer, schedule

__all__ = ["Arrays", "augmentation", "data_source", "metric", "optimizer", "schedule"]
