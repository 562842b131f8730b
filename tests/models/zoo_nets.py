"""The zoo's networks, their published sizes, and shorthands for their tests."""

from __future__ import annotations

from typing import NamedTuple

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import benchmark.models.zoo  # noqa: F401  (registers the networks)


class Size(NamedTuple):
    """Size of a network for 3x32x32 images and 100 classes.

    Published figures are in millions, rounded as printed; None if none is known. Parameters are
    from the tables of RepDistiller, chenyaofo and the wide ResNets' paper. MACs were measured from
    RepDistiller's own networks.
    """

    parameters: int
    macs: int
    published_parameters: str | None
    published_macs: str | None
    maps: tuple[tuple[int, int], ...]
    """Channels and height of each tap."""


PLAIN = ((16, 32), (32, 16), (64, 8))
WIDE = ((32, 32), (64, 16), (128, 8))
FOURFOLD = ((64, 32), (128, 16), (256, 8))
VGG = ((64, 32), (128, 16), (256, 8), (512, 4), (512, 4))

SIZES = {
    "cifar_resnet8": Size(83_892, 12_507_392, None, None, PLAIN),
    "cifar_resnet14": Size(181_108, 26_663_168, None, None, PLAIN),
    "cifar_resnet20": Size(278_324, 40_818_944, "0.28", "40.8", PLAIN),
    "cifar_resnet32": Size(472_756, 69_130_496, "0.47", "69.1", PLAIN),
    "cifar_resnet44": Size(667_188, 97_442_048, "0.67", None, PLAIN),
    "cifar_resnet56": Size(861_620, 125_753_600, "0.86", "125.8", PLAIN),
    "cifar_resnet110": Size(1_736_564, 253_155_584, "1.74", "253.2", PLAIN),
    "cifar_resnet8x4": Size(1_233_540, 177_071_104, "1.23", "177.1", FOURFOLD),
    "cifar_resnet32x4": Size(7_433_860, 1_083_040_768, "7.43", "1083.0", FOURFOLD),
    "cifar_resnet50": Size(
        23_705_252, 1_298_014_208, "23.71", "1298.0", ((256, 32), (512, 16), (1024, 8), (2048, 4))
    ),
    "cifar_wrn_16_1": Size(180_916, 26_663_168, "0.2", None, PLAIN),
    "cifar_wrn_16_2": Size(703_284, 101_118_464, "0.70", "101.1", WIDE),
    "cifar_wrn_40_1": Size(569_780, 83_286_272, "0.6", None, PLAIN),
    "cifar_wrn_40_2": Size(2_255_156, 327_610_880, "2.26", "327.6", WIDE),
    "cifar_vgg8": Size(3_965_028, 96_192_512, "3.97", "96.2", VGG),
    "cifar_vgg11": Size(9_277_284, 209_438_720, None, None, VGG),
    "cifar_vgg13": Size(9_462_180, 284_936_192, "9.46", "284.9", VGG),
    "cifar_vgg16": Size(14_774_436, 398_182_400, None, None, VGG),
    "cifar_vgg19": Size(20_086_692, 511_428_608, None, None, VGG),
    "cifar_mobilenetv2_half": Size(
        812_836, 6_523_648, "0.813", "6.5", ((12, 16), (16, 8), (48, 4), (160, 2))
    ),
    "cifar_shufflenetv1": Size(
        949_258, 38_691_456, "0.949", "38.7", ((240, 16), (480, 8), (960, 4))
    ),
    "cifar_shufflenetv2": Size(
        1_355_528, 44_504_448, "1.356", "44.5", ((116, 16), (232, 8), (464, 4))
    ),
}

RECURRENT = {"row_lstm": (128_612, 3_682_816), "row_gru": (99_684, 2_765_312)}
"""Parameters and MACs with the default settings."""

WRN = [name for name in SIZES if "wrn" in name]

LINEAR = ["cifar_mobilenetv2_half"]
"""Networks whose stages end without a ReLU."""

ENDING_IN_RELU = [name for name in SIZES if name not in (*WRN, *LINEAR)]

TAILED = {"cifar_mobilenetv2_half": 1280, "cifar_shufflenetv2": 1024}
"""Channels of the final features of networks with a convolution after the last stage."""

SHUFFLE = ["cifar_shufflenetv1", "cifar_shufflenetv2"]

ONE_OF_EACH = [
    "cifar_resnet8",
    "cifar_resnet8x4",
    "cifar_resnet50",
    "cifar_wrn_16_1",
    "cifar_wrn_16_2",
    "cifar_vgg8",
    "cifar_vgg11",
    *LINEAR,
    *SHUFFLE,
]


def build(name, seed=0, **kwargs):
    """Create a network; the same seed gives the same weights."""
    torch.manual_seed(seed)
    return timm.create_model(name, **kwargs)


def images(count=2, channels=3, height=32, width=32):
    """Return a batch of noise, the same at each call."""
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def learned(name):
    """Create a network whose norms have moved from their initial values, in eval mode."""
    net = build(name)
    draw = torch.Generator().manual_seed(1)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            for values, low in ((norm.weight, 0.5), (norm.bias, -0.5), (norm.running_mean, -0.2)):
                values.copy_(low + torch.rand(values.shape, generator=draw))
    return net.eval()


def parameter_count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net):
    """Count the multiply-accumulates for one image."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.eval()(images(1))
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def rounded(value, printed):
    """Write a value in millions, rounded as a printed figure is."""
    digits = len(printed.partition(".")[2])
    return f"{value / 1e6:.{digits}f}"


def map_sizes(maps):
    """Return channels, height and width of each map."""
    return [tuple(stage_map.shape[1:]) for stage_map in maps]


def all_equal(tensors, others):
    """Whether two lists of tensors have the same length and bits."""
    return len(tensors) == len(others) and all(map(torch.equal, tensors, others))


def same_state(net, other):
    """Whether two networks have the same names and bits in their state."""
    state, other_state = net.state_dict(), other.state_dict()
    return state.keys() == other_state.keys() and all(
        torch.equal(value, other_state[name]) for name, value in state.items()
    )
