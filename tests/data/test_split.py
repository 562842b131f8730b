"""Splits are stratified, disjoint and decided by their seed alone; duplicates are counted."""

from __future__ import annotations

import pytest
import torch

from benchmark.data import stratified
from benchmark.data.split import divide, duplicates
from benchmark.errors import InputError
from benchmark.study.schema import Split
from tests.support.datasources import digits


@pytest.mark.parametrize("count", [0, 1, 7, 50, 99, 100])
def test_a_stratified_choice_has_each_class_within_one_of_its_proportion(count):
    shuffled = torch.randperm(100, generator=torch.Generator())
    labels = torch.tensor([0] * 61 + [1] * 30 + [2] * 8 + [3])[shuffled]

    chosen = stratified(labels, count, "key")

    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == count
    class_counts = torch.bincount(labels[chosen], minlength=4)
    proportional = torch.tensor([0.61, 0.30, 0.08, 0.01]) * count
    assert (class_counts - proportional).abs().max() < 1


def test_a_stratified_choice_depends_on_its_key_alone():
    labels = torch.arange(100) % 4
    assert stratified(labels, 8, "0/val").tolist() == stratified(labels, 8, "0/val").tolist()
    assert stratified(labels, 8, "0/val").tolist() != stratified(labels, 8, "1/val").tolist()


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            {"val": 1348},
            "split.val: 1348 selects 1348 of 1348 images; "
            "leave at least one for validation and one for training",
        ),
        ({"val": 5000}, "split.val: 5000 selects 5000 of 1348 images; leave at least"),
        ({"val": 1e-4}, "split.val: 0.0001 selects 0 of 1348 images; leave at least"),
        ({"val": 0.9999}, "split.val: 0.9999 selects 1348 of 1348 images; leave at"),
        (
            {"train_samples": 1214},
            "split.train_samples: 1214 selects 1214 images; "
            "choose between 1 and 1213, the number of images left for training",
        ),
        (
            {"train_samples": 1e-4},
            "split.train_samples: 0.0001 selects 0 images; choose between 1 and",
        ),
    ],
)
def test_a_split_that_the_images_do_not_allow_is_refused(split, message):
    with pytest.raises(InputError) as error:
        digits(**split)
    assert str(error.value).startswith(message)


def test_the_legacy_protocol_trains_on_all_and_holds_nothing_out():
    train, val = divide(torch.arange(20) % 4, Split(val=0))
    assert train.tolist() == list(range(20))
    assert val.tolist() == []


def test_duplicates_are_the_inputs_of_the_second_part_that_the_first_part_holds_too():
    """Indices 0 to 9 are the source's training inputs, 10 to 14 its test inputs."""
    train = torch.tensor([0, 1, 2, 3, 4, 5])
    val = torch.tensor([6, 7])
    assert duplicates([], train, val, 10) == {"train/val": 0, "train/test": 0, "val/test": 0}

    twins = [[0, 1, 6, 10, 11], [7, 12], [2, 3], [8, 13], [13, 14]]
    assert duplicates(twins, train, val, 10) == {"train/val": 1, "train/test": 2, "val/test": 3}

    tested = torch.tensor([0, 4])  # the inputs 10 and 14
    some = duplicates(twins, train, val, 10, tested)
    assert some == {"train/val": 1, "train/test": 1, "val/test": 1}
