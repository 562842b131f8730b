"""The zoo's CNNs: taps, gradients, timm's interface and initialisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.models.zoo_nets import (
    ENDING_IN_RELU,
    LINEAR,
    ONE_OF_EACH,
    SHUFFLE,
    SIZES,
    TAILED,
    WRN,
    all_equal,
    build,
    images,
    learned,
    map_sizes,
    same_state,
)

pytestmark = pytest.mark.broad

one_of_each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "cifar_resnet50" else [])
        for name in ONE_OF_EACH
    ],
)


@pytest.mark.parametrize("name", SIZES)
class TestStagedNet:
    def test_there_is_one_map_per_stage_and_feature_info_describes_it(self, name):
        net = build(name).eval()
        with torch.no_grad():
            features, maps = net.forward_intermediates(images())

        expected = SIZES[name].maps
        assert map_sizes(maps) == [(channels, side, side) for channels, side in expected]
        assert [info["num_chs"] for info in net.feature_info] == [size[0] for size in expected]
        assert [info["reduction"] for info in net.feature_info] == [
            32 // side for _, side in expected
        ]
        assert features.shape[1] == TAILED.get(name, expected[-1][0]) == net.num_features

    def test_the_head_on_the_final_features_is_the_network_bit_for_bit(self, name):
        net = learned(name)
        batch = images()
        with torch.no_grad():
            expected = net(batch)
            features, _ = net.forward_intermediates(batch)
            assert torch.equal(net.forward_head(features), expected)
            assert torch.equal(features, net.forward_features(batch))

            features, _ = net.forward_intermediates(batch, preactivation=True)
            assert torch.equal(net.forward_head(features), expected)

            embedding = net.forward_head(features, pre_logits=True)
            assert embedding.shape == (2, net.num_features)
            assert torch.equal(net.get_classifier()(embedding), expected)


def maps_and_preactivations(net):
    with torch.no_grad():
        _, maps = net.forward_intermediates(images())
        _, early_maps = net.forward_intermediates(images(), preactivation=True)
    assert len(maps) == len(early_maps)
    return maps, early_maps


@pytest.mark.parametrize("name", ENDING_IN_RELU)
def test_relu_of_the_map_before_it_is_the_stage_map(name):
    maps, early_maps = maps_and_preactivations(learned(name))
    for stage_map, early in zip(maps, early_maps, strict=True):
        assert torch.equal(F.relu(early), stage_map)
        assert early.min() < 0


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_stage_is_its_own_map_before_the_relu(name):
    maps, early_maps = maps_and_preactivations(learned(name))
    assert all_equal(maps, early_maps)
    assert all(stage_map.min() < 0 for stage_map in maps)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ["cifar_wrn_16_1", "cifar_wrn_16_2"])
def test_relu_of_a_wide_resnets_normed_sum_is_what_the_next_convolution_reads(name, training):
    net = learned(name).train(training)
    read = []
    for convolution in (net.block2.layer[0].conv1, net.block3.layer[0].conv1):
        convolution.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        features, early_maps = net.forward_intermediates(images(), preactivation=True)

    tolerance = 1e-5 if training else 0
    for activated, early in zip([*read, features], early_maps, strict=True):
        torch.testing.assert_close(F.relu(early), activated, rtol=0, atol=tolerance)


def test_a_wide_resnets_maps_are_the_sums_that_the_stages_return():
    net = learned("cifar_wrn_16_2")
    sums = []
    for stage in net.stages():
        stage.register_forward_hook(lambda _, __, output: sums.append(output))
    with torch.no_grad():
        _, maps = net.forward_intermediates(images())
    assert all_equal(maps, sums)
    assert all(stage_map.min() < 0 for stage_map in maps)


@one_of_each
class TestTraining:
    def test_tapping_before_the_relu_changes_no_running_statistics(self, name):
        plain = build(name).train()
        tapped = build(name).train()
        with torch.no_grad():
            plain(images())
            tapped.forward_intermediates(images(), preactivation=True)
        assert same_state(plain, tapped)

    def test_a_gradient_reaches_every_parameter(self, name):
        net = build(name).train()
        logits = net(images(4))
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
        (logits * weights).sum().backward()

        convolutions = [path for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]
        before_norm = {f"{path}.bias" for path in convolutions}
        for path, parameter in net.named_parameters():
            assert parameter.grad is not None, path
            # A norm removes the mean, and with it whatever a bias before it has added.
            assert path in before_norm or parameter.grad.abs().max() > 0, path

    @pytest.mark.parametrize("preactivation", [False, True])
    def test_a_gradient_flows_through_every_tap(self, name, preactivation):
        net = build(name).train()
        _, maps = net.forward_intermediates(images(), preactivation=preactivation)
        for stage_map in maps:
            net.zero_grad()
            stage_map.square().mean().backward(retain_graph=True)
            assert next(net.parameters()).grad.abs().max() > 0


@one_of_each
class TestInterface:
    def test_channels_and_classes_are_as_asked_for(self, name):
        net = build(name, in_chans=1, num_classes=7).eval()
        with torch.no_grad():
            assert net(images(channels=1)).shape == (2, 7)
        assert net.num_classes == 7

    @pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (64, 64), (24, 40)])
    def test_other_image_sizes_work(self, name, height, width):
        net = build(name, num_classes=10).eval()
        with torch.no_grad():
            assert net(images(1, 3, height, width)).shape == (1, 10)

    def test_the_classifier_can_be_replaced_and_removed(self, name):
        net = build(name).eval()
        assert net.get_classifier() is net.get_submodule(net.pretrained_cfg["classifier"])
        with torch.no_grad():
            embedding = net.forward_head(net.forward_features(images()), pre_logits=True)
            net.reset_classifier(5)
            assert net(images()).shape == (2, net.num_classes) == (2, 5)

            net.reset_classifier(0)
            assert torch.equal(net(images()), embedding)
            assert build(name, num_classes=0).eval()(images()).shape == embedding.shape

    def test_pooling_other_than_average_is_refused(self, name):
        with pytest.raises(ValueError, match="global_pool='max'"):
            build(name).reset_classifier(5, global_pool="max")

    def test_initial_weights_come_from_torchs_global_seed(self, name):
        net = build(name, seed=0)
        assert same_state(net, build(name, seed=0))
        assert not same_state(net, build(name, seed=1))

    def test_the_first_convolution_is_where_the_configuration_says(self, name):
        net = build(name, in_chans=5)
        assert net.get_submodule(net.pretrained_cfg["first_conv"]).in_channels == 5


@pytest.mark.parametrize(
    "name", ["cifar_resnet8", "cifar_wrn_16_1", "cifar_vgg8", "cifar_mobilenetv2_half"]
)
class TestIntermediates:
    @pytest.mark.parametrize(
        ("indices", "expected"),
        [(None, None), (1, [-1]), (2, [-2, -1]), ([0, -1], [0, -1]), ((1,), [1])],
    )
    def test_indices_choose_stages_as_in_timm(self, name, indices, expected):
        net = learned(name)
        with torch.no_grad():
            every_map = net.forward_intermediates(images(), intermediates_only=True)
            chosen = net.forward_intermediates(images(), indices, intermediates_only=True)
        if expected is not None:
            every_map = [every_map[index] for index in expected]
        assert all_equal(chosen, every_map)

    @pytest.mark.parametrize("indices", [0, 9, [], [7], [-8]])
    def test_a_stage_that_does_not_exist_is_an_error(self, name, indices):
        with pytest.raises(ValueError, match="indices="):
            build(name).forward_intermediates(images(), indices)

    def test_stopping_early_runs_no_deeper_stage(self, name):
        net = learned(name)
        ran = []
        for index, stage in enumerate(net.stages()):
            stage.register_forward_hook(lambda _, __, ___, index=index: ran.append(index))
        with torch.no_grad():
            features, maps = net.forward_intermediates(images(), [0], stop_early=True)
        assert ran == [0]
        assert torch.equal(features, maps[0])

    def test_another_format_is_refused(self, name):
        with pytest.raises(ValueError, match="NLC"):
            build(name).forward_intermediates(images(), output_fmt="NLC")

    def test_norm_changes_the_deepest_map_of_wide_resnets_alone(self, name):
        net = learned(name)
        with torch.no_grad():
            features, plain = net.forward_intermediates(images())
            _, normed = net.forward_intermediates(images(), norm=True)
        assert all_equal(plain[:-1], normed[:-1])
        assert torch.equal(normed[-1], features if name in WRN else plain[-1])

    def test_timms_features_only_gives_the_same_maps(self, name):
        net = build(name).eval()
        extractor = build(name, features_only=True).eval()
        with torch.no_grad():
            maps = net.forward_intermediates(images(), intermediates_only=True)
            assert all_equal(extractor(images()), maps)
        channels = [channels for channels, _ in SIZES[name].maps]
        assert extractor.feature_info.channels() == channels


class TestInitialisation:
    @pytest.mark.parametrize("name", [name for name in ONE_OF_EACH if name not in SHUFFLE])
    def test_convolutions_are_kaiming_normal_by_fan_out(self, name):
        for path, module in build(name).named_modules():
            if isinstance(module, nn.Conv2d):
                expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
                # The deviation of n normal draws is known to about 1 in sqrt(2n).
                tolerance = 4 / (2 * module.weight.numel()) ** 0.5
                assert module.bias is None or not module.bias.any()
                assert module.weight.std().item() == pytest.approx(expected, rel=tolerance)
                assert module.weight.abs().max() > 1.8 * expected, path

    @pytest.mark.parametrize("name", SHUFFLE)
    def test_shufflenets_keep_pytorchs_own_initialisation(self, name):
        for module in build(name).modules():
            if isinstance(module, nn.Conv2d):
                inputs = module.in_channels // module.groups * module.kernel_size[0] ** 2
                bound = inputs**-0.5
                assert 0.8 * bound < module.weight.abs().max() <= bound

    @pytest.mark.parametrize("name", ["cifar_vgg8", "cifar_mobilenetv2_half"])
    def test_the_classifiers_of_vgg_and_mobilenet_have_small_weights(self, name):
        classifier = build(name).get_classifier()
        assert classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not classifier.bias.any()

    def test_the_classifier_of_a_wide_resnet_has_zero_bias(self):
        assert not build("cifar_wrn_16_1").fc.bias.any()
