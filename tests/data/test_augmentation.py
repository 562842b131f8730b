"""Augmentation: operations against plain loops or torchvision, draws against distributions."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment as TorchvisionRandAugment
from torchvision.transforms.v2 import functional as transform

from benchmark.data.augmentation import crop, cutout, flip
from benchmark.data.operations import OPERATIONS
from benchmark.data.randaugment import randaugment
from benchmark.seeds import generator
from benchmark.study.schema import Augmentation, RandAugment
from tests.support.datasources import digits, epoch, training

FULL = Augmentation(crop_padding=4, flip=True)


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def pictures():
    """Smooth images in colour."""
    small = torch.rand(24, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return (F.interpolate(small, (32, 30), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def slow_crop(images, top, left, padding):
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    corners = zip(top.tolist(), left.tolist(), strict=True)
    windows = [
        image[:, y : y + height, x : x + width]
        for image, (y, x) in zip(padded, corners, strict=True)
    ]
    return torch.stack(windows)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_the_slice_of_the_padded_image_at_every_corner(padding):
    corners = torch.cartesian_prod(torch.arange(2 * padding + 1), torch.arange(2 * padding + 1))
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (len(corners), 3, 6, 5), dtype=torch.uint8, generator=draw)

    cropped = crop(images, *corners.T, padding)
    assert cropped.dtype == torch.uint8
    assert torch.equal(cropped, slow_crop(images, *corners.T, padding))

    centre = torch.full((len(corners),), padding)
    assert torch.equal(crop(images, centre, centre, padding), images)


def test_a_flip_mirrors_the_chosen_images_and_no_other():
    images = torch.arange(24, dtype=torch.uint8).reshape(2, 1, 3, 4)
    flipped = flip(images, torch.tensor([0]))
    assert flipped[0, 0].tolist() == [row[::-1] for row in images[0, 0].tolist()]
    assert torch.equal(flipped[1], images[1])


def possible_crops(data, numbers, padding):
    """Which of all crops and flips explain each augmented image of some epochs.

    Returns a bool tensor of shape [outcomes, images]; the first half of the outcomes is unflipped.
    """
    epochs = []
    for number in numbers:
        augmentation = Augmentation(crop_padding=padding, flip=True)
        images, _, indices = epoch(data, number=number, batch_size=1213, augmentation=augmentation)
        images = images[:, :1]
        plain = training(data).images[indices, :1].float() / 255

        matches = []
        for mirrored in (False, True):
            for corner in itertools.product(range(2 * padding + 1), repeat=2):
                top, left = (torch.full((len(plain),), value) for value in corner)
                expected = slow_crop(plain, top, left, padding)
                if mirrored:
                    expected = expected.flip(3)
                matches.append((expected == images).all(dim=(1, 2, 3)))
        epochs.append(torch.stack(matches))

    return torch.cat(epochs, dim=1)


def test_crops_come_from_every_corner_equally_often_and_half_are_mirrored(data):
    """A chi-squared test of 2,426 images: nine corners, mirrored or not, are 18 outcomes."""
    matches = possible_crops(data, range(2), padding=1)
    assert matches.any(dim=0).all()

    unambiguous = matches[:, matches.sum(dim=0) == 1]
    assert unambiguous.shape[1] > 0.95 * matches.shape[1]

    observed = unambiguous.sum(dim=1).double()
    expected = observed.sum() / 18
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < 40.8  # the 0.1 % point with 17 degrees of freedom


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 1), (1, 0)])
def test_an_epoch_is_augmented_by_the_draws_of_its_own_stream(data, seed, number):
    images, _, indices = epoch(data, seed, number, batch_size=100, augmentation=FULL)

    draw = generator(seed, "augmentation", number)
    corners = torch.randint(0, 9, (2, 1213), generator=draw)
    mirrored = torch.rand(1213, generator=draw) < 0.5
    expected = slow_crop(training(data).images[indices], *corners[:, :1200], 4)
    expected[mirrored[:1200]] = expected[mirrored[:1200]].flip(3)
    assert torch.equal(images, expected.float() / 255)


def test_the_operations_of_randaugment_are_torchvisions():
    theirs = TorchvisionRandAugment._AUGMENTATION_SPACE
    assert list(OPERATIONS) == list(theirs)

    # Torchvision's tables hold what these two operations are called with, not how strong they are.
    as_tabled = {"Posterize": lambda bits: 8 - round(bits), "Solarize": lambda share: 1 - share}
    for name, ours in OPERATIONS.items():
        magnitudes, signed = theirs[name]
        expected = magnitudes(31, 32, 30)
        assert ours.signed == signed
        assert (ours.largest is None) == (expected is None)
        if expected is None:
            continue

        convert = as_tabled.get(name, float)
        for level in range(31):
            magnitude = convert(ours.magnitude(level, 32, 30))
            assert magnitude == pytest.approx(float(expected[level]), abs=1e-5)


def torchvisions(image, name, strength):
    """Return what torchvision makes of an image by an operation of RandAugment."""
    if name == "Posterize":
        return transform.posterize(image, 8 - round(strength))
    if name == "Solarize":
        return transform.solarize(image, 255 * (1 - strength))
    return TorchvisionRandAugment()._apply_image_or_video_transform(
        image, name, strength, InterpolationMode.NEAREST, {}
    )


def sequences(names, signs, level):
    """Return the operations of a sequence, with their magnitudes for images of 32 x 30 pixels."""
    for name, negative in zip(names, signs, strict=True):
        operation = OPERATIONS[name]
        magnitude = operation.magnitude(level, 32, 30)
        yield name, -magnitude if operation.signed and negative else magnitude


@pytest.mark.parametrize("level", [0, 9, 14, 30])
@pytest.mark.parametrize("name", list(OPERATIONS))
def test_an_operation_of_randaugment_makes_torchvisions_pixels_of_each_image(pictures, name, level):
    chosen = torch.full((1, 24), list(OPERATIONS).index(name))
    for negative in (False, True):
        transformed = randaugment(pictures, chosen, torch.full((1, 24), negative), level)
        ((_, strength),) = sequences([name], [negative], level)
        for before, after in zip(pictures, transformed, strict=True):
            assert torch.equal(after, torchvisions(before, name, strength))


@pytest.mark.parametrize("size", [(32, 30), (28, 28), (7, 9), (2, 5), (1, 1)])
def test_an_image_has_the_same_pixels_in_every_batch_and_order_in_memory(size):
    draw = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (60, 3, *size), dtype=torch.uint8, generator=draw)
    images[0] = 77
    chosen = torch.randint(0, len(OPERATIONS), (2, 60), generator=draw)
    negative = torch.rand(2, 60, generator=draw) < 0.5

    together = randaugment(images, chosen, negative, 12)
    other_order = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(randaugment(other_order, chosen, negative, 12), together)
    for index in range(0, 60, 7):
        at = slice(index, index + 1)
        alone = randaugment(images[at], chosen[:, at], negative[:, at], 12)
        assert torch.equal(alone[0], together[index])


def test_randaugment_gives_each_image_its_own_operations_in_their_order(pictures):
    draw = torch.Generator().manual_seed(1)
    names = list(OPERATIONS)
    chosen = torch.randint(0, len(names), (3, 24), generator=draw)
    signs = torch.rand(3, 24, generator=draw) < 0.5
    before = pictures.clone()

    augmented = randaugment(pictures, chosen, signs, 12)

    assert torch.equal(pictures, before)
    for index, image in enumerate(pictures):
        expected = image
        own = [names[number] for number in chosen[:, index].tolist()]
        for name, strength in sequences(own, signs[:, index].tolist(), 12):
            expected = torchvisions(expected, name, strength)
        assert torch.equal(augmented[index], expected)


def test_an_epochs_randaugment_is_drawn_from_its_own_stream_and_leaves_the_others_unchanged(data):
    plain, order, _ = epoch(data, batch_size=100, augmentation=FULL)
    augmentation = FULL.model_copy(update={"randaugment": RandAugment(operations=2, magnitude=9)})
    images, same_order, _ = epoch(data, batch_size=100, augmentation=augmentation)

    draw = generator(0, "randaugment", 0)
    chosen = torch.randint(0, 14, (2, 1213), generator=draw)[:, :1200]
    signs = (torch.rand(2, 1213, generator=draw) < 0.5)[:, :1200]
    expected = randaugment((plain * 255).round().to(torch.uint8), chosen, signs, 9)
    assert torch.equal(images, expected.float() / 255)
    assert torch.equal(order, same_order)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_cutout_fills_a_square_and_stops_at_the_border(side):
    images = torch.rand(30, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    top = torch.arange(30) % 9 - side // 2
    left = torch.arange(30) % 7 - side // 2
    colour = torch.tensor([0.25, 0.5, 0.75])

    expected = images.clone()
    for image, y, x in zip(expected, top.tolist(), left.tolist(), strict=True):
        image[:, max(y, 0) : y + side, max(x, 0) : x + side] = colour[:, None, None]
    assert torch.equal(cutout(images, top, left, side, colour), expected)


def test_an_epochs_cutout_has_the_mean_colour_and_centres_everywhere_equally_often(data):
    plain, _, _ = epoch(data, batch_size=1213)
    cut, _, _ = epoch(data, batch_size=1213, augmentation=Augmentation(cutout=1))

    draw = generator(0, "cutout", 0)
    rows, columns = (torch.randint(0, 32, (1213,), generator=draw) for _ in range(2))
    images = torch.arange(1213)
    mean_colour = torch.tensor([data.mean]).float().expand(1213, 3)
    assert torch.equal(cut[images, :, rows, columns], mean_colour)

    cut[images, :, rows, columns] = plain[images, :, rows, columns]
    assert torch.equal(cut, plain)

    expected = 1213 / 32
    for drawn in (rows, columns):
        observed = torch.bincount(drawn, minlength=32).double()
        statistic = ((observed - expected) ** 2 / expected).sum()
        assert statistic < 61.1  # the 0.1 % point with 31 degrees of freedom
