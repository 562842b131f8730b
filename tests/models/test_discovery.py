"""Routes to the maps of a network: which one is taken, and what is said if there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.models.pairing import probe
from methods import Needs, create
from tests.models.networks import EVERYTHING, SWIN, VIT, build, tap


def without_intermediates(model):
    """The same network, tapped by hooks."""

    def refuse(*_, **__):
        raise AttributeError("it has none")

    model.network.forward_intermediates = refuse
    return tap(model.network)


def test_a_network_of_one_map_size_gives_evenly_spaced_maps_that_end_with_the_last():
    assert build(*VIT).stages == [0, 2, 3, 5]


@pytest.mark.parametrize(
    "family", [("test_resnet", {}), ("test_convnext", {}), SWIN], ids=lambda family: family[0]
)
def test_hooks_give_the_same_maps_if_a_network_offers_no_other_way(family, images):
    model = build(*family)
    with torch.no_grad():
        expected = model(images, EVERYTHING)
        hooked = without_intermediates(model)
        output = hooked(images, EVERYTHING)

    assert hooked.stages == model.stages
    assert hooked.shapes == replace(model.shapes, pooled=())  # hooks see no final features
    assert set(hooked.notes) == {"pooled"}
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.embedding, expected.embedding)
    assert len(output.maps) == len(expected.maps)
    assert all(map(torch.equal, output.maps, expected.maps))


def test_hooks_are_taken_if_the_head_would_make_other_logits_of_the_last_map(images):
    network = build("test_resnet").network
    head = network.forward_head
    network.forward_head = lambda features, pre_logits=False: 2 * head(features, pre_logits)
    network.forward = lambda inputs: head(network.forward_features(inputs))

    model = tap(network)
    with torch.no_grad():
        assert torch.equal(model(images, EVERYTHING).logits, model(images, Needs()).logits)
    assert model.shapes == replace(build("test_resnet").shapes, pooled=())


def test_a_blank_image_would_not_show_that_the_head_makes_other_logits():
    network = build("test_resnet").network
    intermediates = network.forward_intermediates

    def colour_only(inputs, **options):
        return intermediates(inputs[..., :1, :1].expand_as(inputs).contiguous(), **options)

    network.forward_intermediates = colour_only
    network.feature_info = []
    note = tap(network).notes["maps"]
    assert note.startswith("the head computes other logits from the last map than")


def test_modules_that_take_the_map_are_watched_before_they_run(images):
    model = build("test_resnet")
    network = model.network
    last = network.feature_info[-1]
    network.feature_info = [{**last, "module": "global_pool", "hook_type": "forward_pre"}]
    hooked = without_intermediates(model)
    with torch.no_grad():
        expected = network.forward_features(hooked.prepared(images))
        assert torch.equal(hooked(images, EVERYTHING).maps[0], expected)


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        ({"module": "fc", "num_chs": 10}, "it has none; a tap of shape (1, 10) is not a map"),
        (
            {"module": "layer4", "num_chs": 7},
            "it has none; a tap of shape (1, 96, 1, 1) has no axis of 7 channels",
        ),
        ({"module": "layer9", "num_chs": 7}, "it has none; ResNet has no attribute `layer9`"),
        ({"module": "spare", "num_chs": 7}, "it has none; the network does not call its 'spare'"),
    ],
)
def test_a_network_that_hooks_cannot_tap_says_why(feature, reason, images):
    model = build("test_resnet")
    model.network.spare = nn.Identity()
    model.network.feature_info = [feature]
    flat = without_intermediates(model)

    assert flat.notes == {"maps": reason, "pooled": "the embedding is not the average of a map"}
    assert flat.taps() == Needs(logits=True, embedding=True, classifier=True)
    assert flat(images, EVERYTHING).maps == ()

    pair = probe(build("test_resnet"), flat, Needs(), samples=16, batch_size=4)
    assert create("fitnet").supports(pair) == f"maps of the teacher: {reason}"


def hook_count(network):
    """The number of hooks in all modules of a network."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()
    )


def test_tapping_draws_nothing_from_torchs_global_stream_and_leaves_no_hook():
    network = build("test_resnet").network
    torch.manual_seed(3)
    before = torch.get_rng_state()
    without_intermediates(tap(network)).macs()
    assert torch.equal(torch.get_rng_state(), before)
    assert hook_count(network) == 0


def test_no_hook_stays_if_a_later_module_does_not_exist():
    model = build("test_resnet")
    model.network.feature_info = [
        {"module": "layer1", "num_chs": 32},
        {"module": "layer9", "num_chs": 32},
    ]
    assert "maps" in without_intermediates(model).notes
    assert hook_count(model.network) == 0


@pytest.mark.parametrize(
    "family", [("cifar_resnet8", {}), VIT, ("test_resnet", {})], ids=lambda family: family[0]
)
def test_the_embedding_is_tapped_without_hooks_where_the_head_can_be_split(
    family, images, monkeypatch
):
    model = build(*family)
    assert model._tappable.splits
    with torch.no_grad():
        expected = without_intermediates(build(*family))(images, Needs(embedding=True))

    def refuse(*_):
        raise AssertionError("a hook was registered")

    monkeypatch.setattr(torch.nn.Module, "register_forward_pre_hook", refuse)
    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", refuse)
    with torch.no_grad():
        for needs in (Needs(embedding=True), EVERYTHING):
            output = model(images, needs)
            assert torch.equal(output.embedding, expected.embedding)
            assert torch.equal(output.logits, expected.logits)


def test_the_embedding_is_tapped_with_a_hook_where_the_head_computes_other_logits(images):
    network = build("test_resnet").network
    network.forward_head = lambda x, pre_logits=False: network.fc(network.global_pool(x)) + 1
    model = tap(network)
    with torch.no_grad():
        output = model(images, Needs(embedding=True))
        assert torch.equal(output.logits, network(model.prepared(images)))
    assert output.embedding.shape == (2, *model.shapes.embedding)


@pytest.mark.parametrize("drop", [{"drop_rate": 0.2}, {}])
def test_the_head_of_a_network_with_dropout_is_never_split(drop):
    assert build("test_resnet", drop)._tappable.splits == (not drop)
