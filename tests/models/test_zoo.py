"""The zoo's nets: sizes against published figures, taps, timm's interface, and what the recurrent nets read."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import benchmark.models.zoo
from benchmark.models.tapped import TappedModel
from methods import Needs

CHECKPOINTS = Path(__file__).resolve().parents[3] / "shared" / "checkpoints"


class Size(NamedTuple):
    """Of a net for 3x32x32 images and 100 classes; published figures are rounded as printed, None where none is known.

    Parameters in millions: RepDistiller's, chenyaofo's and the wide ResNets' tables. MACs in millions: measured from
    RepDistiller's own nets.
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
"""Their stages end without a ReLU."""

ENDING_IN_RELU = [name for name in SIZES if name not in (*WRN, *LINEAR)]

TAILED = {"cifar_mobilenetv2_half": 1280, "cifar_shufflenetv2": 1024}
"""Channels of the final features, where a convolution stands after the last stage."""

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


def made(name, seed=0, **kwargs):
    torch.manual_seed(seed)
    return timm.create_model(name, **kwargs)


def images(count=2, channels=3, height=32, width=32):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def learned(name):
    """A net whose norms have moved from their initial values, in eval mode."""
    net = made(name)
    draws = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for values, low in (
                    (module.weight, 0.5),
                    (module.bias, -0.5),
                    (module.running_mean, -0.2),
                ):
                    values.copy_(low + torch.rand(values.shape, generator=draws))
    return net.eval()


def parameter_count(net):
    return sum(parameter.numel() for parameter in net.parameters())


def macs(net):
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.eval()(images(1))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def rounded(value, printed):
    return f"{value / 1e6:.{len(printed.partition('.')[2])}f}"


class TestRegistry:
    def test_timm_lists_exactly_the_pinned_nets(self):
        assert sorted(timm.list_models("cifar_*")) == sorted(SIZES)
        assert sorted(timm.list_models("row_*")) == sorted(RECURRENT)

    @pytest.mark.parametrize("name", [*SIZES, *RECURRENT])
    def test_timm_knows_the_net_and_that_it_has_no_weights(self, name):
        assert timm.is_model(name)
        assert not timm.models.is_model_pretrained(name)

    def test_a_second_import_is_quiet(self):
        importlib.import_module("benchmark.models.zoo")
        importlib.reload(benchmark.models.zoo)

    def test_a_module_offers_its_nets_by_name(self):
        made_here = benchmark.models.zoo.vgg.cifar_vgg8(num_classes=10)
        assert made_here.num_classes == 10
        assert all(
            hasattr(benchmark.models.zoo.vgg, name) for name in benchmark.models.zoo.vgg.__all__
        )

    @pytest.mark.parametrize("name", ["cifar_resnet20", "row_gru"])
    def test_pretrained_weights_are_refused_by_name(self, name):
        with pytest.raises(RuntimeError, match=f"{name} has no pretrained weights"):
            timm.create_model(name, pretrained=True)

    def test_an_argument_that_nothing_reads_is_an_error(self):
        with pytest.raises(TypeError, match="drop_rat"):
            timm.create_model("cifar_resnet8", drop_rat=0.1)

    @pytest.mark.parametrize(("name", "depth"), [("cifar_resnet20", 21), ("cifar_wrn_16_2", 4)])
    def test_a_depth_that_no_net_has_is_an_error(self, name, depth):
        with pytest.raises(ValueError, match=f"depth={depth}"):
            timm.create_model(name, depth=depth)

    def test_timm_reads_the_image_size_for_recurrent_nets_only(self):
        assert timm.get_pretrained_cfg("row_lstm").fixed_input_size
        assert not timm.get_pretrained_cfg("cifar_vgg8").fixed_input_size


@pytest.mark.parametrize("name", SIZES)
class TestSizes:
    def test_the_parameters_are_those_published(self, name):
        size = SIZES[name]
        count = parameter_count(made(name, num_classes=100))
        assert count == size.parameters
        if size.published_parameters is not None:
            assert rounded(count, size.published_parameters) == size.published_parameters

    def test_the_macs_are_those_measured_elsewhere(self, name):
        size = SIZES[name]
        count = macs(made(name, num_classes=100))
        assert count == size.macs
        if size.published_macs is not None:
            assert rounded(count, size.published_macs) == size.published_macs


@pytest.mark.parametrize("name", SIZES)
class TestStagedNet:
    def test_there_is_one_map_per_stage_and_feature_info_describes_it(self, name):
        net = made(name).eval()
        with torch.no_grad():
            final, maps = net.forward_intermediates(images())
        assert [tuple(one.shape) for one in maps] == [
            (2, wide, side, side) for wide, side in SIZES[name].maps
        ]
        assert [info["num_chs"] for info in net.feature_info] == [
            wide for wide, _ in SIZES[name].maps
        ]
        assert [info["reduction"] for info in net.feature_info] == [
            32 // side for _, side in SIZES[name].maps
        ]
        assert final.shape[1] == TAILED.get(name, SIZES[name].maps[-1][0]) == net.num_features

    def test_the_head_on_the_final_features_is_the_net_bit_for_bit(self, name):
        net, batch = learned(name), images()
        with torch.no_grad():
            expected = net(batch)
            final, _ = net.forward_intermediates(batch)
            assert torch.equal(net.forward_head(final), expected)
            assert torch.equal(final, net.forward_features(batch))
            final, _ = net.forward_intermediates(batch, preactivation=True)
            assert torch.equal(net.forward_head(final), expected)
            embedding = net.forward_head(final, pre_logits=True)
            assert embedding.shape == (2, net.num_features)
            assert torch.equal(net.get_classifier()(embedding), expected)


@pytest.mark.parametrize("name", ENDING_IN_RELU)
def test_relu_of_the_map_before_it_is_the_stage_map(name):
    net = learned(name)
    with torch.no_grad():
        _, maps = net.forward_intermediates(images())
        _, before = net.forward_intermediates(images(), preactivation=True)
    assert len(before) == len(maps)
    for one, earlier in zip(maps, before, strict=True):
        assert torch.equal(F.relu(earlier), one)
        assert earlier.min() < 0


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_stage_is_its_own_map_before_the_relu(name):
    net = learned(name)
    with torch.no_grad():
        _, maps = net.forward_intermediates(images())
        _, before = net.forward_intermediates(images(), preactivation=True)
    assert all(torch.equal(*pair) for pair in zip(maps, before, strict=True))
    assert all(one.min() < 0 for one in maps)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ["cifar_wrn_16_1", "cifar_wrn_16_2"])
def test_relu_of_a_wide_resnets_normed_sum_is_what_the_next_convolution_reads(name, training):
    net = learned(name).train(training)
    read = []
    for convolution in (net.block2.layer[0].conv1, net.block3.layer[0].conv1):
        convolution.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        final, before = net.forward_intermediates(images(), preactivation=True)
    for activated, earlier in zip([*read, final], before, strict=True):
        torch.testing.assert_close(
            F.relu(earlier), activated, rtol=0, atol=0 if not training else 1e-5
        )


def test_a_wide_resnets_maps_are_the_sums_that_the_stages_put_out():
    net = learned("cifar_wrn_16_2")
    put_out = []
    for stage in net.stages():
        stage.register_forward_hook(lambda _, __, output: put_out.append(output))
    with torch.no_grad():
        _, maps = net.forward_intermediates(images())
    assert all(torch.equal(*pair) for pair in zip(maps, put_out, strict=True))
    assert all(one.min() < 0 for one in maps)


@pytest.mark.parametrize("name", ONE_OF_EACH)
class TestTraining:
    def test_tapping_before_the_relu_changes_no_running_statistics(self, name):
        plain, tapped = made(name).train(), made(name).train()
        with torch.no_grad():
            plain(images())
            tapped.forward_intermediates(images(), preactivation=True)
        mine, theirs = plain.state_dict(), tapped.state_dict()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)

    def test_a_gradient_reaches_every_parameter(self, name):
        net = made(name).train()
        logits = net(images(4))
        (
            logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
        ).sum().backward()
        behind_norm = {
            f"{place}.bias" for place, one in net.named_modules() if isinstance(one, nn.Conv2d)
        }
        for place, parameter in net.named_parameters():
            assert parameter.grad is not None, place
            # A norm takes the mean away, and with it whatever a bias before it added.
            assert place in behind_norm or parameter.grad.abs().max() > 0, place

    @pytest.mark.parametrize("preactivation", [False, True])
    def test_a_gradient_flows_through_every_tap(self, name, preactivation):
        net = made(name).train()
        _, maps = net.forward_intermediates(images(), preactivation=preactivation)
        for one in maps:
            net.zero_grad()
            one.square().mean().backward(retain_graph=True)
            assert next(net.parameters()).grad.abs().max() > 0


@pytest.mark.parametrize("name", ONE_OF_EACH)
class TestInterface:
    def test_channels_and_classes_are_as_asked_for(self, name):
        net = made(name, in_chans=1, num_classes=7).eval()
        with torch.no_grad():
            assert net(images(channels=1)).shape == (2, 7)
        assert net.num_classes == 7

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (64, 64), (24, 40)])
    def test_other_image_sizes_work(self, name, height, width):
        with torch.no_grad():
            assert made(name, num_classes=10).eval()(images(1, 3, height, width)).shape == (1, 10)

    def test_the_classifier_can_be_replaced_and_removed(self, name):
        net = made(name).eval()
        assert net.get_classifier() is net.get_submodule(net.pretrained_cfg["classifier"])
        with torch.no_grad():
            embedding = net.forward_head(net.forward_features(images()), pre_logits=True)
            net.reset_classifier(5)
            assert net(images()).shape == (2, net.num_classes) == (2, 5)
            net.reset_classifier(0)
            assert torch.equal(net(images()), embedding)
            assert made(name, num_classes=0).eval()(images()).shape == embedding.shape

    def test_pooling_other_than_average_is_refused(self, name):
        with pytest.raises(ValueError, match="global_pool='max'"):
            made(name).reset_classifier(5, global_pool="max")

    def test_initial_weights_come_from_torchs_global_seed(self, name):
        first, same, other = (made(name, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert not all(torch.equal(first[key], other[key]) for key in first)

    def test_the_first_convolution_is_where_the_configuration_says(self, name):
        net = made(name, in_chans=5)
        assert net.get_submodule(net.pretrained_cfg["first_conv"]).in_channels == 5


@pytest.mark.parametrize(
    "name", ["cifar_resnet8", "cifar_wrn_16_1", "cifar_vgg8", "cifar_mobilenetv2_half"]
)
class TestIntermediates:
    @pytest.mark.parametrize(
        ("indices", "places"),
        [(None, None), (1, [-1]), (2, [-2, -1]), ([0, -1], [0, -1]), ((1,), [1])],
    )
    def test_indices_choose_stages_as_in_timm(self, name, indices, places):
        net = learned(name)
        with torch.no_grad():
            everything = net.forward_intermediates(images(), intermediates_only=True)
            chosen = net.forward_intermediates(images(), indices, intermediates_only=True)
        expected = everything if places is None else [everything[place] for place in places]
        assert all(torch.equal(*pair) for pair in zip(chosen, expected, strict=True))

    @pytest.mark.parametrize("indices", [0, 9, [], [7], [-8]])
    def test_a_stage_that_does_not_exist_is_an_error(self, name, indices):
        with pytest.raises(ValueError, match="indices="):
            made(name).forward_intermediates(images(), indices)

    def test_stopping_early_runs_no_deeper_stage(self, name):
        net = learned(name)
        ran = []
        for place, stage in enumerate(net.stages()):
            stage.register_forward_hook(lambda _, __, ___, place=place: ran.append(place))
        with torch.no_grad():
            features, maps = net.forward_intermediates(images(), [0], stop_early=True)
        assert ran == [0]
        assert torch.equal(features, maps[0])

    def test_another_format_is_refused(self, name):
        with pytest.raises(ValueError, match="NLC"):
            made(name).forward_intermediates(images(), output_fmt="NLC")

    def test_norm_changes_the_deepest_map_of_wide_resnets_alone(self, name):
        net = learned(name)
        with torch.no_grad():
            final, plain = net.forward_intermediates(images())
            _, normed = net.forward_intermediates(images(), norm=True)
        assert all(torch.equal(*pair) for pair in zip(plain[:-1], normed[:-1], strict=True))
        assert torch.equal(normed[-1], final if name in WRN else plain[-1])

    def test_timms_features_only_gives_the_same_maps(self, name):
        net, features = made(name).eval(), made(name, features_only=True).eval()
        with torch.no_grad():
            maps = net.forward_intermediates(images(), intermediates_only=True)
            assert all(torch.equal(*pair) for pair in zip(features(images()), maps, strict=True))
        assert features.feature_info.channels() == [wide for wide, _ in SIZES[name].maps]


class TestInitialisation:
    @pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name not in SHUFFLE])
    def test_convolutions_are_kaiming_normal_by_fan_out(self, name):
        for place, module in made(name).named_modules():
            if isinstance(module, nn.Conv2d):
                expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
                assert module.bias is None or not module.bias.any()
                # The spread of n normal draws is known to about 1 in sqrt(2n).
                assert module.weight.std().item() == pytest.approx(
                    expected, rel=4 / (2 * module.weight.numel()) ** 0.5
                )
                assert module.weight.abs().max() > 1.8 * expected, place

    @pytest.mark.parametrize("name", SHUFFLE)
    def test_shufflenets_keep_pytorchs_own_initialisation(self, name):
        for module in made(name).modules():
            if isinstance(module, nn.Conv2d):
                bound = (module.in_channels // module.groups * module.kernel_size[0] ** 2) ** -0.5
                assert 0.8 * bound < module.weight.abs().max() <= bound

    @pytest.mark.parametrize("name", ["cifar_vgg8", "cifar_mobilenetv2_half"])
    def test_the_small_classifiers_of_vgg_and_mobilenet(self, name):
        classifier = made(name).get_classifier()
        assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not classifier.bias.any()

    def test_the_classifier_of_a_wide_resnet_has_zero_bias(self):
        assert not made("cifar_wrn_16_1").fc.bias.any()


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_public_cifar_resnet_weights_fit_strictly(depth):
    path = CHECKPOINTS / f"cifar100_resnet{depth}.safetensors"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    weights = load_file(path)
    net = made(f"cifar_resnet{depth}", num_classes=100)
    net.load_state_dict(weights, strict=True)
    assert set(net.state_dict()) == set(weights)


@pytest.mark.parametrize("name", [*ONE_OF_EACH, *RECURRENT])
def test_the_engine_taps_the_net(name):
    net = made(name, num_classes=10)
    tapped = TappedModel(net, (3, 32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    with torch.no_grad():
        output = tapped(images(), Needs(logits=True, embedding=True, maps=name in SIZES))
    assert output.logits.shape == (2, 10)
    assert output.embedding.shape == (2, net.num_features)
    if name in SIZES:
        # The engine takes the last map of each size.
        last = {side: wide for wide, side in SIZES[name].maps}
        assert [tuple(one.shape[1:3]) for one in output.maps] == [
            (wide, side) for side, wide in last.items()
        ]
    else:
        assert output.maps == ()
        assert tapped.notes["maps"]


@pytest.mark.parametrize("name", RECURRENT)
class TestRowReader:
    def test_parameters_and_macs_are_those_of_the_formula(self, name):
        net = made(name)
        assert (parameter_count(net), macs(net)) == RECURRENT[name]
        gates = {"row_lstm": 4, "row_gru": 3}[name]
        weights = gates * 128 * (96 + 128)
        assert RECURRENT[name] == (weights + 2 * gates * 128 + 12_900, 32 * weights + 12_800)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_the_macs_are_the_same_with_gradients(self, name, layers):
        net, counter = made(name, num_layers=layers), FlopCounterMode(display=False)
        expected = macs(net)
        with counter:
            net.train()(images(1))
        assert counter.get_total_flops() == 2 * expected

    @pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (12, 5, 1), (5, 12, 3)])
    def test_the_output_is_that_of_a_cell_stepping_through_the_rows(
        self, name, height, width, channels
    ):
        net = made(
            name, img_size=(height, width), in_chans=channels, hidden_size=16, num_classes=4
        ).eval()
        cell = {"row_lstm": nn.LSTMCell, "row_gru": nn.GRUCell}[name](channels * width, 16)
        cell.load_state_dict(
            {key.removesuffix("_l0"): value for key, value in net.rnn.state_dict().items()}
        )
        batch = images(3, channels, height, width)
        state = None
        with torch.no_grad():
            for row in range(height):
                seen = torch.cat([batch[:, channel, row] for channel in range(channels)], dim=1)
                state = cell(seen, state)
            hidden = state[0] if name == "row_lstm" else state
            torch.testing.assert_close(
                net.forward_head(net.forward_features(batch), pre_logits=True), hidden
            )
            torch.testing.assert_close(net(batch), net.fc(hidden))

    def test_the_order_of_rows_matters(self, name):
        net, batch = made(name).eval(), images()
        with torch.no_grad():
            plain, flipped = net(batch), net(batch.flip(2))
        assert (plain - flipped).abs().max() > 1e-3

    def test_a_later_row_changes_no_earlier_state(self, name):
        net, batch = made(name).eval(), images()
        changed = batch.clone()
        changed[:, :, 20:] = 0
        with torch.no_grad():
            first, second = net.forward_features(batch), net.forward_features(changed)
        assert first.shape == (2, 32, 128)
        assert torch.equal(first[:, :20], second[:, :20])
        assert not torch.equal(first[:, 20:], second[:, 20:])

    @pytest.mark.parametrize("layers", [1, 3])
    def test_a_gradient_reaches_every_parameter_and_every_row(self, name, layers):
        net = made(name, num_layers=layers, hidden_size=24, img_size=16).train()
        batch = images(4, 3, 16, 16).requires_grad_()
        logits = net(batch)
        (
            logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
        ).sum().backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in net.parameters())
        assert (batch.grad.abs().sum(dim=(0, 1, 3)) > 0).all()

    def test_size_and_layers_are_as_asked_for(self, name):
        net = made(
            name, hidden_size=20, num_layers=2, img_size=28, in_chans=1, num_classes=10
        ).eval()
        assert (net.rnn.hidden_size, net.rnn.num_layers, net.rnn.input_size) == (20, 2, 28)
        with torch.no_grad():
            batch = images(2, 1, 28, 28)
            states = net.rnn(batch[:, 0])[1]
            top = (states[0] if name == "row_lstm" else states)[-1]
            assert torch.equal(net.forward_head(net.forward_features(batch), pre_logits=True), top)

    def test_images_of_another_size_are_refused(self, name):
        with pytest.raises(ValueError, match="images of 3x32x30: this net reads 3x32x32"):
            made(name)(images(2, 3, 32, 30))

    def test_there_are_no_feature_maps(self, name):
        assert not hasattr(made(name), "forward_intermediates")
        with pytest.raises(RuntimeError, match="no feature maps"):
            made(name, features_only=True)

    def test_the_classifier_can_be_replaced_and_removed(self, name):
        net = made(name).eval()
        net.reset_classifier(5)
        assert net(images()).shape == (2, 5)
        assert net.get_classifier() is net.fc
        net.reset_classifier(0)
        assert net(images()).shape == (2, 128)

    def test_initial_weights_come_from_torchs_global_seed(self, name):
        first, same, other = (made(name, seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert not any(torch.equal(first[key], other[key]) for key in first)


def test_the_macs_of_cudnns_recurrent_kernel_are_counted():
    def blank(*shape):
        return torch.empty(*shape, device="meta")

    weights = [blank(512, 96), blank(512, 128), blank(512), blank(512)]
    state = blank(1, 2, 128)
    counter = FlopCounterMode(display=False)
    with counter:
        torch.ops.aten._cudnn_rnn(
            blank(2, 32, 96),
            weights,
            4,
            None,
            state,
            state,
            2,
            128,
            0,
            1,
            True,
            0.0,
            False,
            False,
            [],
            None,
        )
    assert counter.get_total_flops() == 2 * 2 * 32 * 512 * (96 + 128)
