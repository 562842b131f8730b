"""Accuracies that others published, for a column of their own: they come from other trainings, so nothing is computed.

`published.csv` has a line for each method, pair of networks and source: top-1 accuracy on the test images in percent,
its standard deviation where one was given, and by which rule the tested epoch was chosen, one of `RULES`. Lines of one
method and pair are in the order in which they are shown: the table of the method's authors, then RepDistiller,
mdistiller, logit-standardization-KD, TTM and ITRD. All of them train for 240 epochs (`mlld` for 480 or more) on all
50,000 training images. Left out are tables whose teachers differ from RepDistiller's, and methods with other settings
than this project's.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

COLUMNS = ("method", "dataset", "teacher", "student", "value", "sd", "source", "rule")

RULES = ("last", "best on test", "unknown")
"""How the tested epoch was chosen: the last one, the one that is best on the test images, or the source is silent."""


def read() -> pd.DataFrame:
    """The whole table, with the columns `COLUMNS`."""
    return _table().copy()


def of(dataset: str, teacher: str, student: str, method: str) -> pd.DataFrame:
    """The lines for one method and pair, the one to show first; of a data set the last part of its name counts."""
    table = _table()
    same = (
        (table["teacher"] == teacher) & (table["student"] == student) & (table["method"] == method)
    )
    return table[same & (table["dataset"] == dataset.rpartition("/")[2])].reset_index(drop=True)


@cache
def _table() -> pd.DataFrame:
    with (files("benchmark.leaderboard") / "published.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return table.astype({"value": "float64", "sd": "float64"})
