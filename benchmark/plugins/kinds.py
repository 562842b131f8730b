"""The kinds of things, besides methods and timm models, that a plug-in can add to kdbench.

Each has a decorator:

    from kdbench import plugins

    @plugins.metric("nll", title="NLL", help="Negative log-likelihood.", higher_is_better=False)
    def nll(logits, labels, teacher):
        return F.cross_entropy(logits, labels).item()

A study names the plug-in's file or module under `plugins`, and then uses what it adds by name.
All their code is part of the identity of the networks that are trained with them, except that of
metrics, which are computed after training.
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
OPTIMIZERS: Registry[Callable[..., Any]] = Registry(
    "optimizer", ("sgd", "adamw", "dot"), arguments=3
)
SCHEDULES: Registry[Callable[..., float]] = Registry(
    "schedule", ("cosine", "step", "constant", "polynomial", "onecycle"), arguments=1
)
AUGMENTATIONS: Registry[Callable[..., Any]] = Registry("augmentation", arguments=2)

REGISTRIES: tuple[Registry[Any], ...] = (
    AUGMENTATIONS,
    DATA_SOURCES,
    METRICS,
    OPTIMIZERS,
    SCHEDULES,
)


@dataclass(frozen=True)
class Moment:
    """A step after the warm-up, in relation to the whole training.

    Attributes:
        epoch: Index of the epoch, counted from 0, warm-up included.
        now: Number of steps since the warm-up.
        total: Number of steps from the warm-up to the end of the training.
    """

    epoch: int
    now: int
    total: int


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
    return _decorator(DATA_SOURCES, name)


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


def optimizer(name: str) -> Callable[[F], F]:
    """Register an optimizer, which a study uses as `recipe: {optimizer: {name: NAME}}`.

    The function is called as `function(parameters, lr, weight_decay, **settings)`, with the
    settings of the study's section, and returns a `torch.optim.Optimizer`. Its method `step` is
    called without a closure. So that trainings can be resumed, all that it remembers must be
    tensors in its `state`.

    Args:
        name: Name of the optimizer.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _decorator(OPTIMIZERS, name)


def schedule(name: str) -> Callable[[F], F]:
    """Register a schedule, which a study uses as `recipe: {schedule: {name: NAME}}`.

    The function is called as `function(moment, **settings)` with a `Moment`, and returns the
    learning rate divided by the recipe's `lr`. It must depend on its arguments alone.

    Args:
        name: Name of the schedule.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _decorator(SCHEDULES, name)


def augmentation(name: str) -> Callable[[F], F]:
    """Register an augmentation, which a study uses as `recipe: {augmentation: {own: [NAME]}}`.

    The function is called as `function(images, generator, **settings)` with a batch of training
    images, float32 [N, C, H, W] in [0, 1] on the device, and a `torch.Generator` of the CPU. It
    returns images of the same shape and type. All its randomness must come from the generator.

    Args:
        name: Name of the augmentation.

    Raises:
        InputError: The name is not a plain word, or is already taken.
    """
    return _decorator(AUGMENTATIONS, name)


def _decorator(registry: Registry[Callable[..., Any]], name: str) -> Callable[[F], F]:
    def add(function: F) -> F:
        registry.add(name, function, function)
        return function

    return add
