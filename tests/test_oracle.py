"""The losses against figures that reference implementations gave: value and gradient, to 1e-9 in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from oracle_values import AT, AT_ZERO_LOSS, HINT, INPUTS, KD, KD_TOTAL, LABELS

from methods import Batch, Output, Probe, Shapes, create
from methods._adapters import ConvRegressor
from methods.at import attention_loss
from methods.fitnet import hint_loss
from methods.kd import kd_loss

MASK = (1 << 64) - 1


def value(seed, place, scale):
    """A multiple of 1/1024: the 16-bit words of a SplitMix64 draw added up (nearly normal), centred, scaled."""
    bits = (seed * 0xD1342543DE82EF95 + place * 0x9E3779B97F4A7C15) & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = ((bits ^ (bits >> shift)) * factor) & MASK
    bits ^= bits >> 31
    words = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) - 131070
    return ((words * round(scale * 1024)) >> 16) / 1024


def made(name):
    seed, shape, scale, *cut = INPUTS[name]
    flat = [value(seed, place, scale) for place in range(1, math.prod(shape) + 1)]
    made = torch.tensor(flat, dtype=torch.float64).reshape(shape)
    return made.relu() if cut else made


def leaf(name):
    return made(name).requires_grad_()


def near(expected):
    return pytest.approx(expected, rel=1e-9, abs=0)


def proves(loss, student, expected):
    loss.backward()
    gradient = student.grad
    assert loss.item() == near(expected["loss"])
    assert gradient.norm().item() == near(expected["l2"])
    assert gradient.abs().sum().item() == near(expected["abs_sum"])
    assert gradient.flatten()[:8].tolist() == near(expected["first8"])
    assert gradient.sum().item() == pytest.approx(expected["sum"], rel=1e-9, abs=1e-12 * expected["abs_sum"])


@pytest.mark.parametrize("names", KD, ids="-".join)
def test_kd_loss_is_the_references_at_temperature_one(names):
    student, teacher = leaf(names[0]), made(names[1])
    proves(kd_loss(student, teacher, temperature=1.0), student, KD[names])


def test_kd_by_its_published_defaults_is_the_references_whole_objective():
    student, teacher, labels = leaf("s100"), made("t100"), torch.tensor(LABELS)
    kd = create("kd")
    ((weight, raw),) = kd(Output(student), Output(teacher), Batch(labels, torch.arange(8))).values()
    ce = kd.ce * F.cross_entropy(student, labels)
    assert (ce.item(), (weight * raw).item()) == near(KD_TOTAL["parts"])
    proves(ce + weight * raw, student, KD_TOTAL)


@pytest.mark.parametrize("names", HINT, ids=["same shape", "after a 1x1 convolution"])
def test_hint_loss_is_the_references(names):
    """The second reference's regressor is a bare convolution; ours adds BatchNorm and ReLU, so only the loss is its."""
    student, teacher = leaf(names[0]), made(names[1])
    regressed = student if names[2] is None else F.conv2d(student, made(names[2]))
    proves(hint_loss(regressed, teacher), student, HINT[names])


@pytest.mark.parametrize("names", AT, ids="-".join)
def test_attention_loss_is_the_references(names):
    student, teacher = leaf(names[0]), made(names[1])
    proves(attention_loss(student, teacher), student, AT[names])


def test_attention_loss_pools_the_larger_of_two_maps_whichever_it_is():
    large, small = made("map16_16x16"), made("map32_8x8")
    assert attention_loss(small, large).item() == near(AT["map16_16x16", "map32_8x8"]["loss"])


def test_an_inactive_teacher_map_has_no_attention_and_no_direction():
    """Loss as in the reference. Its gradient figures are rounding noise of 1e-19 around the true value, zero."""
    student, teacher = leaf("map16_relu"), made("zero")
    loss = attention_loss(student, teacher)
    loss.backward()
    assert loss.item() == near(AT_ZERO_LOSS)
    assert student.grad.abs().max() < 1e-15


def test_at_by_its_published_defaults_adds_up_the_stages_under_weight_1000():
    stages = [(made("map16"), made("map32")), (made("map16_relu"), made("zero"))]
    student, teacher = (Output(torch.empty(0), maps=maps) for maps in zip(*stages, strict=True))
    at = create("at")
    terms = at(student, teacher, Batch(torch.tensor(LABELS), torch.arange(8)))
    assert terms["at"][0] == 1000.0
    assert terms["at"][1].item() == near(AT["map16", "map32"]["loss"] + AT_ZERO_LOSS)


def test_fitnet_by_its_published_defaults_hints_at_the_second_deepest_stage_under_weight_100():
    maps = (made("map32"), made("map16"), made("map32"))
    fitnet = create("fitnet")
    batch = Batch(torch.tensor(LABELS), torch.arange(8))
    hinted = (made("zero"), made("hint16"), made("zero"))
    weight, raw = fitnet(Output(torch.empty(0), maps=maps), Output(torch.empty(0), maps=hinted), batch)["fitnet"]
    assert (weight, raw.item()) == (100.0, near(HINT["map16", "hint16", None]["loss"]))


PUBLISHED = {
    "student": {"ce": 1.0},
    "kd": {"temperature": 4.0, "weight": 0.9, "ce": 0.1},
    "fitnet": {"weight": 100.0, "stage": -2, "ce": 1.0},
    "at": {"beta": 1000.0, "p": 2, "ce": 1.0},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_defaults_are_the_published_settings(name):
    assert create(name).settings == PUBLISHED[name]


@pytest.mark.parametrize(
    ("student", "teacher", "kind", "kernel", "stride"),
    [
        ((4, 16, 16), (6, 8, 8), "Conv2d", (3, 3), (2, 2)),
        ((4, 8, 8), (6, 16, 16), "ConvTranspose2d", (4, 4), (2, 2)),
        ((4, 8, 8), (6, 8, 8), "Conv2d", (1, 1), (1, 1)),
        ((4, 9, 8), (6, 7, 5), "Conv2d", (3, 4), (1, 1)),
        ((4, 32, 32), (6, 8, 8), "Conv2d", (1, 1), (1, 1)),  # further apart than the published table: resampled
        ((4, 7, 7), (6, 8, 8), "Conv2d", (1, 1), (1, 1)),
    ],
)
def test_the_regressor_brings_a_map_to_the_teachers_shape_with_the_published_kernel(
    student, teacher, kind, kernel, stride
):
    regressor = ConvRegressor(student, teacher)
    assert (type(regressor.conv).__name__, regressor.conv.kernel_size, regressor.conv.stride) == (kind, kernel, stride)
    regressed = regressor(torch.randn(2, *student, generator=torch.Generator().manual_seed(0)))
    assert regressed.shape == (2, *teacher)
    assert regressed.min() == 0


def test_what_a_method_builds_is_trained_with_it():
    fitnet = create("fitnet")
    assert not list(fitnet.parameters())
    maps = ((4, 16, 16), (4, 8, 8), (4, 4, 4))
    fitnet.build(Probe(Shapes((10,), maps=maps), Shapes((10,), maps=maps), samples=8, batch_size=2))
    assert {name for name, _ in fitnet.named_parameters()} == {
        f"regressor.{part}" for part in ("conv.weight", "conv.bias", "norm.weight", "norm.bias")
    }
