"""Augmentation: every operation against plain loops or torchvision's own, every draw against its distribution."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandAugment as TorchvisionRandAugment

from benchmark.data.augmentation import crop, cutout, flip, operations, randaugment
from benchmark.data.images import Loaded
from benchmark.data.mixing import Mixer, cutmix, mixup
from benchmark.seeds import generator
from benchmark.study.schema import Augmentation, RandAugment
from tests.support.datasources import CPU, digits, epoch, recipe, training

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
    cut = [
        one[:, y : y + height, x : x + width]
        for one, y, x in zip(padded, top.tolist(), left.tolist(), strict=True)
    ]
    return torch.stack(cut)


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_is_the_slice_of_the_padded_image_at_every_corner(padding):
    corners = torch.cartesian_prod(torch.arange(2 * padding + 1), torch.arange(2 * padding + 1))
    shape = (len(corners), 3, 6, 5)
    images = torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
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
        images, plain = images[:, :1], training(data).images[places, :1].float() / 255
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
    assert (
        (observed - expected) ** 2 / expected
    ).sum() < 40.8  # the 0.1 % point with 17 degrees of freedom


@pytest.mark.parametrize(("seed", "number"), [(0, 0), (0, 1), (1, 0)])
def test_an_epoch_is_augmented_by_the_draws_of_its_own_stream(data, seed, number):
    images, _, places = epoch(data, seed, number, batch_size=100, augmentation=FULL)
    draw = generator(seed, "augmentation", number)
    corners, mirrored = (
        torch.randint(0, 9, (2, 1213), generator=draw),
        torch.rand(1213, generator=draw) < 0.5,
    )
    made = slow_crop(training(data).images[places], *corners[:, :1200], 4)
    made[mirrored[:1200]] = made[mirrored[:1200]].flip(3)
    assert torch.equal(images, made.float() / 255)


def test_the_operations_of_randaugment_are_torchvisions():
    theirs = TorchvisionRandAugment._AUGMENTATION_SPACE
    assert list(operations()) == list(theirs)
    for name, ours in operations().items():
        magnitudes, signed = theirs[name]
        expected = magnitudes(31, 32, 30)
        assert ours.signed == signed
        assert (ours.largest is None) == (expected is None)
        shown = {
            "Posterize": lambda bits: 8 - round(bits),
            "Solarize": lambda share: 1 - share,
        }.get(name, float)
        for level in range(31) if expected is not None else ():
            assert shown(ours.magnitude(level, 32, 30)) == pytest.approx(
                float(expected[level]), abs=1e-5
            )


@pytest.mark.parametrize("level", [0, 9, 14, 30])
@pytest.mark.parametrize("name", list(operations()))
def test_an_operation_of_randaugment_makes_torchvisions_pixels_of_each_image(pictures, name, level):
    reference, ours = TorchvisionRandAugment(), operations()[name]
    magnitudes = reference._AUGMENTATION_SPACE[name][0](31, 32, 30)
    for sign in (1, -1) if ours.signed else (1,):
        theirs = 0.0 if magnitudes is None else sign * float(magnitudes[level])
        found = ours.apply(pictures, sign * ours.magnitude(level, 32, 30))
        for image, made in zip(pictures, found, strict=True):
            expected = reference._apply_image_or_video_transform(
                image, name, theirs, InterpolationMode.NEAREST, {}
            )
            # Magnitudes differ in the seventh digit (theirs are float32), which may round a value otherwise.
            assert (expected.int() - made.int()).abs().max() <= (
                1 if name in ("Contrast", "Color") else 0
            )


def test_randaugment_gives_each_image_its_own_operations_in_their_order(pictures):
    draw = torch.Generator().manual_seed(1)
    names = list(operations())
    chosen = torch.randint(0, len(names), (3, 24), generator=draw)
    signs = torch.rand(3, 24, generator=draw) < 0.5
    before = pictures.clone()
    found = randaugment(pictures, chosen, signs, 12)
    assert torch.equal(pictures, before)
    for place, image in enumerate(pictures):
        expected = image[None]
        for layer in range(3):
            operation = operations()[names[chosen[layer, place]]]
            strength = operation.magnitude(12, 32, 30)
            expected = operation.apply(
                expected, -strength if operation.signed and signs[layer, place] else strength
            )
        assert torch.equal(found[place], expected[0])


def test_an_epochs_randaugment_is_drawn_from_its_own_stream_and_leaves_the_others_as_they_are(data):
    plain, order, _ = epoch(data, batch_size=100, augmentation=FULL)
    wanted = FULL.model_copy(update={"randaugment": RandAugment(operations=2, magnitude=9)})
    images, same, _ = epoch(data, batch_size=100, augmentation=wanted)
    draw = generator(0, "randaugment", 0)
    chosen, signs = (
        torch.randint(0, 14, (2, 1213), generator=draw),
        torch.rand(2, 1213, generator=draw) < 0.5,
    )
    expected = randaugment(
        (plain * 255).round().to(torch.uint8), chosen[:, :1200], signs[:, :1200], 9
    )
    assert torch.equal(images, expected.float() / 255)
    assert torch.equal(order, same)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_cutout_fills_a_square_and_stops_at_the_border(side):
    images = torch.rand(30, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    top, left = torch.arange(30) % 9 - side // 2, torch.arange(30) % 7 - side // 2
    colour = torch.tensor([0.25, 0.5, 0.75])
    expected = images.clone()
    for image, y, x in zip(expected, top.tolist(), left.tolist(), strict=True):
        image[:, max(y, 0) : y + side, max(x, 0) : x + side] = colour[:, None, None]
    assert torch.equal(cutout(images, top, left, side, colour), expected)


def test_an_epochs_cutout_has_the_mean_colour_and_centres_everywhere_equally_often(data):
    wanted = Augmentation(cutout=1)
    plain, _, _ = epoch(data, batch_size=1213)
    cut, _, _ = epoch(data, batch_size=1213, augmentation=wanted)
    draw = generator(0, "cutout", 0)
    rows, columns = (torch.randint(0, 32, (1213,), generator=draw) for _ in range(2))
    every = torch.arange(1213)
    assert torch.equal(
        cut[every, :, rows, columns], torch.tensor([data.mean]).float().expand(1213, 3)
    )
    cut[every, :, rows, columns] = plain[every, :, rows, columns]
    assert torch.equal(cut, plain)
    for drawn in (rows, columns):
        counts = torch.bincount(drawn, minlength=32).double()
        assert (
            (counts - 1213 / 32) ** 2 / (1213 / 32)
        ).sum() < 61.1  # the 0.1 % point with 31 degrees of freedom


def batch(count=16, size=(3, 12, 10), classes=5):
    draw = torch.Generator().manual_seed(0)
    images, labels = (
        torch.rand(count, *size, generator=draw),
        torch.randint(0, classes, (count,), generator=draw),
    )
    return Loaded(images, labels, torch.arange(count) + 100)


def mixed(count, seed=0, **alphas):
    """Mixed batches of one epoch."""
    mixer = Mixer(recipe(**alphas), 5, seed, 0)
    return [mixer.mix(batch()) for _ in range(count)]


def shares(loaded, plain):
    """Of each image, the share that its target gives to its own label, where its partner has another."""
    own = loaded.targets.gather(1, plain.labels[:, None])[:, 0]
    return own[(loaded.targets > 0).sum(dim=1) == 2]


def test_a_batch_is_as_it_was_without_mixup_and_cutmix():
    (loaded,) = mixed(1)
    assert loaded.targets is None
    assert torch.equal(loaded.images, batch().images)


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_keeps_places_sums_targets_to_one_and_names_the_larger_part(alphas):
    plain = batch()
    for loaded in mixed(50, **alphas):
        assert torch.equal(loaded.index, plain.index)
        assert loaded.targets.dtype == torch.float32
        assert torch.allclose(loaded.targets.sum(dim=1), torch.ones(16), atol=1e-6)
        assert torch.allclose(
            loaded.targets.max(dim=1).values, loaded.targets.gather(1, loaded.labels[:, None])[:, 0]
        )
        assert ((loaded.images >= 0) & (loaded.images <= 1)).all()


def test_a_mixed_epoch_is_the_same_when_it_is_replayed_and_another_with_another_seed():
    alphas = {"mixup": 0.4, "cutmix": 1.0}
    first, again, other = (mixed(5, seed, **alphas) for seed in (0, 0, 1))
    assert all(torch.equal(one.images, two.images) for one, two in zip(first, again, strict=True))
    assert all(torch.equal(one.targets, two.targets) for one, two in zip(first, again, strict=True))
    assert not any(
        torch.equal(one.images, two.images) for one, two in zip(first, other, strict=True)
    )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_has_the_mean_and_variance_of_its_beta_distribution(alpha):
    plain = batch()
    found = torch.stack(
        [
            shares(loaded, plain)[0]
            for loaded in mixed(600, mixup=alpha)
            if len(shares(loaded, plain))
        ]
    )
    assert float(found.mean()) == pytest.approx(0.5, abs=0.06)
    assert float(found.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_mixup_mixes_pixels_in_the_share_of_the_targets():
    plain = batch()
    for loaded in mixed(20, mixup=1.0):
        share = float(shares(loaded, plain)[0])
        partners = (loaded.images - share * plain.images) / (1 - share)
        nearest = torch.cdist(partners.flatten(1), plain.images.flatten(1)).argmin(dim=1)
        assert sorted(nearest.tolist()) == list(range(16))
        assert torch.allclose(
            loaded.images, mixup(plain.images, plain.images[nearest], share), atol=1e-5
        )


def test_cutmix_pastes_one_box_whose_area_is_the_partners_share():
    plain = batch()
    for loaded in mixed(60, cutmix=1.0):
        changed = (loaded.images != plain.images).any(dim=1)
        box = changed.any(dim=0)
        rows, columns = box.any(dim=1), box.any(dim=0)
        assert torch.equal(box, rows[:, None] & columns[None, :])
        found = shares(loaded, plain)
        if len(found):
            assert torch.allclose(
                1 - found, box.double().mean().float().expand_as(found), atol=1e-6
            )


@pytest.mark.parametrize(
    ("share", "row", "column"), [(0.5, 6, 5), (0.2, 0, 0), (0.9, 11, 9), (1.0, 3, 3), (0.0, 6, 5)]
)
def test_the_box_of_cutmix_is_the_papers_clipped_at_the_border(share, row, column):
    ours, theirs = torch.zeros(2, 3, 12, 10), torch.ones(2, 3, 12, 10)
    found, kept = cutmix(ours, theirs, share, row, column)
    tall, wide = int(12 * math.sqrt(1 - share)), int(10 * math.sqrt(1 - share))
    top, bottom = np.clip([row - tall // 2, row + tall // 2], 0, 12)
    left, right = np.clip([column - wide // 2, column + wide // 2], 0, 10)
    expected = torch.zeros(12, 10)
    expected[top:bottom, left:right] = 1
    assert torch.equal(found[0, 0], expected)
    assert kept == pytest.approx(1 - float(expected.mean()))


def test_with_both_each_batch_is_mixed_by_one_of_the_two_equally_often():
    plain, boxed = batch(), 0
    for loaded in mixed(400, mixup=1.0, cutmix=1.0):
        boxed += bool(
            (loaded.images[:, 0, 0, 0] == plain.images[:, 0, 0, 0]).sum() > 8
        )  # CutMix spares most corners
    assert 140 < boxed < 230


def test_an_epoch_is_mixed_after_everything_else(data):
    wanted = recipe(100, FULL, mixup=0.4)
    mixer = Mixer(wanted, 10, 3, 1)
    plain = data.epoch(3, 1, recipe(100, FULL))
    for loaded, before in zip(data.epoch(3, 1, wanted), plain, strict=True):
        expected = mixer.mix(before)
        assert torch.equal(loaded.images, expected.images)
        assert torch.equal(loaded.targets, expected.targets)
    assert data.device == CPU
