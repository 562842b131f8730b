"""Any timm model as a tapped model: what it gives, what it counts, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.errors import InputError
from benchmark.models import create as models_create
from benchmark.models.discovery import MAX_STAGES
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from methods import Needs, create

SIZE, MEAN, STD = (3, 32, 32), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
VIT = ("test_vit", {"img_size": 32, "patch_size": 8})

SWIN = (
    "swin_tiny_patch4_window7_224",
    {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]},
)
"""Its blocks give maps as NHWC."""

FAMILIES = [
    *((name, {}) for name in timm.list_models("test_*")),
    VIT,
    SWIN,
    ("resnet10t", {}),
    ("mobilenetv3_small_050", {}),
]

EVERYTHING = Needs(logits=True, embedding=True, maps=True)


def made(name, kwargs=None, size=SIZE, classes=10, **wishes):
    torch.manual_seed(0)
    channels = size[0]
    network = Network(model=name, kwargs=kwargs or {}, **wishes)
    return models_create.tapped(
        network, "pairs[0].student", size, classes, MEAN[:channels], STD[:channels]
    ).eval()


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family[0])
def model(request):
    return made(*request.param)


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """What timm's models offer is missing here."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(4, 10)

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3)))


class Pointwise(Plain):
    """Its classifier is a 1x1 convolution over the pooled map."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 10, 1)

    def get_classifier(self):
        return self.head

    def forward(self, images):
        return self.head(self.conv(images).mean(dim=(2, 3), keepdim=True)).flatten(1)


class Convolutional(Plain):
    """Its classifier takes maps, as that of a fully convolutional network does."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 10, 1)

    def get_classifier(self):
        return self.head

    def forward(self, images):
        return self.head(self.conv(images)).mean(dim=(2, 3))


def test_taps_have_the_declared_shapes(model, images):
    with torch.no_grad():
        output = model(images, EVERYTHING)
    assert output.logits.shape == (2, *model.shapes.logits) == (2, 10)
    assert output.embedding.shape == (2, *model.shapes.embedding)
    assert tuple(tuple(one.shape) for one in output.maps) == tuple(
        (2, *shape) for shape in model.shapes.maps
    )
    assert model.notes.keys() <= {"pooled"}  # attention pools a token, not a map
    assert model.shapes.classifier
    assert model.taps() == replace(
        EVERYTHING, preactivations=True, classifier=True, pooled="pooled" not in model.notes
    )


def test_the_pooled_map_averages_to_the_embedding_and_the_classifier_makes_the_logits_of_it(
    model, images
):
    model.eval()
    with torch.no_grad():
        output = model(images, model.taps())
    torch.testing.assert_close(output.classifier(output.embedding), output.logits)
    if "pooled" in model.notes:
        assert (output.pooled, model.shapes.pooled) == (None, ())
    else:
        assert output.pooled.shape[1:] == model.shapes.pooled
        torch.testing.assert_close(output.pooled.mean(dim=(2, 3)), output.embedding)


@pytest.mark.parametrize(
    "name", ["cifar_resnet8", "cifar_wrn_16_1", "cifar_vgg8", "cifar_mobilenetv2_half"]
)
def test_maps_before_the_activation_come_with_the_same_pass_and_change_no_bit(name, images):
    model = made(name).eval()
    with torch.no_grad():
        plain, both = (
            model(images, Needs(maps=True)),
            model(images, Needs(maps=True, preactivations=True)),
        )
    assert torch.equal(plain.logits, both.logits)
    assert all(torch.equal(one, other) for one, other in zip(plain.maps, both.maps, strict=True))
    assert [early.shape for early in both.preactivations] == [one.shape for one in both.maps]
    if name in ("cifar_resnet8", "cifar_vgg8"):
        assert all(
            torch.equal(early.relu(), one)
            for early, one in zip(both.preactivations, both.maps, strict=True)
        )


def test_a_network_that_names_no_activation_gives_its_maps_twice(images):
    output = made("test_vit")(images, Needs(maps=True, preactivations=True))
    assert all(
        torch.equal(early, one)
        for early, one in zip(output.preactivations, output.maps, strict=True)
    )


def test_maps_go_from_shallow_to_deep_each_size_once_or_all_of_one_size(model):
    sizes = [height * width for _, height, width in model.shapes.maps]
    assert 1 < len(sizes) <= MAX_STAGES
    assert len(set(sizes)) in (1, len(sizes))
    assert sizes == sorted(sizes, reverse=True)


def test_the_deepest_map_is_the_last_that_the_network_has(model, images):
    with torch.no_grad():
        deepest = model(images, Needs(maps=True)).maps[-1]
        normalised = (images - model.mean) / model.std
        every = model.network.forward_intermediates(
            normalised, output_fmt="NCHW", intermediates_only=True
        )
    assert torch.equal(deepest, every[-1])


@pytest.mark.parametrize(
    "needs", [Needs(), Needs(embedding=True), Needs(maps=True), EVERYTHING], ids=str
)
def test_taps_do_not_change_the_logits(needs, model, images):
    normalised = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    with torch.no_grad():
        assert torch.equal(model(images, needs).logits, model.network(normalised))


def test_only_what_was_asked_for_is_given(model, images):
    with torch.no_grad():
        nothing, some = model(images, Needs(logits=True)), model(images, Needs(embedding=True))
    assert nothing.embedding is None
    assert nothing.maps == ()
    assert some.embedding is not None
    assert some.maps == ()


def test_the_classifier_makes_the_logits_of_the_embedding(model, images):
    classifier = model.network.get_classifier()
    assert isinstance(classifier, nn.Linear)
    with torch.no_grad():
        output = model(images, EVERYTHING)
        expected = output.embedding @ classifier.weight.T + classifier.bias
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-6)


def test_no_hook_stays_in_the_network_even_after_an_error(model, images):
    with torch.no_grad():
        model(images, EVERYTHING)
        with pytest.raises((RuntimeError, AssertionError, ValueError)):
            model(images[:, :, :1, :1].repeat(1, 2, 1, 1), EVERYTHING)
    assert not model.network.get_classifier()._forward_pre_hooks


def test_gradients_flow_through_every_tap(images):
    output = made("test_resnet").train()(images, EVERYTHING)
    for tap in (output.logits, output.embedding, *output.maps):
        assert tap.requires_grad


def test_parameters_are_those_of_the_network_and_normalisation_is_no_part_of_its_state(model):
    assert model.parameter_count() == sum(weight.numel() for weight in model.network.parameters())
    assert set(model.state_dict()) == {f"network.{name}" for name in model.network.state_dict()}


def test_parameters_of_a_small_network_are_counted_as_by_hand():
    model = TappedModel(Plain(), SIZE, MEAN, STD)
    assert model.parameter_count() == (4 * 3 * 3 * 3 + 4) + (10 * 4 + 10)


def test_operations_of_a_small_network_are_counted_as_by_hand():
    model = TappedModel(Plain(), SIZE, MEAN, STD)
    assert model.macs() == 16 * 16 * 4 * 3 * 3 * 3 + 10 * 4


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet", "test_convnext"])
def test_operations_are_those_of_all_convolutions_and_linear_layers(name):
    model, counted = made(name), []

    def count(layer, _, output):
        weights = layer.weight[0].numel()
        counted.append(output.numel() * weights)

    hooks = [
        m.register_forward_hook(count)
        for m in model.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        model(torch.zeros(1, *SIZE), Needs())
    for hook in hooks:
        hook.remove()
    assert model.macs() == sum(counted)


def test_operations_of_attention_are_counted():
    tokens, width, hidden, depth = 17, 64, 192, 6
    block = (
        tokens * (width * 3 * width + width * width + 2 * width * hidden)
        + 2 * tokens * tokens * width
    )
    assert made(*VIT).macs() == 16 * (8 * 8 * 3) * width + depth * block + width * 10


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_mode_and_weights_as_they_were(training):
    model = made("test_resnet").train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.macs()
    assert model.training == model.network.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_come_from_torchs_global_stream():
    first, again = made("test_resnet"), made("test_resnet")
    torch.manual_seed(1)
    other = models_create.tapped(Network(model="test_resnet"), "here", SIZE, 10, MEAN, STD)
    (one, two, three) = (m.network.get_classifier().weight for m in (first, again, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


@pytest.mark.parametrize(("size", "classes"), [((1, 32, 32), 10), ((3, 64, 48), 7)])
def test_a_model_is_made_for_the_data_sets_channels_size_and_classes(size, classes):
    model = made("test_resnet", size=size, classes=classes)
    with torch.no_grad():
        output = model(torch.rand(2, *size), EVERYTHING)
    assert output.logits.shape == (2, classes)
    assert tuple(tuple(one.shape[1:]) for one in output.maps) == model.shapes.maps


def test_a_network_of_one_map_size_gives_evenly_spaced_maps_that_end_with_the_last():
    assert made(*VIT).stages == [0, 2, 3, 5]


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("test_resnett", {}, "timm has no model 'test_resnett'; did you mean 'test_resnet'?"),
        ("q" * 30, {}, f"timm has no model {'q' * 30!r}; search with `kdbench models PATTERN`"),
        ("test_resnet", {"flavour": 3}, "timm cannot make 'test_resnet' with {'flavour': 3}: "),
        ("test_vit", {"embed_dim": 31}, "timm cannot make 'test_vit' with {'embed_dim': 31}: "),
        ("test_resnet", {"global_pool": ""}, "'test_resnet' cannot take images of 3x32x32: "),
        ("test_vit3", {"img_size": 160}, "'test_vit3' cannot take images of 3x32x32: "),
        ("inception_v3", {}, "'inception_v3' cannot take images of 3x32x32: "),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_in_one_line_with_its_place(name, kwargs, message):
    with pytest.raises(InputError) as error:
        made(name, kwargs)
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
def test_arguments_that_timm_stumbles_over_are_refused_in_one_line_too(name, kwargs):
    with pytest.raises(InputError) as error:
        made(name, kwargs)
    assert str(error.value).startswith(
        f"pairs[0].student: timm cannot make {name!r} with {kwargs}: "
    )


@pytest.mark.parametrize("key", ["num_classes", "in_chans", "features_only"])
def test_arguments_that_the_engine_sets_are_refused_in_a_study(key):
    with pytest.raises(
        InputError, match=rf"^pairs\[0\]\.student\.kwargs\.{key}: is set by the .*; leave it out$"
    ):
        made("test_resnet", {key: 3})


def test_a_network_without_taps_still_gives_logits_and_says_why_there_is_no_more(images):
    model = TappedModel(Plain(), SIZE, MEAN, STD)
    output = model(images, EVERYTHING)
    assert output.logits.shape == (2, 10)
    assert (output.embedding, output.maps) == (None, ())
    assert set(model.notes) == {"embedding", "maps", "pooled", "classifier"}
    assert model.classifier() is None
    assert all(model.notes.values())
    assert model.taps() == Needs(logits=True)


def test_a_classifier_that_takes_maps_gives_no_embedding():
    model = TappedModel(Convolutional(), SIZE, MEAN, STD)
    assert model.notes["embedding"] == "the classifier does not take one vector per image"
    assert not model.taps().embedding


def test_an_embedding_of_one_position_is_a_vector(images):
    model = TappedModel(Pointwise(), SIZE, MEAN, STD)
    assert model.shapes.embedding == (4,)
    assert model(images, EVERYTHING).embedding.shape == (2, 4)


def test_the_layer_inside_a_head_that_timm_names_as_the_classifier_takes_the_embedding(images):
    model = made("sequencer2d_s", {"layers": [1, 1, 1, 1]})
    output = model(images, EVERYTHING)
    assert isinstance(model.network.get_classifier().fc, nn.Linear)
    assert output.embedding.shape == (2, 384)


def test_a_network_with_several_classifiers_gives_no_embedding():
    kwargs = {"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24}
    model = made("deit_tiny_distilled_patch16_224", kwargs)
    assert model.notes["embedding"] == "the network has several classifiers"
    assert model.shapes.maps == ((24, 2, 2), (24, 2, 2))


@pytest.mark.parametrize(
    "side",
    [
        "student",
        "teacher",
    ],
)
def test_a_method_says_with_the_networks_own_reason_why_it_cannot_run(side):
    plain, rich = TappedModel(Plain(), SIZE, MEAN, STD), made("test_resnet")
    student, teacher = (plain, rich) if side == "student" else (rich, plain)
    pair = probe(student, teacher, Needs(), samples=16, batch_size=4)
    assert create("at").supports(pair) == f"maps of the {side}: {plain.notes['maps']}"
    assert create("kd").supports(pair) is None


def test_stages_are_paired_from_the_deepest_on():
    deep, shallow = (
        made("test_resnet"),
        made("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2}),
    )
    for student, teacher in ((deep, shallow), (shallow, deep)):
        pair = probe(student, teacher, Needs(), samples=16, batch_size=4)
        assert pair.student.maps == student.shapes.maps[-2:]
        assert pair.teacher.maps == teacher.shapes.maps[-2:]
        assert (pair.samples, pair.batch_size) == (16, 4)


def as_seen(images, mean, std):
    return (images - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def bits_of(model, images):
    with torch.no_grad():
        return model(images, Needs()).logits


def test_a_network_sees_the_shared_batch_in_the_size_that_it_wants(images):
    model, seen = made("test_resnet", image_size=48), []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(images, Needs())
    expected = F.interpolate(images, (48, 48), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(seen[0], as_seen(expected, MEAN, STD))
    assert model.size == SIZE
    assert [shape[1] for shape in model.shapes.maps] == [12, 6, 3, 2]


def test_a_smaller_image_is_averaged_and_not_sampled():
    stripes = torch.zeros(1, *SIZE)
    stripes[..., ::2] = 1
    seen = made("test_resnet", image_size=8).prepared(stripes)[..., 2:-2]
    assert (seen - as_seen(torch.full_like(seen, 0.5), MEAN, STD)).abs().max() < 0.1


def test_an_image_of_the_size_that_is_wanted_is_left_as_it_is(images):
    model = made("test_resnet", image_size=32)
    assert torch.equal(model.prepared(images), as_seen(images, MEAN, STD))
    assert torch.equal(bits_of(model, images), bits_of(made("test_resnet"), images))


def test_operations_are_counted_at_the_size_that_the_network_sees():
    assert made("test_resnet", image_size=64).macs() == made("test_resnet", size=(3, 64, 64)).macs()
    assert made("test_resnet", image_size=64).macs() > 3 * made("test_resnet").macs()


def test_a_model_built_for_one_size_is_told_the_size_that_it_sees():
    assert made("test_vit").network.patch_embed.img_size == (32, 32)
    assert made("test_vit", size=(3, 64, 32)).network.patch_embed.img_size == (64, 32)
    assert made("test_vit", image_size=48).network.patch_embed.img_size == (48, 48)
    assert models_create.has_fixed_size(Network(model="test_vit"))
    assert not models_create.has_fixed_size(Network(model="test_resnet"))


def test_a_size_in_the_study_has_precedence_over_that_which_the_network_would_be_told():
    with pytest.raises(InputError, match="cannot take images of 3x32x32: "):
        made("test_vit3", {"img_size": 64})
    assert made("test_vit3", {"img_size": 64}, image_size=64).shapes.logits == (10,)


def test_a_refused_size_names_the_one_that_the_model_was_made_for():
    with pytest.raises(InputError, match=r"it was made for 3x299x299, see image_size$"):
        made("inception_v3")


def test_the_networks_of_the_zoo_are_models_like_any_other():
    assert made("cifar_resnet8").shapes.maps == ((16, 32, 32), (32, 16, 16), (64, 8, 8))
    assert made("cifar_resnet8").shapes.embedding == (64,)
    assert "cifar_resnet8" in models_create.names("cifar_*")


def test_a_networks_own_normalisation_replaces_that_of_the_data(images):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    model = made("test_resnet", mean=mean, std=std)
    assert torch.equal(model.prepared(images), as_seen(images, mean, std))


@pytest.mark.parametrize(("key", "other"), [("mean", [0.5] * 3), ("std", [0.5] * 3)])
def test_a_normalisation_for_another_number_of_channels_is_refused(key, other):
    given = {"mean": [0.5] * 3, "std": [0.5] * 3, key: [0.5]}
    with pytest.raises(
        InputError,
        match=rf"^pairs\[0\]\.student\.{key}: has 1 values, but the images have 3 channels$",
    ):
        made("test_resnet", **given)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights that another random stream drew, for 10 classes."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), path)
    return path


def from_file(path, **changes):
    overlay = {"file": str(path), "num_classes": 10, **changes}
    return Network(model="test_resnet", pretrained=True, kwargs={"pretrained_cfg_overlay": overlay})


def tapped(network, classes=10, size=SIZE):
    torch.manual_seed(0)
    return models_create.tapped(
        network, "pairs[0].teacher", size, classes, (0.5,) * size[0], (0.5,) * size[0]
    )


def test_pretrained_weights_are_read_from_a_local_file(weights):
    stored, network = load_file(weights), from_file(weights)
    assert models_create.head_is_pretrained(network, 10)
    state = tapped(network).network.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], value) for name, value in stored.items())


def test_pretrained_weights_of_other_classes_get_a_fresh_head(weights):
    stored, network = load_file(weights), from_file(weights)
    assert not models_create.head_is_pretrained(network, 7)
    state = tapped(network, classes=7).network.state_dict()
    fresh = {name for name, value in stored.items() if not torch.equal(state[name], value)}
    assert fresh == {"fc.weight", "fc.bias"}
    assert torch.equal(
        state["fc.weight"], tapped(network, classes=7).network.state_dict()["fc.weight"]
    )


def test_a_head_is_pretrained_only_where_the_weights_are():
    assert models_create.head_is_pretrained(Network(model="test_resnet", pretrained=True), 1000)
    assert not models_create.head_is_pretrained(Network(model="test_resnet"), 1000)


@pytest.mark.parametrize(
    "wrong", [{"model": "test_resnet.nobodys"}, {"kwargs": {"pretrained_cfg_overlay": {"fil": 1}}}]
)
def test_weights_that_timm_cannot_even_name_have_no_pretrained_head_and_are_refused_when_made(
    wrong,
):
    network = Network(**{"model": "test_resnet", "pretrained": True, **wrong})
    assert not models_create.head_is_pretrained(network, 1000)
    with pytest.raises(InputError, match="from pretrained weights"):
        tapped(network)


def test_a_pretrained_network_is_normalised_as_its_weights_were(weights, images):
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    assert torch.equal(
        tapped(from_file(weights, mean=mean, std=std)).prepared(images), as_seen(images, mean, std)
    )
    own = Network(
        **{
            **from_file(weights, mean=mean, std=std).model_dump(),
            "mean": [0.5] * 3,
            "std": [0.25] * 3,
        }
    )
    assert torch.equal(tapped(own).prepared(images), as_seen(images, [0.5] * 3, [0.25] * 3))


def test_pretrained_weights_for_colour_need_a_normalisation_where_images_are_grey(weights):
    with pytest.raises(
        InputError,
        match=r"^pairs\[0\]\.teacher\.mean: has 3 values, but the images have 1 channels$",
    ):
        tapped(from_file(weights), size=(1, 32, 32))


def test_a_file_of_weights_that_is_missing_or_damaged_is_refused_in_one_line(tmp_path, weights):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"x" * 100)
    other = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, other)
    for path in (tmp_path / "missing.safetensors", damaged, other):
        with pytest.raises(InputError) as error:
            tapped(from_file(path))
        assert str(error.value).startswith(
            "pairs[0].teacher: timm cannot make 'test_resnet' from pretrained weights"
        )
        assert "train it without `pretrained`, or name a file" in str(error.value)
        assert len(str(error.value).splitlines()) == 1


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
    assert (
        "'test_resnet' from pretrained weights with {}: no route to host; train it without"
        in str(error.value)
    )


def test_where_pretrained_weights_lie_is_refused_without_pretrained(weights):
    kwargs = from_file(weights).kwargs
    with pytest.raises(
        InputError,
        match=r"kwargs\.pretrained_cfg_overlay: has no effect without `pretrained: true`; set that",
    ):
        made("test_resnet", kwargs)


def retapped(network):
    return TappedModel(network, SIZE, MEAN, STD).eval()


def without_intermediates(model):
    """The same network, tapped by hooks."""

    def refuse(*_, **__):
        raise AttributeError("it has none")

    model.network.forward_intermediates = refuse
    return retapped(model.network)


@pytest.mark.parametrize(
    "family", [("test_resnet", {}), ("test_convnext", {}), SWIN], ids=lambda family: family[0]
)
def test_hooks_give_the_same_maps_where_a_network_has_no_other_way(family, images):
    model = made(*family)
    with torch.no_grad():
        expected = model(images, EVERYTHING)
        hooked = without_intermediates(model)
        output = hooked(images, EVERYTHING)
    assert hooked.stages == model.stages
    assert hooked.shapes == replace(model.shapes, pooled=())  # hooks see no final features
    assert set(hooked.notes) == {"pooled"}
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.embedding, expected.embedding)
    assert all(torch.equal(*pair) for pair in zip(output.maps, expected.maps, strict=True))


def test_hooks_are_taken_where_the_head_would_make_other_logits_of_the_last_map(images):
    network = made("test_resnet").network
    head = network.forward_head
    network.forward_head = lambda features, pre_logits=False: 2 * head(features, pre_logits)
    network.forward = lambda inputs: head(network.forward_features(inputs))
    model = retapped(network)
    with torch.no_grad():
        assert torch.equal(model(images, EVERYTHING).logits, model(images, Needs()).logits)
    assert model.shapes == replace(made("test_resnet").shapes, pooled=())


def test_a_blank_image_would_not_tell_that_the_head_makes_other_logits():
    network = made("test_resnet").network
    intermediates = network.forward_intermediates

    def colour_only(inputs, **options):
        return intermediates(inputs[..., :1, :1].expand_as(inputs).contiguous(), **options)

    network.forward_intermediates = colour_only
    network.feature_info = []
    assert (
        retapped(network)
        .notes["maps"]
        .startswith("the head makes other logits of the last map than")
    )


def test_hooked_modules_that_take_the_map_are_watched_before_they_run(images):
    model = made("test_resnet")
    network, last = model.network, model.network.feature_info[-1]
    network.feature_info = [{**last, "module": "global_pool", "hook_type": "forward_pre"}]
    hooked = without_intermediates(model)
    with torch.no_grad():
        assert torch.equal(
            hooked(images, EVERYTHING).maps[0], network.forward_features(hooked.prepared(images))
        )


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
def test_a_network_that_no_hook_helps_says_why_its_maps_cannot_be_tapped(feature, reason, images):
    model = made("test_resnet")
    model.network.spare = nn.Identity()
    model.network.feature_info = [feature]
    flat = without_intermediates(model)
    assert flat.notes == {"maps": reason, "pooled": "the embedding is not the average of a map"}
    assert flat.taps() == Needs(logits=True, embedding=True, classifier=True)
    assert flat(images, EVERYTHING).maps == ()
    pair = probe(made("test_resnet"), flat, Needs(), samples=16, batch_size=4)
    assert create("fitnet").supports(pair) == f"maps of the teacher: {reason}"


def test_tapping_draws_nothing_from_torchs_global_stream_and_leaves_no_hook():
    network = made("test_resnet").network
    torch.manual_seed(3)
    before = torch.get_rng_state()
    without_intermediates(retapped(network)).macs()
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_a_network_is_ready_to_train_after_it_was_tapped():
    model = TappedModel(made("test_resnet").network, SIZE, MEAN, STD)
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_network_that_gives_no_logits_is_refused():
    with pytest.raises(
        InputError,
        match=r"cannot take images of 3x32x32: it gives \(.*\) per image where 10 logits",
    ):
        made("gemma4_vit_167m_enc", {"depth": 1, "global_pool": "avg"})
