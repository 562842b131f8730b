"""Data: splits that are stratified, disjoint and fixed; epochs that can be replayed; test images that stay sealed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from benchmark.data import stratified
from benchmark.data.sources.locate import locate
from benchmark.data.split import divide, duplicates
from benchmark.errors import InputError, SealedError
from benchmark.records.seal import Finished
from benchmark.study.schema import Augmentation, Split, make_dataset
from tests.support.datasources import digits, epoch, recipe, training
from tests.support.records import append

FINGERPRINT = "d6f57effa93d133f7d18b2f0544bc325e34ae4998b41ebfbc1106b8380f7ec49"
FULL = Augmentation(crop_padding=4, flip=True)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture
def trained(tmp_path):
    append(tmp_path / "journal.jsonl", "trained", epoch=0, sha256="0" * 64)
    return Finished(tmp_path)


def source():
    """The digits as they come: their training and test labels."""
    found = locate(make_dataset("digits")).load(Path())
    return found.train.labels, found.test.labels


def counts(labels):
    return torch.bincount(labels, minlength=10)


def contents(images):
    return {image.numpy().tobytes() for image in images.images}


def test_digits_are_the_images_they_always_were(data):
    assert data.fingerprint == FINGERPRINT
    assert (data.classes, data.size, data.name) == (10, (3, 32, 32), "digits")
    images = training(data).images
    assert images.dtype == torch.uint8
    assert (int(images.min()), int(images.max())) == (0, 255)
    assert data.val_index[:8].tolist() == [1, 9, 16, 37, 38, 45, 53, 72]


def test_mean_and_deviation_are_those_of_all_training_images_of_the_source(data):
    pixels = torch.cat([training(data).images, data.val.images]).double() / 255
    for found, expected in (
        (data.mean, pixels.mean(dim=(0, 2, 3))),
        (data.std, pixels.std(dim=(0, 2, 3), correction=0)),
    ):
        assert torch.tensor(found, dtype=torch.float64).allclose(expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("split", "train", "val"),
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
        ({"val": 0, "train_samples": 10}, 10, None),
        ({"val": 0}, 1348, None),
    ],
)
def test_a_split_has_the_asked_sizes_and_no_image_twice(split, train, val, trained):
    data = digits(**split)
    test = data.test(trained)
    assert (data.val is None) == (val is None)
    kept, val = [data.val] if data.val else [], val or 0
    assert (data.samples, sum(map(len, kept)), len(test)) == (train, val, 449)
    record = data.split_record()
    assert (
        record.pop("duplicates")
        == data.duplicates
        == {"train/val": 0, "train/test": 0, "val/test": 0}
    )
    assert (len(record["train"]), len(record["val"])) == (train, val)
    assert record == {name: sorted(set(places)) for name, places in record.items()}
    assert not set(record["train"]) & set(record["val"])
    assert set(record["train"] + record["val"]) <= set(range(1348))
    parts = [contents(part) for part in (training(data), *kept, test)]
    assert sum(map(len, parts)) == train + val + 449
    assert not any(one & other for one, other in itertools.combinations(parts, 2))


@pytest.mark.parametrize(
    "split", [{}, {"val": 0.3, "seed": 5}, {"val": 77}, {"train_samples": 333}]
)
def test_every_part_holds_each_class_in_proportion(split, trained):
    data = digits(**split)
    train, test = source()
    every = counts(torch.cat([train, test])) / 1797
    for part in (training(data), data.val, data.test(trained)):
        assert (counts(part.labels) - every * len(part)).abs().max() < 2
    share = counts(train) / len(train)
    assert (counts(data.val.labels) - share * len(data.val)).abs().max() < 1


def test_images_keep_their_labels_through_a_split(data):
    whole = digits(val=0)
    every = training(whole)
    assert whole.train_index.tolist() == list(range(1348))
    for part, places in ((training(data), data.train_index), (data.val, data.val_index)):
        assert torch.equal(part.images, every.images[places])
        assert torch.equal(part.labels, source()[0][places])


def test_another_seed_is_another_split_of_the_same_images_with_the_same_test_set(data, trained):
    other = digits(seed=1)
    assert other.split_record() != data.split_record() == digits().split_record()
    assert contents(training(other)) | contents(other.val) == contents(training(data)) | contents(
        data.val
    )
    assert torch.equal(other.test(trained).images, data.test(trained).images)
    assert other.fingerprint == data.fingerprint


def test_fewer_training_images_leave_the_validation_images_as_they_are(data):
    few = digits(train_samples=50)
    assert few.split_record()["val"] == data.split_record()["val"]
    assert set(few.split_record()["train"]) < set(data.split_record()["train"])


@pytest.mark.parametrize("count", [0, 1, 7, 50, 99, 100])
def test_a_stratified_draw_has_each_class_within_one_of_its_proportion(count):
    labels = torch.tensor([0] * 61 + [1] * 30 + [2] * 8 + [3])[
        torch.randperm(100, generator=torch.Generator())
    ]
    drawn = stratified(labels, count, "key")
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == count
    found, proportion = (
        torch.bincount(labels[drawn], minlength=4),
        torch.tensor([0.61, 0.30, 0.08, 0.01]) * count,
    )
    assert (found - proportion).abs().max() < 1


def test_a_stratified_draw_depends_on_its_key_alone():
    labels = torch.arange(100) % 4
    assert stratified(labels, 8, "0/val").tolist() == stratified(labels, 8, "0/val").tolist()
    assert stratified(labels, 8, "0/val").tolist() != stratified(labels, 8, "1/val").tolist()


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"val": 1348}, "split.val is 1348: 1348 of 1348 images for validation leaves nothing"),
        ({"val": 5000}, "split.val is 5000: 5000 of 1348 images for validation leaves nothing"),
        ({"val": 1e-4}, "split.val is 0.0001: 0 of 1348 images for validation leaves nothing"),
        ({"val": 0.9999}, "split.val is 0.9999: 1348 of 1348 images for validation leaves nothing"),
        ({"train_samples": 1214}, "split.train_samples is 1214; the split leaves 1213 images"),
        (
            {"train_samples": 1e-4},
            "split.train_samples is 0.0001: no image; the split leaves 1213 images",
        ),
    ],
)
def test_a_split_that_the_images_do_not_allow_is_refused(split, message):
    with pytest.raises(InputError) as error:
        digits(**split)
    assert str(error.value) == message


def test_a_batch_larger_than_the_data_is_refused(data):
    message = r"recipe\.batch_size is 1214; there are only 1213 training images"
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
    assert all(
        map(torch.equal, first, epoch(digits(), seed=3, number=2, augmentation=augmentation))
    )


def test_an_epoch_visits_distinct_images_each_with_its_label_and_its_place(data):
    sizes = [len(loaded.labels) for loaded in data.epoch(0, 0, recipe(100))]
    images, labels, places = epoch(data, batch_size=100)
    assert sizes == [100] * 12
    assert len(places.unique()) == len(places) == 1200
    assert places.min() >= 0
    assert places.max() < data.samples
    assert torch.equal(labels, training(data).labels[places])
    assert images.dtype == torch.float32
    assert torch.equal(images, training(data).images[places].float() / 255)


def test_an_epoch_of_single_images_visits_all(data):
    assert epoch(data, batch_size=1)[2].sort().values.tolist() == list(range(1213))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(data):
    orders = {(seed, number): epoch(data, seed, number)[2] for seed in (0, 1) for number in (0, 1)}
    assert not any(
        torch.equal(one, other) for one, other in itertools.combinations(orders.values(), 2)
    )
    assert torch.equal(epoch(data, augmentation=FULL)[2], orders[0, 0])
    small = epoch(data, batch_size=32)[2]
    assert torch.equal(small[: len(orders[0, 0])], orders[0, 0])


def test_images_in_order_come_whole_and_in_single_precision(data):
    parts = list(data.val.batches(50))
    assert [len(part) for part in parts] == [50, 50, 35]
    assert torch.equal(torch.cat(parts), data.val.images.float() / 255)


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


def test_duplicates_are_counted_between_parts_by_the_images_that_the_second_shares_with_the_first():
    """Places 0 to 9 are the source's training images, 10 to 14 its test images."""
    train, val = torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([6, 7])
    assert duplicates([], train, val, 10) == {"train/val": 0, "train/test": 0, "val/test": 0}
    twins = [[0, 1, 6, 10, 11], [7, 12], [2, 3], [8, 13], [13, 14]]
    assert duplicates(twins, train, val, 10) == {"train/val": 1, "train/test": 2, "val/test": 3}


def test_the_legacy_protocol_trains_on_all_and_holds_nothing_out():
    train, val = divide(torch.arange(20) % 4, Split(val=0))
    assert (train.tolist(), val.tolist()) == (list(range(20)), [])
