"""Networks by name: made for the data, with pretrained weights, or refused in one line."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import register_model
from timm.models._builder import build_model_with_cfg
from torch import nn

from benchmark.errors import InputError
from benchmark.models import create
from benchmark.models.tapped import in_channels_last, memory_format
from benchmark.study.schema import Network
from tests.models.networks import EVERYTHING, MEAN, SIZE, STD, build, normalised


def test_weights_come_from_torchs_global_stream():
    first = build("test_resnet")
    again = build("test_resnet")
    torch.manual_seed(1)
    other = create.tapped(Network(model="test_resnet"), "here", SIZE, 10, MEAN, STD)

    heads = [model.network.get_classifier().weight for model in (first, again, other)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


@pytest.mark.parametrize(("size", "classes"), [((1, 32, 32), 10), ((3, 64, 48), 7)])
def test_a_model_is_made_for_the_data_sets_channels_size_and_classes(size, classes):
    model = build("test_resnet", size=size, classes=classes)
    with torch.no_grad():
        output = model(torch.rand(2, *size), EVERYTHING)
    assert output.logits.shape == (2, classes)
    assert tuple(tuple(stage_map.shape[1:]) for stage_map in output.maps) == model.shapes.maps


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("test_resnett", {}, "timm has no model 'test_resnett'; did you mean 'test_resnet'?"),
        ("resnet8", {}, "timm has no model 'resnet8'; did you mean 'cifar_resnet8'?"),
        ("q" * 30, {}, f"timm has no model {'q' * 30!r}; search with `kdbench models PATTERN`"),
        ("test_resnet", {"flavour": 3}, "timm cannot create 'test_resnet' with {'flavour': 3}: "),
        ("test_vit", {"embed_dim": 31}, "timm cannot create 'test_vit' with {'embed_dim': 31}: "),
        ("test_resnet", {"global_pool": ""}, "'test_resnet' cannot take images of 3x32x32: "),
        ("test_vit3", {"img_size": 160}, "'test_vit3' cannot take images of 3x32x32: "),
        ("inception_v3", {}, "'inception_v3' cannot take images of 3x32x32: "),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_in_one_line_with_its_key(name, kwargs, message):
    with pytest.raises(InputError) as error:
        build(name, kwargs)
    assert str(error.value).startswith(f"pairs[0].student: {message}")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("test_vit", {"patch_size": 0}),
        ("test_resnet", {"block": "x"}),
        ("test_resnet", {"checkpoint_path": "none"}),
    ],
)
def test_arguments_on_which_timm_fails_are_refused_in_one_line_too(name, kwargs):
    with pytest.raises(InputError) as error:
        build(name, kwargs)
    expected = f"pairs[0].student: timm cannot create {name!r} with {kwargs}: "
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("num_classes", "is set by the data set"),
        ("in_chans", "is set by the data set"),
        ("features_only", "is not supported"),
    ],
)
def test_arguments_that_the_engine_does_not_leave_to_a_study_are_refused(key, reason):
    message = rf"^pairs\[0\]\.student\.kwargs\.{key}: {reason}; leave it out$"
    with pytest.raises(InputError, match=message):
        build("test_resnet", {key: 3})


def test_a_network_that_gives_no_logits_is_refused():
    message = (
        r"'gemma4_vit_167m_enc' is no classifier of 10 classes: its output per image has the shape "
        r"[0-9x]+; choose another model$"
    )
    with pytest.raises(InputError, match=message):
        build("gemma4_vit_167m_enc", {"depth": 1, "global_pool": "avg"})


def test_a_model_built_for_one_size_is_told_the_size_that_it_sees():
    assert build("test_vit").network.patch_embed.img_size == (32, 32)
    assert build("test_vit", size=(3, 64, 32)).network.patch_embed.img_size == (64, 32)
    assert build("test_vit", image_size=48).network.patch_embed.img_size == (48, 48)
    assert create.has_fixed_size(Network(model="test_vit"))
    assert not create.has_fixed_size(Network(model="test_resnet"))


def test_a_size_in_the_study_overrides_the_one_that_the_network_would_be_told():
    with pytest.raises(InputError, match="cannot take images of 3x32x32: "):
        build("test_vit3", {"img_size": 64})
    assert build("test_vit3", {"img_size": 64}, image_size=64).shapes.logits == (10,)


def test_a_refused_size_comes_with_the_one_that_the_model_was_made_for():
    with pytest.raises(InputError, match=r"it was designed for 3x299x299; set image_size$"):
        build("inception_v3")


def test_the_networks_of_the_zoo_are_models_like_any_other():
    assert build("cifar_resnet8").shapes.maps == ((16, 32, 32), (32, 16, 16), (64, 8, 8))
    assert build("cifar_resnet8").shapes.embedding == (64,)
    assert "cifar_resnet8" in create.names("cifar_*")


def test_a_networks_own_normalisation_replaces_that_of_the_data(images):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    model = build("test_resnet", mean=mean, std=std)
    assert torch.equal(model.prepared(images), normalised(images, mean, std))


@pytest.mark.parametrize(("key", "other"), [("mean", [0.5] * 3), ("std", [0.5] * 3)])
def test_a_normalisation_for_another_number_of_channels_is_refused(key, other):
    options = {"mean": [0.5] * 3, "std": [0.5] * 3, key: [0.5]}
    message = rf"^pairs\[0\]\.student\.{key}: has 1 value, but the images have 3 channels$"
    with pytest.raises(InputError, match=message):
        build("test_resnet", **options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights for 10 classes that no other seed draws."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), path)
    return path


def from_file(path, **overlay):
    """A network that starts from the weights in a file, made for 10 classes."""
    overlay = {"file": str(path), "num_classes": 10, **overlay}
    return Network(model="test_resnet", pretrained=True, kwargs={"pretrained_cfg_overlay": overlay})


def tapped(network, classes=10, size=SIZE):
    torch.manual_seed(0)
    half = (0.5,) * size[0]
    return create.tapped(network, "pairs[0].teacher", size, classes, half, half)


def test_pretrained_weights_are_read_from_a_local_file(weights):
    stored = load_file(weights)
    network = from_file(weights)
    assert create.head_is_pretrained(network, 10)

    state = tapped(network).network.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], value) for name, value in stored.items())


def test_pretrained_weights_of_other_classes_get_a_fresh_head(weights):
    stored = load_file(weights)
    network = from_file(weights)
    assert not create.head_is_pretrained(network, 7)

    state = tapped(network, classes=7).network.state_dict()
    fresh = {name for name, value in stored.items() if not torch.equal(state[name], value)}
    assert fresh == {"fc.weight", "fc.bias"}

    again = tapped(network, classes=7).network.state_dict()
    assert torch.equal(state["fc.weight"], again["fc.weight"])


def test_a_head_is_pretrained_only_if_the_weights_are():
    assert create.head_is_pretrained(Network(model="test_resnet", pretrained=True), 1000)
    assert not create.head_is_pretrained(Network(model="test_resnet"), 1000)


@pytest.mark.parametrize(
    "wrong", [{"model": "test_resnet.nobodys"}, {"kwargs": {"pretrained_cfg_overlay": {"fil": 1}}}]
)
def test_weights_that_timm_does_not_know_have_no_pretrained_head_and_are_refused_when_made(wrong):
    network = Network(**{"model": "test_resnet", "pretrained": True, **wrong})
    assert not create.head_is_pretrained(network, 1000)
    with pytest.raises(InputError, match="from pretrained weights"):
        tapped(network)


def test_a_pretrained_network_is_normalised_as_its_weights_were(weights, images):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    network = from_file(weights, mean=mean, std=std)
    assert torch.equal(tapped(network).prepared(images), normalised(images, mean, std))

    own = Network(**{**network.model_dump(), "mean": [0.5] * 3, "std": [0.25] * 3})
    expected = normalised(images, [0.5] * 3, [0.25] * 3)
    assert torch.equal(tapped(own).prepared(images), expected)


def test_pretrained_weights_for_colour_need_a_normalisation_for_grey_images(weights):
    message = r"^pairs\[0\]\.teacher\.mean: has 3 values, but the images have 1 channel$"
    with pytest.raises(InputError, match=message):
        tapped(from_file(weights), size=(1, 32, 32))


def test_a_file_of_weights_that_is_missing_or_damaged_is_refused_in_one_line(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"x" * 100)
    other = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, other)

    for path in (tmp_path / "missing.safetensors", damaged, other):
        with pytest.raises(InputError) as error:
            tapped(from_file(path))
        message = str(error.value)
        start = "pairs[0].teacher: timm cannot create 'test_resnet' from pretrained weights"
        assert message.startswith(start)
        assert "train it without `pretrained`, or name a file" in message
        assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", ["cifar_resnet8", "test_resnet.nobodys", "resnet10t_unknown"])
def test_weights_that_do_not_exist_are_refused_in_one_line(name):
    with pytest.raises(InputError) as error:
        tapped(Network(model=name, pretrained=True))
    assert str(error.value).startswith("pairs[0].teacher: timm ")
    assert len(str(error.value).splitlines()) == 1


def test_a_hub_that_cannot_be_reached_is_one_line_with_the_remedy(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host\nat line 3")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(InputError) as error:
        tapped(Network(model="test_resnet", pretrained=True))
    reason = "'test_resnet' from pretrained weights with {}: no route to host; train it without"
    assert reason in str(error.value)


def test_a_file_of_pretrained_weights_is_refused_without_pretrained(weights):
    message = (
        r"kwargs\.pretrained_cfg_overlay: has no effect without `pretrained: true`; "
        r"set that or leave it out$"
    )
    with pytest.raises(InputError, match=message):
        build("test_resnet", from_file(weights).kwargs)


def test_an_own_network_without_pretrained_weights_causes_no_warning(caplog):
    """timm warns about it whenever the network is built; other warnings are shown once."""

    @register_model
    def tests_plain(pretrained=False, **options):
        return build_model_with_cfg(Plain, "tests_plain", pretrained, **options)

    for _ in range(3):
        create.create(Network(model="tests_plain"), "here", (3, 8, 8), 10)
    assert caplog.messages == []

    logger = logging.getLogger("timm.models._builder")
    for _ in range(3):
        logger.warning("weights %s are odd", "a")
    assert caplog.messages == ["weights a are odd"]


class Plain(nn.Module):
    """A network that timm knows nothing about."""

    def __init__(self, num_classes=10, in_chans=3, **_):
        super().__init__()
        self.num_classes = num_classes
        self.layer = nn.Linear(in_chans, num_classes)

    def forward(self, inputs):
        return self.layer(inputs.mean((2, 3)))


@pytest.mark.parametrize(
    ("convolution", "order"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(24, 8, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(64, 64, 1, stride=2, groups=16), torch.contiguous_format),
        (nn.Conv2d(32, 8, 1, stride=2), torch.channels_last),
        (nn.Conv2d(4, 8, 1), torch.channels_last),
        (nn.Conv2d(4, 8, 3, stride=2), torch.channels_last),
    ],
    ids=str,
)
def test_networks_with_a_convolution_that_onednn_miscomputes_are_not_in_channels_last(
    convolution, order
):
    network = nn.Sequential(nn.Conv2d(3, convolution.in_channels, 3), convolution)
    assert memory_format(network) == order
    assert in_channels_last(network)[0].weight.is_contiguous(memory_format=order)


def test_weights_with_five_axes_keep_their_order_and_others_have_their_channels_last():
    network = nn.ModuleDict({"volume": nn.Conv3d(3, 4, 3), "image": nn.Conv2d(3, 4, 3)})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert in_channels_last(network) is network
    volume, image = network["volume"].weight, network["image"].weight
    assert volume.is_contiguous()
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
