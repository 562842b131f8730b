"""The zoo: registered in timm, of the published sizes, and tapped by the engine."""

from __future__ import annotations

import importlib

import pytest
import timm
import torch
from safetensors.torch import load_file

import benchmark.models.zoo
from benchmark.models.tapped import TappedModel
from methods import Needs
from tests.models.zoo_nets import (
    ONE_OF_EACH,
    RECURRENT,
    SIZES,
    build,
    images,
    macs,
    parameter_count,
    rounded,
)
from tests.support.datasources import SHARED

pytestmark = pytest.mark.broad

CHECKPOINTS = SHARED / "checkpoints"


class TestRegistry:
    def test_timm_lists_exactly_the_pinned_networks(self):
        assert sorted(timm.list_models("cifar_*")) == sorted(SIZES)
        assert sorted(timm.list_models("row_*")) == sorted(RECURRENT)

    @pytest.mark.parametrize("name", [*SIZES, *RECURRENT])
    def test_timm_knows_the_network_and_that_it_has_no_weights(self, name):
        assert timm.is_model(name)
        assert not timm.models.is_model_pretrained(name)

    def test_a_second_import_is_quiet(self):
        importlib.import_module("benchmark.models.zoo")
        importlib.reload(benchmark.models.zoo)

    def test_a_module_offers_its_networks_by_name(self):
        vgg = benchmark.models.zoo.vgg
        assert vgg.cifar_vgg8(num_classes=10).num_classes == 10
        assert all(hasattr(vgg, name) for name in vgg.__all__)

    @pytest.mark.parametrize("name", ["cifar_resnet20", "row_gru"])
    def test_pretrained_weights_are_refused_by_name(self, name):
        with pytest.raises(RuntimeError, match=f"{name} has no pretrained weights"):
            timm.create_model(name, pretrained=True)

    def test_an_unknown_argument_is_an_error(self):
        with pytest.raises(TypeError, match="drop_rat"):
            timm.create_model("cifar_resnet8", drop_rat=0.1)

    @pytest.mark.parametrize(("name", "depth"), [("cifar_resnet20", 21), ("cifar_wrn_16_2", 4)])
    def test_a_depth_that_no_network_has_is_an_error(self, name, depth):
        with pytest.raises(ValueError, match=f"depth={depth}"):
            timm.create_model(name, depth=depth)

    def test_timm_reads_the_image_size_for_recurrent_networks_only(self):
        assert timm.get_pretrained_cfg("row_lstm").fixed_input_size
        assert not timm.get_pretrained_cfg("cifar_vgg8").fixed_input_size


@pytest.mark.parametrize("name", SIZES)
class TestSizes:
    def test_the_parameters_are_those_published(self, name):
        size = SIZES[name]
        count = parameter_count(build(name, num_classes=100))
        assert count == size.parameters
        if size.published_parameters is not None:
            assert rounded(count, size.published_parameters) == size.published_parameters

    def test_the_macs_are_those_measured_elsewhere(self, name):
        size = SIZES[name]
        count = macs(build(name, num_classes=100))
        assert count == size.macs
        if size.published_macs is not None:
            assert rounded(count, size.published_macs) == size.published_macs


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_public_cifar_resnet_weights_are_loaded_strictly(depth):
    path = CHECKPOINTS / f"cifar100_resnet{depth}.safetensors"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")

    weights = load_file(path)
    net = build(f"cifar_resnet{depth}", num_classes=100)
    net.load_state_dict(weights, strict=True)
    assert set(net.state_dict()) == set(weights)


@pytest.mark.parametrize("name", [*ONE_OF_EACH, *RECURRENT])
def test_the_engine_taps_the_network(name):
    net = build(name, num_classes=10)
    tapped = TappedModel(net, (3, 32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()
    with torch.no_grad():
        output = tapped(images(), Needs(logits=True, embedding=True, maps=name in SIZES))
    assert output.logits.shape == (2, 10)
    assert output.embedding.shape == (2, net.num_features)

    if name in RECURRENT:
        assert output.maps == ()
        assert tapped.notes["maps"]
        return

    # The engine taps the last map of each size.
    last_of_size = {side: channels for channels, side in SIZES[name].maps}
    expected = [(channels, side) for side, channels in last_of_size.items()]
    assert [tuple(stage_map.shape[1:3]) for stage_map in output.maps] == expected
