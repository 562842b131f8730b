"""Accuracies published by others. They come from other training runs and are only displayed.

`published.csv` has a line for each method, pair of networks and source: top-1 accuracy on the test
images in percent, its standard deviation if one was given, and the rule that chose the tested
epoch, one of `RULES`. Of the lines of one method and pair, only the first is shown. Their order of
precedence is the table of the method's authors, then RepDistiller, mdistiller,
logit-standardization-KD, TTM and ITRD. All of them train for 240 epochs (`mlld` for 480 or more) on
all 50,000 training images. Tables whose teachers differ from RepDistiller's, and methods with
settings other than this project's, are omitted.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from benchmark.leaderboard.rows import Row
from benchmark.study.plan import TEACHER, Plan

COLUMNS = ("method", "dataset", "teacher", "student", "value", "sd", "source", "rule")

RULES = ("last", "best on test", "unknown")
"""How the tested epoch was chosen: the last, the best on the test images, or not stated."""

NETWORKS = ("dataset", "teacher", "student")
"""Tags of a run that determine which published accuracy is shown beside it."""


def read() -> pd.DataFrame:
    """Return the whole table, with the columns `COLUMNS`."""
    return _table().copy()


def of(dataset: str, teacher: str, student: str, method: str) -> pd.DataFrame:
    """Return the lines for one method and pair; the first is the one to show.

    Args:
        dataset: Name of the data set; a source prefix such as `torch/` is ignored.
        teacher: Name of the teacher's network.
        student: Name of the student's network.
        method: Name of the method.
    """
    name = dataset.rpartition("/")[2]
    lines = _lines().get((name, teacher, student, method))
    return _table().iloc[:0] if lines is None else lines.copy()


def published_columns(row: Row, plan: Plan) -> dict[str, Any]:
    """Return the published accuracy for a row's networks and method, from the first source.

    Rows that were tuned, or whose settings the study changed, have no published accuracy.
    """
    columns: dict[str, Any] = {
        "published": math.nan,
        "published_source": "",
        "published_rule": "",
    }
    trained = {tuple(str(run.get(tag, "")) for tag in NETWORKS) for run in row.finished.values()}
    changed = row.method in plan.altered or bool(plan.trials.get(row.method))
    if row.method == TEACHER or changed or len(trained) != 1:
        return columns

    ((dataset, teacher, student),) = trained
    lines = of(dataset, teacher, student, row.method)
    if len(lines):
        first = lines.iloc[0]
        columns["published"] = first["value"]
        columns["published_source"] = first["source"]
        columns["published_rule"] = first["rule"]
    return columns


@cache
def _lines() -> dict[tuple[str, ...], pd.DataFrame]:
    """Return the lines of the table by data set, teacher, student and method."""
    groups = _table().groupby([*NETWORKS, "method"], sort=False)
    return {tuple(map(str, key)): lines.reset_index(drop=True) for key, lines in groups}


@cache
def _table() -> pd.DataFrame:
    with (files(__package__ or "") / "published.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return table.astype({"value": "float64", "sd": "float64"})
