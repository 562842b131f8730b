"""The data path on a pretended GPU: the batches of the CPU, and no wait between two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.data import Data, Loaded
from benchmark.study.schema import Augmentation, RandAugment, Split, make_dataset
from tests.support.datasources import CPU, recipe
from tests.support.pretended import CUDA, Record, pretended_gpu

BATCHES = 3

PLAIN = Augmentation(crop_padding=2, flip=True)
DRAWN = Augmentation(crop_padding=2, randaugment=RandAugment(operations=2, magnitude=15))

CASES: dict[str, dict[str, Any]] = {
    "plain": {"augmentation": PLAIN},
    "cutout": {"augmentation": Augmentation(flip=True, cutout=8)},
    "mixup": {"augmentation": PLAIN, "mixup": 0.4},
    "cutmix": {"augmentation": PLAIN, "cutmix": 1.0},
    "randaugment": {"augmentation": DRAWN},
    "second views": {"augmentation": PLAIN, "views": True},
    "all": {"augmentation": DRAWN, "mixup": 0.4, "cutmix": 1.0, "views": True},
}

MOST_PER_EPOCH = 12
"""Copies of draws to the GPU at the start of an epoch, which may wait."""


def second_epoch(device: torch.device, case: str) -> Iterator[Loaded]:
    """Return the batches of the second epoch, none of which is made yet."""
    options = dict(CASES[case])
    views = options.pop("views", False)
    split = Split(val=40, train_samples=16 * BATCHES)
    data = Data(make_dataset("digits"), split, device, Path("nowhere"), pytest.fail)
    return data.epoch(0, 1, recipe(16, **options), views)


def first_and_others(case: str) -> tuple[Record, Record]:
    """Return what the first batch of an epoch takes, with all draws, and what the others take."""
    with pretended_gpu() as gpu:
        batches = second_epoch(CUDA, case)
        with gpu.recording() as first:
            next(batches)
        with gpu.recording() as others:
            assert len(list(batches)) == BATCHES - 1
    return first, others


@pytest.mark.parametrize("case", CASES)
def test_the_batches_of_an_epoch_have_the_bits_of_those_on_the_cpu(case: str) -> None:
    with pretended_gpu():
        for own, other in zip(second_epoch(CUDA, case), second_epoch(CPU, case), strict=True):
            for field in fields(Loaded):
                value, expected = getattr(own, field.name), getattr(other, field.name)
                assert (value is None) == (expected is None)
                if value is not None:
                    assert value.device == CUDA
                    assert value.stride() == expected.stride()
                    assert torch.equal(value.cpu(), expected)


@pytest.mark.parametrize("case", CASES)
def test_no_batch_after_the_first_waits_for_the_gpu(case: str) -> None:
    _, others = first_and_others(case)
    assert [str(sync) for sync in others.syncs] == []


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_waits_for_no_more_than_its_draws(case: str) -> None:
    first, _ = first_and_others(case)
    assert len(first.syncs) <= MOST_PER_EPOCH
    assert {sync.operation for sync in first.syncs} == {"copy to the device"}
