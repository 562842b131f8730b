"""Which inputs train and which validate, and how many equal inputs the parts share."""

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

    A hash of the key and the index decides which inputs of a class are chosen, so the choice is
    the same on every machine and with every version of every library.

    Args:
        labels: The label of each input, int64 [N].
        count: How many inputs to choose.
        key: Name of the choice; another key chooses other inputs.

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
    """Divide a source's training inputs into those that train and those that validate.

    Args:
        labels: Labels of all training inputs of the source, int64 [N].
        split: How to divide them.

    Returns:
        The sorted indices of the training and of the validation inputs.

    Raises:
        InputError: The split leaves nothing for one of the two.
    """
    total = len(labels)
    val_count = _count(split.val, total)
    if not (split.legacy or 0 < val_count < total):
        raise InputError(
            f"split.val is {split.val:g}: {val_count} of {total} images for validation; "
            "leave at least one for validation and one for training"
        )

    val = stratified(labels, val_count, f"{split.seed}/val")
    train = without(total, val)
    if split.train_samples is None:
        return train, val

    train_count = _count(split.train_samples, len(train))
    if not 0 < train_count <= len(train):
        raise InputError(
            f"split.train_samples is {split.train_samples:g}: {train_count} images; "
            f"choose between 1 and the {len(train)} that the split leaves for training"
        )

    return train[stratified(labels[train], train_count, f"{split.seed}/train")], val


def _count(portion: float, total: int) -> int:
    """Turn a share (below 1) or a count into a count."""
    return round(total * portion) if portion < 1 else int(portion)


def duplicates(twins: list[list[int]], train: Tensor, val: Tensor, total: int) -> dict[str, int]:
    """Count the inputs of one part that another part holds too, by content.

    Args:
        twins: Groups of equal inputs, as indices in the source's training inputs followed by its
            test inputs.
        train: Indices of the inputs that train.
        val: Indices of the inputs that validate.
        total: Number of the source's training inputs.

    Returns:
        For each pair of parts "a/b", the number of inputs of b that are also in a.
    """
    part_of = dict.fromkeys(train.tolist(), "train") | dict.fromkeys(val.tolist(), "val")
    counts = {"train/val": 0, "train/test": 0, "val/test": 0}
    for group in twins:
        parts = [part_of.get(index) if index < total else "test" for index in group]
        for first, second in combinations(("train", "val", "test"), 2):
            if first in parts:
                counts[f"{first}/{second}"] += parts.count(second)

    return counts
