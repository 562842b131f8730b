"""The kinds of things, besides methods and timm models, that a plug-in can add to kdbench.

Each is a decorator:

    from kdbench import plugins

    @plugins.metric("nll", title="NLL", help="Negative log-likelihood.", higher_is_better=False)
    def nll(logits, labels, teacher):
        return F.cross_entropy(logits, labels).item()

A study names the plug-in's file or module under `plugins`, and then uses what it adds by name.
The code of a data set is part of the identity of the networks trained on it; that of a metric is
not, because metrics are computed after training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.measures import BY_COLUMN, Measure
from benchmark.plugins.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Metric:
    """A quality metric of finished networks.

    Attributes:
        measure: Its key, column and presentation.
        compute: Returns its value; see `metric`.
    """

    measure: Measure
    compute: Callable[..., float]


DATA_SOURCES: Registry[Callable[..., Any]] = Registry(
    "data set", ("digits", "torch", "hfds", "folder")
)
METRICS: Registry[Metric] = Registry("metric", BY_COLUMN)

REGISTRIES: tuple[Registry[Any], ...] = (DATA_SOURCES, METRICS)


def data_source(name: str) -> Callable[[F], F]:
    """Register a data set, which a study uses as `dataset: NAME`.

    The function is called as `function(**settings)`, with the settings of the study's section
    `dataset`. It returns `Arrays`, a pair of map-style PyTorch data sets (training, test) whose
    items are (image, label), or the path of a folder as for `folder/<path>`.

    Args:
        name: Name of the data set.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """

    def add(function: F) -> F:
        DATA_SOURCES.add(name, function, function)
        return function

    return add


def metric(
    column: str,
    *,
    title: str,
    help: str,
    short: str = "",
    unit: str = "",
    digits: int = 2,
    higher_is_better: bool = True,
) -> Callable[[F], F]:
    """Register a quality metric, which every network of a study is then evaluated by.

    The function is called as `function(logits, labels, teacher)` with the logits [N, classes] of
    the test samples, float32, their labels, int64 [N], and the teacher's logits [N, classes] or
    None. It returns a number.

    Args:
        column: Name of the column in tables; the metric is logged as `test/COLUMN`.
        title: Header in tables and figures.
        help: Definition, in one sentence.
        short: Header where space is tight.
        unit: Unit of the value, such as `%`.
        digits: Number of decimals in tables.
        higher_is_better: Whether higher values are better.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    measure = Measure(
        key=f"test/{column}",
        column=column,
        title=title,
        help=help,
        short=short,
        unit=unit,
        digits=digits,
        importance=35,
        higher_is_better=higher_is_better,
    )

    def add(function: F) -> F:
        METRICS.add(column, Metric(measure, function), function)
        return function

    return add
