"""Turns the labels of a source into classes 0 to K - 1, the same in both parts.

Sources with named classes have one class per name; the names decide, not their order. Without
names, each label that occurs in training is a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.wording import counted, listed


@dataclass(frozen=True)
class RawLabels:
    """The labels of a part, as its source gives them.

    Attributes:
        values: The label of each image.
        where: Where the labels come from, for messages.
        names: Name of the class of each label, if known.
        remedy: What to do if a label is wrong.
    """

    values: Sequence[Any]
    where: str
    names: Sequence[str] = ()
    remedy: str = "correct it"


@dataclass(frozen=True)
class Labels:
    """The labels of both parts of a source.

    Attributes:
        train: Labels of the training images, int64 [N].
        test: Labels of the test images, int64 [N].
        classes: Number of classes.
        names: Name of each class; empty if they are only numbers, counted from 0.
        remarks: What a user should know about the labels.
    """

    train: Tensor
    test: Tensor
    classes: int
    names: tuple[str, ...]
    remarks: tuple[str, ...]


def assign_classes(train: RawLabels, test: RawLabels) -> Labels:
    """Turn the labels of both parts into classes.

    Raises:
        InputError: A label is missing, is not an integer, or belongs to no class, or the two parts
            have different classes. The message has a line for every problem.
    """
    named = bool(train.names or test.names)
    if named and sorted(train.names) != sorted(test.names):
        raise InputError(_different_classes(train, test))

    problems = [_problem(train), _problem(test)]
    if not named and not problems[1]:
        problems.append(_unknown_in_training(train, test))
    problems = [problem for problem in problems if problem]
    if problems:
        raise InputError(*problems)

    return _by_name(train, test) if named else _by_number(train, test)


def _by_name(train: RawLabels, test: RawLabels) -> Labels:
    """Assign named classes; labels of the test part are mapped to the class of the same name."""
    names = tuple(train.names)
    remarks: list[str] = []
    test_values = list(test.values)
    if tuple(test.names) != names:
        if len(set(names)) < len(names):
            raise InputError(_different_classes(train, test))
        index = {name: number for number, name in enumerate(names)}
        test_values = [index[test.names[value]] for value in test_values]
        remarks.append(
            f"{test.where} names its classes in another order than the training images; labels are "
            "matched by name"
        )

    present = set(train.values)
    absent = [name for label, name in enumerate(names) if label not in present]
    if absent:
        noun = "class" if len(absent) == 1 else "classes"
        remarks.append(f"{train.where} has no images of the {noun} {listed(absent)}")
    return Labels(_tensor(train.values), _tensor(test_values), len(names), names, tuple(remarks))


def _by_number(train: RawLabels, test: RawLabels) -> Labels:
    """Assign a class to each label that occurs in training, in ascending order."""
    labels = sorted(set(train.values))
    if labels == list(range(len(labels))):
        return Labels(_tensor(train.values), _tensor(test.values), len(labels), (), ())

    index = {label: number for number, label in enumerate(labels)}
    names = tuple(str(label) for label in labels)
    remark = (
        f"{train.where} has the labels {listed(names)}; they become the classes 0 to "
        f"{len(labels) - 1}"
    )
    return Labels(
        train=_mapped(train.values, index),
        test=_mapped(test.values, index),
        classes=len(labels),
        names=names,
        remarks=(remark,),
    )


def _mapped(values: Sequence[int], index: Mapping[int, int]) -> Tensor:
    return _tensor([index[value] for value in values])


def _tensor(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def _problem(part: RawLabels) -> str:
    """Return what is wrong with the first bad label of a part; empty if all are well."""
    for number, value in enumerate(part.values):
        if value is None:
            missing = sum(other is None for other in part.values)
            return (
                f"dataset: {part.where}: {counted(missing, 'label')} of {len(part.values)} "
                f"{'is' if missing == 1 else 'are'} null (None), first that of image {number}; "
                "give every image a label, or remove it"
            )

        is_integer = isinstance(value, int) and not isinstance(value, bool)
        if not is_integer or value < 0:
            return (
                f"dataset: {part.where} contains the label {value!r}; labels must be integers, not "
                f"negative; {part.remedy}"
            )
        if part.names and value >= len(part.names):
            return (
                f"dataset: {part.where} contains the label {value!r}, but there are names for only "
                f"{counted(len(part.names), 'class', 'classes')}; {part.remedy}"
            )
    return ""


def _unknown_in_training(train: RawLabels, test: RawLabels) -> str:
    """Return a problem if test images have labels that no training image has; else nothing."""
    unknown = sorted(set(test.values) - set(train.values))
    if not unknown:
        return ""

    noun = "label" if len(unknown) == 1 else "labels"
    return (
        f"dataset: {test.where} contains the {noun} {listed([str(label) for label in unknown])}, "
        f"which no training image has; {test.remedy}"
    )


def _different_classes(train: RawLabels, test: RawLabels) -> str:
    """Say how the classes of the two parts differ."""
    only = [
        f"only {part.where} has {listed(sorted(extra))}"
        for part, other in ((train, test), (test, train))
        if (extra := set(part.names) - set(other.names))
    ]
    detail = f" ({'; '.join(only)})" if only else ""
    return f"dataset: {train.where} and {test.where} have different classes{detail}; {train.remedy}"
