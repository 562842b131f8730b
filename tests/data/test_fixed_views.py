"""Fixed views: an image looks the same whenever its view is shown, wherever in an epoch it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.study.schema import Augmentation, RandAugment, Recipe
from tests.support.datasources import digits, recipe

VIEWS = 3

CASES: dict[str, dict[str, Any]] = {
    "none": {},
    "crop and flip": {"crop_padding": 2, "flip": True},
    "cutout": {"crop_padding": 2, "cutout": 8},
    "randaugment": {"flip": True, "randaugment": RandAugment(operations=3, magnitude=20)},
}


def fixed(case: str, batch_size: int = 16, views: int = VIEWS) -> Recipe:
    """Return a recipe with fixed views."""
    return recipe(batch_size, Augmentation(**CASES[case]), teacher_cache=views)


def shown(number: int, own: Recipe, seed: int = 5) -> dict[str, Tensor]:
    """Return the images of an epoch in their first and second views, in the order of the set."""
    data = digits(val=40, train_samples=480)
    batches = list(data.epoch(seed, number, own, views=True))
    order = torch.cat([batch.index for batch in batches]).argsort()
    assert len(order) == 480
    return {
        name: torch.cat([getattr(batch, name) for batch in batches])[order]
        for name in ("inputs", "second", "labels")
    }


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_shows_the_images_of_an_earlier_epoch_in_another_order(case: str) -> None:
    first, again = shown(1, fixed(case)), shown(1 + VIEWS, fixed(case, batch_size=32))
    assert all(torch.equal(first[name], again[name]) for name in first)

    data = digits(val=40, train_samples=480)
    assert not torch.equal(data.order(5, 1), data.order(5, 1 + VIEWS))


@pytest.mark.parametrize("case", [name for name in CASES if name != "none"])
def test_views_differ_from_each_other_and_from_those_of_another_seed(case: str) -> None:
    images = [shown(number, fixed(case))["inputs"] for number in range(VIEWS)]
    images += [shown(0, fixed(case), seed=6)["inputs"], shown(0, fixed(case))["second"]]
    for index, view in enumerate(images):
        assert not any(torch.equal(view, other) for other in images[:index])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("second", [False, True])
def test_a_view_of_the_whole_set_has_the_images_that_epochs_show(case: str, second: bool) -> None:
    data = digits(val=40, train_samples=480)
    batches = list(data.fixed_view(5, 2, fixed(case), 128, second=second))
    assert [len(batch.labels) for batch in batches] == [128] * 4

    images = torch.cat([batch.inputs for batch in batches])
    expected = shown(2, fixed(case))["second" if second else "inputs"]
    assert torch.equal(images[:480], expected)
    assert torch.equal(images[480:], expected[:32])


def test_a_set_smaller_than_a_batch_is_repeated_until_it_fills_one() -> None:
    data = digits(val=40, train_samples=20)
    (batch,) = data.fixed_view(5, 0, fixed("crop and flip"), 64)
    assert batch.index.tolist() == [*range(20), *range(20), *range(20), *range(4)]
    assert torch.equal(batch.inputs[:20], batch.inputs[20:40])


def test_the_early_stage_shows_fixed_views_as_well() -> None:
    own = fixed("crop and flip")
    assert torch.equal(shown(-1, own)["inputs"], shown(VIEWS - 1, own)["inputs"])


def test_without_fixed_views_no_two_epochs_show_the_same_images() -> None:
    own = recipe(16, Augmentation(crop_padding=2))
    assert not torch.equal(shown(0, own)["inputs"], shown(VIEWS, own)["inputs"])
