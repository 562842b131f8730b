"""Any timm model as a tapped model: what it gives, what it counts, and what it refuses."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from benchmark import models
from benchmark.cohort import probe
from benchmark.errors import InputError
from benchmark.models import MAX_STAGES, TappedModel
from benchmark.study import Network
from methods import Needs, create

SIZE, MEAN, STD = (3, 32, 32), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
VIT = ("test_vit", {"img_size": 32, "patch_size": 8})
REFUSING = {"test_coatnet", "test_maxvit", "test_vit", "test_vit3", "test_vit_relpos"}
"""Their attention has one image size, other than 32x32, unless arguments change it."""
FAMILIES = [
    *((name, {}) for name in timm.list_models("test_*") if name not in REFUSING),
    VIT,
    ("test_vit3", {"img_size": 32, "patch_size": 8}),
    ("resnet10t", {}),
    ("mobilenetv3_small_050", {}),
]
EVERYTHING = Needs(logits=True, embedding=True, maps=True)


def made(name, kwargs=None, size=SIZE, classes=10):
    torch.manual_seed(0)
    channels = size[0]
    network = Network(model=name, kwargs=kwargs or {})
    return models.tapped(network, "pairs[0].student", size, classes, MEAN[:channels], STD[:channels]).eval()


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
    assert tuple(tuple(one.shape) for one in output.maps) == tuple((2, *shape) for shape in model.shapes.maps)
    assert model.notes == {}
    assert model.taps() == EVERYTHING


def test_maps_go_from_shallow_to_deep_each_size_once_or_all_of_one_size(model):
    sizes = [height * width for _, height, width in model.shapes.maps]
    assert 1 < len(sizes) <= MAX_STAGES
    assert len(set(sizes)) in (1, len(sizes))
    assert sizes == sorted(sizes, reverse=True)


def test_the_deepest_map_is_the_last_that_the_network_has(model, images):
    with torch.no_grad():
        deepest = model(images, Needs(maps=True)).maps[-1]
        normalised = (images - model.mean) / model.std
        every = model.network.forward_intermediates(normalised, output_fmt="NCHW", intermediates_only=True)
    assert torch.equal(deepest, every[-1])


@pytest.mark.parametrize("needs", [Needs(), Needs(embedding=True), Needs(maps=True), EVERYTHING], ids=str)
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

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model(torch.zeros(1, *SIZE), Needs())
    for hook in hooks:
        hook.remove()
    assert model.macs() == sum(counted)


def test_operations_of_attention_are_counted():
    tokens, width, hidden, depth = 17, 64, 192, 6
    block = tokens * (width * 3 * width + width * width + 2 * width * hidden) + 2 * tokens * tokens * width
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
    other = models.tapped(Network(model="test_resnet"), "here", SIZE, 10, MEAN, STD)
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
        ("q" * 30, {}, f"timm has no model {'q' * 30!r}; `timm.list_models()` lists what there is"),
        ("test_resnet", {"flavour": 3}, "timm cannot make 'test_resnet' with {'flavour': 3}: "),
        ("test_vit", {"embed_dim": 31}, "timm cannot make 'test_vit' with {'embed_dim': 31}: "),
        ("test_resnet", {"global_pool": ""}, "'test_resnet' cannot take images of 3x32x32: "),
        ("test_vit3", {}, "'test_vit3' cannot take images of 3x32x32: "),
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
    [("test_vit", {"patch_size": 0}), ("test_resnet", {"block": "x"}), ("test_resnet", {"checkpoint_path": "none"})],
)
def test_arguments_that_timm_stumbles_over_are_refused_in_one_line_too(name, kwargs):
    with pytest.raises(InputError) as error:
        made(name, kwargs)
    assert str(error.value).startswith(f"pairs[0].student: timm cannot make {name!r} with {kwargs}: ")


@pytest.mark.parametrize("key", ["num_classes", "in_chans", "features_only"])
def test_arguments_that_the_engine_sets_are_refused_in_a_study(key):
    with pytest.raises(InputError, match=rf"^pairs\[0\]\.student\.kwargs\.{key}: is set by the .*; leave it out$"):
        made("test_resnet", {key: 3})


def test_a_network_without_taps_still_gives_logits_and_says_why_there_is_no_more(images):
    model = TappedModel(Plain(), SIZE, MEAN, STD)
    output = model(images, EVERYTHING)
    assert output.logits.shape == (2, 10)
    assert (output.embedding, output.maps) == (None, ())
    assert set(model.notes) == {"embedding", "maps"}
    assert all(model.notes.values())
    assert model.taps() == Needs(logits=True)


def test_a_classifier_that_takes_maps_gives_no_embedding():
    model = TappedModel(Convolutional(), SIZE, MEAN, STD)
    assert model.notes["embedding"] == "the classifier does not take one vector per image"
    assert not model.taps().embedding


def test_a_network_with_several_classifiers_gives_no_embedding():
    kwargs = {"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24}
    model = made("deit_tiny_distilled_patch16_224", kwargs)
    assert model.notes == {"embedding": "the network has several classifiers"}
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
    pair = probe(student, teacher, samples=16, batch_size=4)
    assert create("at").supports(pair) == f"maps of the {side}: {plain.notes['maps']}"
    assert create("kd").supports(pair) is None


def test_stages_are_paired_from_the_deepest_on():
    deep, shallow = made("test_resnet"), made("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2})
    for student, teacher in ((deep, shallow), (shallow, deep)):
        pair = probe(student, teacher, samples=16, batch_size=4)
        assert pair.student.maps == student.shapes.maps[-2:]
        assert pair.teacher.maps == teacher.shapes.maps[-2:]
        assert (pair.samples, pair.batch_size) == (16, 4)
