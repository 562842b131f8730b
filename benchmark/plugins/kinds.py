"""The kinds of things, besides methods and timm models, that a plug-in can add to kdbench.

Each is a decorator:

    from kdbench import plugins

    @plugins.metric("nll", title="NLL", help="Negative log-likelihood.", higher_is_better=False)
    def nll(logits, labels, teacher):
        return F.cross_entropy(logits, labels).item()

A study names the plug-in's file or module under `plugins`, and then uses what it adds by name.
Whatever decides the weights of a network is part of its identity: after a change of the code,
kdbench trains again what depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmark.errors import InputError
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


AUGMENTATIONS: Registry[Callable[..., Any]] = Registry("augmentation")
DATA_SOURCES: Registry[Callable[..., Any]] = Registry(
    "data set", ("digits", "torch", "hfds", "folder")
)
METRICS: Registry[Metric] = Registry("metric", BY_COLUMN)
OPTIMIZERS: Registry[Callable[..., Any]] = Registry("optimizer", ("sgd", "adamw", "dot"))
SCHEDULES: Registry[Callable[..., Any]] = Registry(
    "schedule", ("cosine", "step", "constant", "polynomial", "onecycle")
)

REGISTRIES: tuple[Registry[Any], ...] = (
    AUGMENTATIONS,
    DATA_SOURCES,
    METRICS,
    OPTIMIZERS,
    SCHEDULES,
)


def augmentation(name: str) -> Callable[[F], F]:
    """Register an augmentation, which a recipe uses as `augmentation: {own: [NAME]}`.

    The function is called as `function(images, generator, **settings)` with a batch of training
    images, float32 [N, 3, H, W] in [0, 1] on the device, after all other augmentations, and a
    generator on the CPU for all random draws. It returns the images, of the same shape and type.

    Args:
        name: Name of the augmentation.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _adding(AUGMENTATIONS, name)


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
    return _adding(DATA_SOURCES, name)


def optimizer(name: str) -> Callable[[F], F]:
    """Register an optimizer, which a recipe uses as `optimizer: {name: NAME, lr: ...}`.

    The function is called as `function(parameters, lr=..., weight_decay=..., **settings)` and
    returns a `torch.optim.Optimizer`. Its state must be complete in `state_dict()`.

    Args:
        name: Name of the optimizer.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _adding(OPTIMIZERS, name)


def schedule(name: str) -> Callable[[F], F]:
    """Register a learning-rate schedule, which a recipe uses as `schedule: NAME`.

    The function is called as `function(progress, **settings)`, where `progress` rises from 0 at the
    first step after warm-up towards 1 at the end, and returns the factor applied to the learning
    rate.

    Args:
        name: Name of the schedule.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _adding(SCHEDULES, name)


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


def _adding(registry: Registry[Callable[..., Any]], name: str) -> Callable[[F], F]:
    """Return a decorator that adds a function to a registry."""

    def add(function: F) -> F:
        if not callable(function):
            raise InputError(f"{registry.kind} {name!r}: decorate a function, not {function!r}")
        registry.add(name, function, function)
        return function

    return add
