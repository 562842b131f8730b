"""Splits inputs into training and validation sets, and counts duplicates across parts."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.study.schema import Split


def stratified(labels: Tensor, count: int, key: str) -> Tensor:
    """Choose inputs so that each class keeps its proportion, by the largest-remainder method.

    Inputs of a class are chosen by a hash of key and index, so the choice is the same on every
    machine and with every library version.

    Args:
        labels: The label of each input, int64 [N].
        count: How many inputs to choose.
        key: Seed string of the choice; different keys choose different inputs.

    Returns:
        The sorted indices of the chosen inputs, int64 [count].
    """
    classes, sizes = np.unique(labels.numpy(), return_counts=True)
    exact = sizes * (count / len(labels))
    quotas = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - quotas), kind="stable")
    quotas[by_remainder[: count - quotas.sum()]] += 1

    chosen: list[int] = []
    for label, quota in zip(classes, quotas, strict=True):
        indices = np.flatnonzero(labels.numpy() == label).tolist()
        indices.sort(key=lambda index: hashlib.sha256(f"{key}/{index}".encode()).digest())
        chosen += indices[:quota]

    return torch.tensor(sorted(chosen), dtype=torch.int64)


def without(count: int, indices: Tensor) -> Tensor:
    """Return the sorted numbers from 0 to count - 1 that are not among `indices`."""
    keep = torch.ones(count, dtype=torch.bool)
    keep[indices] = False
    return keep.nonzero().flatten()


def divide(labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """Split a source's training inputs into a training set and a validation set.

    Args:
        labels: Labels of all the source's training inputs, int64 [N].
        split: How to split them.

    Returns:
        The sorted indices of the training set and of the validation set.

    Raises:
        InputError: One of the two sets would be empty, or `train_samples` exceeds the number of
            inputs left for training.
    """
    total = len(labels)
    val_count = _count(split.val, total)
    if not (split.legacy or 0 < val_count < total):
        raise InputError(
            f"split.val: {split.val:g} selects {val_count} of {total} images; leave at least one "
            "for validation and one for training"
        )

    val = stratified(labels, val_count, f"{split.seed}/val")
    train = without(total, val)
    if split.train_samples is None:
        return train, val

    train_count = _count(split.train_samples, len(train))
    if not 0 < train_count <= len(train):
        raise InputError(
            f"split.train_samples: {split.train_samples:g} selects {train_count} images; choose "
            f"between 1 and {len(train)}, the number of images left for training"
        )

    return train[stratified(labels[train], train_count, f"{split.seed}/train")], val


def test_part(labels: Tensor, split: Split) -> Tensor | None:
    """Choose the test inputs to use.

    Args:
        labels: Labels of all the source's test inputs, int64 [N].
        split: How to choose.

    Returns:
        The sorted indices of the chosen inputs; None if all are used.

    Raises:
        InputError: `test_samples` chooses no input, or more than there are.
    """
    if split.test_samples is None:
        return None

    count = _count(split.test_samples, len(labels))
    if not 0 < count <= len(labels):
        raise InputError(
            f"split.test_samples: {split.test_samples:g} selects {count} images; choose between 1 "
            f"and {len(labels)}, the number of test images"
        )
    return stratified(labels, count, f"{split.seed}/test")


def _count(portion: float, total: int) -> int:
    """Convert a share (below 1) or a number of inputs to a number of inputs."""
    return round(total * portion) if portion < 1 else int(portion)


def duplicates(
    twins: list[list[int]], train: Tensor, val: Tensor, total: int, test: Tensor | None = None
) -> dict[str, int]:
    """Count inputs with identical content across the training, validation and test parts.

    Args:
        twins: Groups of identical inputs, as indices into the source's training inputs followed by
            its test inputs.
        train: Indices of the training set.
        val: Indices of the validation set.
        total: Number of the source's training inputs.
        test: Indices of the test inputs that are used; None if all are.

    Returns:
        For each pair of parts "a/b", the number of inputs of b that are also in a.
    """
    part_of = dict.fromkeys(train.tolist(), "train") | dict.fromkeys(val.tolist(), "val")
    tested = None if test is None else set((test + total).tolist())
    counts = {"train/val": 0, "train/test": 0, "val/test": 0}
    for group in twins:
        parts = [
            part_of.get(index) if index < total else _test_or_none(index, tested) for index in group
        ]
        for first, second in combinations(("train", "val", "test"), 2):
            if first in parts:
                counts[f"{first}/{second}"] += parts.count(second)

    return counts


def _test_or_none(index: int, tested: set[int] | None) -> str | None:
    """Return the part of a test input; None if the input is not used."""
    return "test" if tested is None or index in tested else None
