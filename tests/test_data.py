"""Data: splits that are stratified, disjoint and fixed; epochs that can be replayed; test images that stay sealed."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from benchmark.data import Data, batches, crop, flip, load_source, stratified
from benchmark.errors import InputError, SealedError
from benchmark.journal import Finished, Journal
from benchmark.streams import generator
from benchmark.study import Augmentation, Dataset, Split

CPU = torch.device("cpu")
FINGERPRINT = "d6f57effa93d133f7d18b2f0544bc325e34ae4998b41ebfbc1106b8380f7ec49"
PLAIN = Augmentation()


def digits(**split):
    return Data(Dataset(name="digits"), Split(**split), CPU)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture
def trained(tmp_path):
    Journal(tmp_path / "journal.jsonl").append("trained")
    return Finished(tmp_path)


def counts(labels):
    return torch.bincount(labels, minlength=10)


def contents(images):
    return {image.numpy().tobytes() for image in images.images}


def epoch(data, seed=0, number=0, batch_size=64, augmentation=PLAIN):
    """One epoch's images, labels and places, each as one tensor."""
    return [torch.cat(part) for part in zip(*data.epoch(seed, number, batch_size, augmentation), strict=True)]


def test_digits_are_the_images_they_always_were(data):
    assert data.fingerprint == load_source(Dataset(name="digits")).fingerprint() == FINGERPRINT
    assert (data.classes, data.size, data.name) == (10, (3, 32, 32), "digits")
    assert data.train.images.dtype == torch.uint8
    assert (int(data.train.images.min()), int(data.train.images.max())) == (0, 255)
    assert data.val_index[:8].tolist() == [1, 9, 16, 37, 38, 45, 53, 72]


def test_a_changed_pixel_label_or_place_changes_the_fingerprint():
    source = load_source(Dataset(name="digits"))
    source.train.images[5, 0, 16, 16] ^= 1
    pixel = source.fingerprint()
    source.train.images[5, 0, 16, 16] ^= 1
    assert source.fingerprint() == FINGERPRINT
    source.test.labels[3] += 1
    assert len({FINGERPRINT, pixel, source.fingerprint()}) == 3


def test_mean_and_deviation_are_those_of_the_training_images(data):
    pixels = load_source(Dataset(name="digits")).train.images.double().div(255).transpose(0, 1).flatten(1)
    assert data.mean == pytest.approx(pixels.mean(dim=1).tolist(), rel=1e-9)
    assert data.std == pytest.approx(pixels.std(dim=1, correction=0).tolist(), rel=1e-9)


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
    ],
)
def test_a_split_has_the_asked_sizes_and_no_image_twice(split, train, val, trained):
    data = digits(**split)
    test = data.test(trained)
    assert (len(data.train), len(data.val), len(test)) == (train, val, 449)
    record = data.split_record()
    assert (len(record["train"]), len(record["val"])) == (train, val)
    assert record == {name: sorted(set(places)) for name, places in record.items()}
    assert not set(record["train"]) & set(record["val"])
    assert set(record["train"] + record["val"]) <= set(range(1348))
    parts = [contents(part) for part in (data.train, data.val, test)]
    assert [len(part) for part in parts] == [train, val, 449]
    assert not any(one & other for one, other in itertools.combinations(parts, 2))


@pytest.mark.parametrize("split", [{}, {"val": 0.3, "seed": 5}, {"val": 77}, {"train_samples": 333}])
def test_every_part_holds_each_class_in_proportion(split, trained):
    data = digits(**split)
    source = load_source(Dataset(name="digits"))
    every = counts(torch.cat([source.train.labels, source.test.labels])) / 1797
    for part in (data.train, data.val, data.test(trained)):
        assert (counts(part.labels) - every * len(part)).abs().max() < 2
    share = counts(source.train.labels) / len(source.train)
    assert (counts(data.val.labels) - share * len(data.val)).abs().max() < 1


def test_images_keep_their_labels_through_a_split(data):
    source = load_source(Dataset(name="digits"))
    for part, places in ((data.train, data.train_index), (data.val, data.val_index)):
        assert torch.equal(part.images, source.train.images[places])
        assert torch.equal(part.labels, source.train.labels[places])


def test_another_seed_is_another_split_of_the_same_images_with_the_same_test_set(data, trained):
    other = digits(seed=1)
    assert other.split_record() != data.split_record() == digits().split_record()
    assert contents(other.train) | contents(other.val) == contents(data.train) | contents(data.val)
    assert torch.equal(other.test(trained).images, data.test(trained).images)
    assert other.fingerprint == data.fingerprint


def test_fewer_training_images_leave_the_validation_images_as_they_are(data):
    few = digits(train_samples=50)
    assert few.split_record()["val"] == data.split_record()["val"]
    assert set(few.split_record()["train"]) < set(data.split_record()["train"])


@pytest.mark.parametrize("count", [0, 1, 7, 50, 99, 100])
def test_a_stratified_draw_has_each_class_within_one_of_its_proportion(count):
    labels = torch.tensor([0] * 61 + [1] * 30 + [2] * 8 + [3])[torch.randperm(100, generator=torch.Generator())]
    drawn = stratified(labels, count, "key")
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert len(drawn) == count
    found, proportion = torch.bincount(labels[drawn], minlength=4), torch.tensor([0.61, 0.30, 0.08, 0.01]) * count
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
    ],
)
def test_a_split_that_the_images_do_not_allow_is_refused(split, message):
    with pytest.raises(InputError) as error:
        digits(**split)
    assert str(error.value) == message


@pytest.mark.parametrize(("name", "hint"), [("digit", "did you mean 'digits'?"), ("zzz", "there are digits")])
def test_an_unknown_data_set_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(InputError) as error:
        load_source(Dataset(name=name))
    assert str(error.value).startswith(f"dataset: no data set {name!r}; {hint}")


def test_a_batch_larger_than_the_data_is_refused(data):
    message = r"recipe\.batch_size is 1214; there are only 1213 training images"
    with pytest.raises(InputError, match=message):
        data.steps(1214)
    with pytest.raises(InputError, match=message):
        next(data.epoch(0, 0, 1214, PLAIN))
    assert (data.steps(1213), data.steps(607), data.steps(606), data.steps(1)) == (1, 1, 2, 1213)


FULL = Augmentation(crop_padding=4, flip=True)


@pytest.mark.parametrize("augmentation", [PLAIN, FULL])
def test_a_replayed_epoch_has_the_same_bits_whatever_was_drawn_meanwhile(data, augmentation):
    first = epoch(data, seed=3, number=2, augmentation=augmentation)
    epoch(data, seed=3, number=3, augmentation=augmentation)
    torch.manual_seed(5)
    assert all(map(torch.equal, first, epoch(digits(), seed=3, number=2, augmentation=augmentation)))


def test_an_epoch_visits_distinct_images_each_with_its_label_and_its_place(data):
    sizes = [len(labels) for _, labels, _ in data.epoch(0, 0, 100, PLAIN)]
    images, labels, places = epoch(data, batch_size=100)
    assert sizes == [100] * 12
    assert len(places.unique()) == len(places) == 1200
    assert places.min() >= 0
    assert places.max() < len(data.train)
    assert torch.equal(labels, data.train.labels[places])
    assert images.dtype == torch.float32
    assert torch.equal(images, data.train.images[places].float() / 255)


def test_an_epoch_of_single_images_visits_all(data):
    assert epoch(data, batch_size=1)[2].sort().values.tolist() == list(range(1213))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(data):
    orders = {(seed, number): epoch(data, seed, number)[2] for seed in (0, 1) for number in (0, 1)}
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(orders.values(), 2))
    assert torch.equal(epoch(data, augmentation=FULL)[2], orders[0, 0])
    small = epoch(data, batch_size=32)[2]
    assert torch.equal(small[: len(orders[0, 0])], orders[0, 0])


def slow_crop(images, top, left, padding):
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    cut = [one[:, y : y + height, x : x + width] for one, y, x in zip(padded, top.tolist(), left.tolist(), strict=True)]
    return torch.stack(cut)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_the_slice_of_the_padded_image_at_every_corner(padding):
    corners = torch.cartesian_prod(torch.arange(2 * padding + 1), torch.arange(2 * padding + 1))
    shape = (len(corners), 3, 6, 5)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cropped = crop(images, *corners.T, padding)
    assert cropped.dtype == torch.uint8
    assert torch.equal(cropped, slow_crop(images, *corners.T, padding))
    middle = torch.full((len(corners),), padding)
    assert torch.equal(crop(images, middle, middle, padding), images)


def test_a_flip_mirrors_the_chosen_images_and_no_other():
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 1, 3, 4)
    flipped = flip(images, torch.tensor([True, False]))
    assert flipped[0, 0].tolist() == [row[::-1] for row in images[0, 0].tolist()]
    assert torch.equal(flipped[1], images[1])


def augmented(data, numbers, padding):
    """Of each augmented image of some epochs: the corners it was cut from, and whether it was mirrored."""
    found = []
    for number in numbers:
        augmentation = Augmentation(crop_padding=padding, flip=True)
        images, _, places = epoch(data, number=number, batch_size=1213, augmentation=augmentation)
        images, plain = images[:, :1], data.train.images[places, :1].float() / 255
        matches = []
        for mirrored in (False, True):
            for y, x in itertools.product(range(2 * padding + 1), repeat=2):
                corner = [torch.full((len(plain),), value) for value in (y, x)]
                made = slow_crop(plain, *corner, padding)
                matches.append(((made.flip(3) if mirrored else made) == images).all(dim=(1, 2, 3)))
        found.append(torch.stack(matches))
    return torch.cat(found, dim=1)


def test_crops_come_from_every_corner_equally_often_and_half_are_mirrored(data):
    """Nine corners, mirrored or not: 18 equally likely outcomes, by a chi-squared test of 2,426 images."""
    matches = augmented(data, range(2), padding=1)
    assert matches.any(dim=0).all()
    single = matches[:, matches.sum(dim=0) == 1]
    assert single.shape[1] > 0.95 * matches.shape[1]
    observed = single.sum(dim=1).double()
    expected = observed.sum() / 18
    assert ((observed - expected) ** 2 / expected).sum() < 40.8  # the 0.1 % point with 17 degrees of freedom


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 1), (1, 0)])
def test_an_epoch_is_augmented_by_the_draws_of_its_own_stream(data, seed, number):
    images, _, places = epoch(data, seed, number, batch_size=100, augmentation=FULL)
    draw = generator(seed, "augmentation", number)
    corners, mirrored = torch.randint(0, 9, (2, 1213), generator=draw), torch.rand(1213, generator=draw) < 0.5
    made = slow_crop(data.train.images[places], *corners[:, :1200], 4)
    made[mirrored[:1200]] = made[mirrored[:1200]].flip(3)
    assert torch.equal(images, made.float() / 255)


def test_images_in_order_come_whole_and_in_single_precision(data):
    parts = list(batches(data.val.images, 50))
    assert [len(part) for part in parts] == [50, 50, 35]
    assert torch.equal(torch.cat(parts), data.val.images.float() / 255)


def test_test_images_are_sealed_until_the_journal_says_trained(data, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for kind in ("start", "epoch", "failed"):
        journal.append(kind)
        with pytest.raises(SealedError):
            data.test(Finished(tmp_path))
    journal.append("trained")
    assert len(data.test(Finished(tmp_path))) == 449
