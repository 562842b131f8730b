"""Mixup and CutMix: pixels and targets in the same proportion, shares from their distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmark.data.inputs import Loaded
from benchmark.data.mixing import Mixer, cutmix, mixup
from benchmark.seeds import derive
from benchmark.study.schema import Augmentation
from tests.support.datasources import CPU, digits, recipe

FULL = Augmentation(crop_padding=4, flip=True)


def batch(count=16, size=(3, 12, 10), classes=5):
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(count, *size, generator=draw)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return Loaded(images, labels, torch.arange(count) + 100)


def mixed(count, seed=0, **alphas):
    """The same batch, mixed `count` times in one epoch."""
    mixer = Mixer(recipe(16, **alphas), 5, seed, 0, count, (12, 10), CPU)
    return [mixer.mix(batch(), step) for step in range(count)]


def own_shares(loaded, plain):
    """The weight of each image's own label in its target, where its partner's label differs."""
    own = loaded.targets.gather(1, plain.labels[:, None])[:, 0]
    has_two_labels = (loaded.targets > 0).sum(dim=1) == 2
    return own[has_two_labels]


def test_a_batch_is_unchanged_without_mixup_and_cutmix():
    (loaded,) = mixed(1)
    assert loaded.targets is None
    assert torch.equal(loaded.inputs, batch().inputs)


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_keeps_indices_sums_targets_to_one_and_labels_by_the_larger_part(alphas):
    plain = batch()
    for loaded in mixed(50, **alphas):
        assert torch.equal(loaded.index, plain.index)
        assert loaded.targets.dtype == torch.float32
        assert torch.allclose(loaded.targets.sum(dim=1), torch.ones(16), atol=1e-6)

        label_weights = loaded.targets.gather(1, loaded.labels[:, None])[:, 0]
        assert torch.allclose(loaded.targets.max(dim=1).values, label_weights)
        assert ((loaded.inputs >= 0) & (loaded.inputs <= 1)).all()


def test_a_mixed_epoch_is_the_same_when_it_is_replayed_and_differs_with_another_seed():
    alphas = {"mixup": 0.4, "cutmix": 1.0}
    first, again, other = (mixed(5, seed, **alphas) for seed in (0, 0, 1))
    for loaded, replayed in zip(first, again, strict=True):
        assert torch.equal(loaded.inputs, replayed.inputs)
        assert torch.equal(loaded.targets, replayed.targets)
    for loaded, different in zip(first, other, strict=True):
        assert not torch.equal(loaded.inputs, different.inputs)


def test_each_batch_is_mixed_by_its_own_draws_of_the_epochs_stream():
    plain = batch()
    batches = mixed(30, seed=3, mixup=0.4, cutmix=1.0)

    draw = np.random.Generator(np.random.PCG64(derive(3, "mixing", 0)))
    for loaded in batches:
        alpha = (0.4, 1.0)[is_cutmix := draw.integers(2)]
        share = draw.beta(alpha, alpha)
        partners = plain.inputs[torch.from_numpy(draw.permutation(16))]
        row, column = int(draw.integers(12)), int(draw.integers(10))

        expected = mixup(plain.inputs, partners, share)
        if is_cutmix:
            expected, _ = cutmix(plain.inputs, partners, share, row, column)
        assert torch.equal(loaded.inputs, expected)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_share_of_mixup_has_the_mean_and_variance_of_its_beta_distribution(alpha):
    plain = batch()
    shares = [own_shares(loaded, plain) for loaded in mixed(600, mixup=alpha)]
    drawn = torch.stack([share[0] for share in shares if len(share)])
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.06)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_mixup_mixes_pixels_in_the_share_of_the_targets():
    plain = batch()
    for loaded in mixed(20, mixup=1.0):
        share = float(own_shares(loaded, plain)[0])
        partners = (loaded.inputs - share * plain.inputs) / (1 - share)
        nearest = torch.cdist(partners.flatten(1), plain.inputs.flatten(1)).argmin(dim=1)
        assert sorted(nearest.tolist()) == list(range(16))

        expected = mixup(plain.inputs, plain.inputs[nearest], share)
        assert torch.allclose(loaded.inputs, expected, atol=1e-5)


def test_cutmix_pastes_one_box_whose_area_is_the_partners_share():
    plain = batch()
    for loaded in mixed(60, cutmix=1.0):
        changed = (loaded.inputs != plain.inputs).any(dim=1)
        box = changed.any(dim=0)
        rows = box.any(dim=1)
        columns = box.any(dim=0)
        assert torch.equal(box, rows[:, None] & columns[None, :])

        shares = own_shares(loaded, plain)
        if len(shares):
            area = box.double().mean().float()
            assert torch.allclose(1 - shares, area.expand_as(shares), atol=1e-6)


@pytest.mark.parametrize(
    ("share", "row", "column"), [(0.5, 6, 5), (0.2, 0, 0), (0.9, 11, 9), (1.0, 3, 3), (0.0, 6, 5)]
)
def test_the_box_of_cutmix_is_the_papers_clipped_at_the_border(share, row, column):
    pasted, kept = cutmix(torch.zeros(2, 3, 12, 10), torch.ones(2, 3, 12, 10), share, row, column)

    height = int(12 * math.sqrt(1 - share))
    width = int(10 * math.sqrt(1 - share))
    top, bottom = np.clip([row - height // 2, row + height // 2], 0, 12)
    left, right = np.clip([column - width // 2, column + width // 2], 0, 10)
    expected = torch.zeros(12, 10)
    expected[top:bottom, left:right] = 1
    assert torch.equal(pasted[0, 0], expected)
    assert kept == pytest.approx(1 - float(expected.mean()))


def test_with_both_each_batch_is_mixed_by_one_of_the_two_equally_often():
    plain = batch()
    boxed = 0
    for loaded in mixed(400, mixup=1.0, cutmix=1.0):
        # Unlike mixup, CutMix leaves most corners unchanged.
        unchanged = loaded.inputs[:, 0, 0, 0] == plain.inputs[:, 0, 0, 0]
        boxed += int(unchanged.sum() > 8)
    assert 140 < boxed < 230


def test_an_epoch_is_mixed_after_everything_else():
    data = digits()
    mixing_recipe = recipe(100, FULL, mixup=0.4)
    mixer = Mixer(mixing_recipe, 10, 3, 1, 12, (32, 32), CPU)
    plain = data.epoch(3, 1, recipe(100, FULL))
    batches = zip(data.epoch(3, 1, mixing_recipe), plain, strict=True)
    for step, (loaded, before) in enumerate(batches):
        expected = mixer.mix(before, step)
        assert torch.equal(loaded.inputs, expected.inputs)
        assert torch.equal(loaded.targets, expected.targets)
    assert data.device == CPU
