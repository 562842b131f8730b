"""Data: splits of real images, epochs that can be replayed, and test images that stay sealed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmark.data.sources import locate
from benchmark.errors import InputError, SealedError
from benchmark.records.seal import Finished
from benchmark.study.schema import Augmentation, make_dataset
from tests.support.datasources import digits, epoch, recipe, training
from tests.support.records import append

FINGERPRINT = "d6f57effa93d133f7d18b2f0544bc325e34ae4998b41ebfbc1106b8380f7ec49"
NO_DUPLICATES = {"train/val": 0, "train/test": 0, "val/test": 0}
FULL = Augmentation(crop_padding=4, flip=True)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture
def trained(tmp_path):
    """Evidence of a finished training."""
    append(tmp_path / "journal.jsonl", "trained", epoch=0, sha256="0" * 64)
    return Finished(tmp_path)


def source_labels():
    """The labels of the digits before any split: training and test."""
    source = locate(make_dataset("digits")).load(Path())
    return source.train.labels, source.test.labels


def class_counts(labels):
    return torch.bincount(labels, minlength=10)


def contents(part):
    """The bytes of each image."""
    return {image.numpy().tobytes() for image in part.images}


def test_the_digits_have_the_content_that_is_pinned(data):
    assert data.fingerprint == FINGERPRINT
    assert (data.classes, data.size, data.name) == (10, (3, 32, 32), "digits")

    images = training(data).images
    assert images.dtype == torch.uint8
    assert (int(images.min()), int(images.max())) == (0, 255)
    assert data.val_index[:8].tolist() == [1, 9, 16, 37, 38, 45, 53, 72]


def test_mean_and_deviation_are_those_of_all_training_images_of_the_source(data):
    pixels = torch.cat([training(data).images, data.val.images]).double() / 255
    mean = torch.tensor(data.mean, dtype=torch.float64)
    std = torch.tensor(data.std, dtype=torch.float64)
    assert mean.allclose(pixels.mean(dim=(0, 2, 3)), rtol=1e-12)
    assert std.allclose(pixels.std(dim=(0, 2, 3), correction=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("split", "train_count", "val_count"),
    [
        ({}, 1213, 135),
        ({"val": 0.5}, 674, 674),
        ({"val": 200}, 1148, 200),
        ({"val": 1}, 1347, 1),
        ({"val": 1347}, 1, 1347),
        ({"train_samples": 100}, 100, 135),
        ({"train_samples": 1213, "seed": 3}, 1213, 135),
        ({"train_samples": 0.25}, 303, 135),
        ({"val": 100, "train_samples": 0.5}, 624, 100),
        ({"val": 0, "train_samples": 10}, 10, 0),
        ({"val": 0}, 1348, 0),
    ],
)
def test_a_split_has_the_sizes_asked_for_and_no_image_twice(split, train_count, val_count, trained):
    data = digits(**split)
    parts = [training(data), data.test(trained)]
    assert (data.val is None) == (val_count == 0)
    if data.val is not None:
        parts.append(data.val)
        assert len(data.val) == val_count
    assert (data.samples, len(data.test(trained))) == (train_count, 449)

    record = data.split_record()
    assert record["duplicates"] == data.duplicates == NO_DUPLICATES
    assert set(record) == {"train", "val", "duplicates"}
    train, val = record["train"], record["val"]
    assert (len(train), len(val)) == (train_count, val_count)
    assert train == sorted(set(train))
    assert val == sorted(set(val))
    assert not set(train) & set(val)
    assert set(train + val) <= set(range(1348))

    images = [contents(part) for part in parts]
    assert sum(map(len, images)) == train_count + val_count + 449
    assert not any(first & second for first, second in itertools.combinations(images, 2))


@pytest.mark.parametrize(
    "split", [{}, {"val": 0.3, "seed": 5}, {"val": 77}, {"train_samples": 333}]
)
def test_every_part_holds_each_class_in_proportion(split, trained):
    data = digits(**split)
    train, test = source_labels()
    overall_shares = class_counts(torch.cat([train, test])) / 1797
    for part in (training(data), data.val, data.test(trained)):
        assert (class_counts(part.labels) - overall_shares * len(part)).abs().max() < 2

    train_shares = class_counts(train) / len(train)
    assert (class_counts(data.val.labels) - train_shares * len(data.val)).abs().max() < 1


def test_images_keep_their_labels_through_a_split(data):
    undivided = digits(val=0)
    everything = training(undivided)
    assert undivided.train_index.tolist() == list(range(1348))

    for part, indices in ((training(data), data.train_index), (data.val, data.val_index)):
        assert torch.equal(part.images, everything.images[indices])
        assert torch.equal(part.labels, source_labels()[0][indices])


def test_another_seed_splits_the_same_images_differently_and_keeps_the_test_set(data, trained):
    other = digits(seed=1)
    assert data.split_record() == digits().split_record()
    assert other.split_record() != data.split_record()
    assert other.fingerprint == data.fingerprint

    images = contents(training(data)) | contents(data.val)
    assert contents(training(other)) | contents(other.val) == images
    assert torch.equal(other.test(trained).images, data.test(trained).images)


def test_fewer_training_images_leave_the_validation_images_unchanged(data):
    fewer = digits(train_samples=50)
    assert fewer.split_record()["val"] == data.split_record()["val"]
    assert set(fewer.split_record()["train"]) < set(data.split_record()["train"])


@pytest.mark.parametrize(("portion", "count"), [(200, 200), (0.25, 112), (449, 449)])
def test_a_part_of_the_test_images_holds_each_class_in_proportion(portion, count, data, trained):
    part = digits(test_samples=portion)
    images, whole = part.test(trained), data.test(trained)
    assert part.tested == (len(images), 449) == (count, 449)
    assert (class_counts(images.labels) - class_counts(whole.labels) * count / 449).abs().max() < 1
    assert torch.equal(images.images, whole.images[part.test_index])
    assert part.split_record() == {**data.split_record(), "test": part.test_index.tolist()}


def test_the_part_of_the_test_images_depends_on_the_seed_of_the_split(data, trained):
    first, second = digits(test_samples=50), digits(test_samples=50, seed=1)
    assert torch.equal(first.test_index, digits(test_samples=50).test_index)
    assert not torch.equal(first.test_index, second.test_index)
    assert (data.tested, data.test_index) == (None, None)


@pytest.mark.parametrize(("portion", "count"), [(450, 450), (0.001, 0)])
def test_a_part_of_the_test_images_that_there_is_not_is_refused(portion, count):
    message = (
        rf"split\.test_samples: {portion:g} selects {count} images; choose between 1 and 449, the "
        r"number of test images"
    )
    with pytest.raises(InputError, match=message):
        digits(test_samples=portion)


def test_a_batch_larger_than_the_data_is_refused(data):
    message = r"recipe\.batch_size is 1214, but there are only 1213 training images"
    with pytest.raises(InputError, match=message):
        data.steps(1214)
    with pytest.raises(InputError, match=message):
        next(data.epoch(0, 0, recipe(1214)))

    assert (data.steps(1213), data.steps(607), data.steps(606), data.steps(1)) == (1, 1, 2, 1213)


@pytest.mark.parametrize("augmentation", [None, FULL])
def test_a_replayed_epoch_has_the_same_bits_whatever_was_drawn_meanwhile(data, augmentation):
    first = epoch(data, seed=3, number=2, augmentation=augmentation)
    epoch(data, seed=3, number=3, augmentation=augmentation)
    torch.manual_seed(5)
    replayed = epoch(digits(), seed=3, number=2, augmentation=augmentation)
    assert all(map(torch.equal, first, replayed))


def test_an_epoch_visits_distinct_images_each_with_its_label_and_its_index(data):
    sizes = [len(loaded.labels) for loaded in data.epoch(0, 0, recipe(100))]
    assert sizes == [100] * 12

    images, labels, indices = epoch(data, batch_size=100)
    assert len(indices.unique()) == len(indices) == 1200
    assert indices.min() >= 0
    assert indices.max() < data.samples
    assert torch.equal(labels, training(data).labels[indices])
    assert images.dtype == torch.float32
    assert torch.equal(images, training(data).images[indices].float() / 255)


def test_an_epoch_of_single_images_visits_all(data):
    assert epoch(data, batch_size=1)[2].sort().values.tolist() == list(range(1213))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(data):
    orders = {(seed, number): epoch(data, seed, number)[2] for seed in (0, 1) for number in (0, 1)}
    pairs = itertools.combinations(orders.values(), 2)
    assert not any(torch.equal(first, second) for first, second in pairs)

    assert torch.equal(epoch(data, augmentation=FULL)[2], orders[0, 0])
    smaller_batches = epoch(data, batch_size=32)[2]
    assert torch.equal(smaller_batches[: len(orders[0, 0])], orders[0, 0])


def test_images_in_order_come_completely_and_in_single_precision(data):
    batches = list(data.val.batches(50))
    assert [len(batch) for batch in batches] == [50, 50, 35]
    assert torch.equal(torch.cat(batches), data.val.images.float() / 255)


def test_test_images_are_sealed_until_the_journal_says_trained(data, tmp_path):
    journal = tmp_path / "journal.jsonl"
    for kind, content in (
        ("start", {"epoch": 0, "environment": {}}),
        ("epoch", {"epoch": 0, "metrics": {}}),
        ("failed", {"reason": "disk"}),
    ):
        append(journal, kind, **content)
        with pytest.raises(SealedError):
            data.test(Finished(tmp_path))

    append(journal, "trained", epoch=0, sha256="0" * 64)
    assert len(data.test(Finished(tmp_path))) == 449
