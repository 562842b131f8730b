"""Which images train and which validate, and how many of the one are also among the other."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.study.schema import Split


def stratified(labels: Tensor, count: int, key: str) -> Tensor:
    """`count` places, each class in proportion (largest remainders), sorted.  labels: [N] -> int64 [count].

    Which images of a class are drawn is decided by a hash of the key and the place: the same on every machine and in
    every version of every library.
    """
    classes, sizes = np.unique(labels.numpy(), return_counts=True)
    exact = sizes * (count / len(labels))
    take = np.floor(exact).astype(int)
    take[np.argsort(-(exact - take), kind="stable")[: count - take.sum()]] += 1
    chosen: list[int] = []
    for label, number in zip(classes, take, strict=True):
        places = np.flatnonzero(labels.numpy() == label).tolist()
        chosen += sorted(
            places, key=lambda place: hashlib.sha256(f"{key}/{place}".encode()).digest()
        )[:number]
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def without(count: int, places: Tensor) -> Tensor:
    """The places 0 to count - 1 that are not among some, in order."""
    keep = torch.ones(count, dtype=torch.bool)
    keep[places] = False
    return keep.nonzero().flatten()


def divide(labels: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """Places of the training and of the validation images.  labels: of all images that the source trains on.

    Raises InputError if the split leaves no images for one of them.
    """
    total = len(labels)
    held = _number(split.val, total)
    if not (split.legacy or 0 < held < total):
        raise InputError(
            f"split.val is {split.val:g}: {held} of {total} images for validation leaves nothing"
        )
    val = stratified(labels, held, f"{split.seed}/val")
    train = without(total, val)
    if split.train_samples is not None:
        left, kept = len(train), _number(split.train_samples, len(train))
        if not 0 < kept <= left:
            amount = f"{split.train_samples:g}" if kept else f"{split.train_samples:g}: no image"
            raise InputError(f"split.train_samples is {amount}; the split leaves {left} images")
        train = train[stratified(labels[train], kept, f"{split.seed}/train")]
    return train, val


def _number(portion: float, total: int) -> int:
    """A share (below 1) or number of images as a number."""
    return round(total * portion) if portion < 1 else int(portion)


def duplicates(twins: list[list[int]], train: Tensor, val: Tensor, total: int) -> dict[str, int]:
    """For each two parts "one/other", how many images of the other are also among the one, by content.

    twins: groups of equal images, as places in the source's `total` training images followed by its test images.
    """
    shares = dict.fromkeys(train.tolist(), "train") | dict.fromkeys(val.tolist(), "val")
    found = {"train/val": 0, "train/test": 0, "val/test": 0}
    for group in twins:
        parts = [shares.get(place) if place < total else "test" for place in group]
        for one, other in combinations(("train", "val", "test"), 2):
            if one in parts:
                found[f"{one}/{other}"] += parts.count(other)
    return found
