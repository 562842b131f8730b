"""Any timm model as a tapped model: what it gives, what it sees and what it counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.models.tapped import TappedModel
from methods import Needs
from methods._discovery import MAX_STAGES
from tests.models.networks import (
    EVERYTHING,
    MEAN,
    SIZE,
    STD,
    SWIN,
    VIT,
    Convolutional,
    Plain,
    Pointwise,
    build,
    normalised,
    tap,
)

pytestmark = pytest.mark.broad

FAMILIES = [
    *((name, {}) for name in timm.list_models("test_*")),
    VIT,
    SWIN,
    ("resnet10t", {}),
    ("mobilenetv3_small_050", {}),
]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family[0])
def model(request):
    return build(*request.param)


def map_shapes(output):
    """The shapes of an output's maps without the batch axis."""
    return tuple(tuple(stage_map.shape[1:]) for stage_map in output.maps)


def test_taps_have_the_declared_shapes(model, images):
    with torch.no_grad():
        output = model(images, EVERYTHING)
    assert output.logits.shape == (2, *model.shapes.logits) == (2, 10)
    assert output.embedding.shape == (2, *model.shapes.embedding)
    assert all(len(stage_map) == 2 for stage_map in output.maps)
    assert map_shapes(output) == model.shapes.maps
    assert model.shapes.classifier

    assert model.notes.keys() <= {"pooled"}  # attention pools a token, not a map
    has_pooled = "pooled" not in model.notes
    everything = replace(EVERYTHING, preactivations=True, classifier=True, pooled=has_pooled)
    assert model.taps() == everything


def test_the_pooled_map_averages_to_the_embedding_from_which_the_classifier_makes_the_logits(
    model, images
):
    model.eval()
    with torch.no_grad():
        output = model(images, model.taps())
    torch.testing.assert_close(output.classifier(output.embedding), output.logits)

    if "pooled" in model.notes:
        assert output.pooled is None
        assert model.shapes.pooled == ()
    else:
        assert output.pooled.shape[1:] == model.shapes.pooled
        torch.testing.assert_close(output.pooled.mean(dim=(2, 3)), output.embedding)


@pytest.mark.parametrize(
    "name", ["cifar_resnet8", "cifar_wrn_16_1", "cifar_vgg8", "cifar_mobilenetv2_half"]
)
def test_maps_before_the_activation_come_with_the_same_pass_and_change_no_bit(name, images):
    model = build(name)
    with torch.no_grad():
        plain = model(images, Needs(maps=True))
        both = model(images, Needs(maps=True, preactivations=True))

    assert torch.equal(plain.logits, both.logits)
    assert len(both.preactivations) == len(both.maps) == len(plain.maps)
    for alone, beside, early in zip(plain.maps, both.maps, both.preactivations, strict=True):
        assert torch.equal(alone, beside)
        assert early.shape == beside.shape
        if name in ("cifar_resnet8", "cifar_vgg8"):
            assert torch.equal(early.relu(), beside)


def test_a_network_that_names_no_activation_gives_its_maps_twice(images):
    output = build("test_vit")(images, Needs(maps=True, preactivations=True))
    assert len(output.maps) == len(output.preactivations)
    assert all(map(torch.equal, output.preactivations, output.maps))


def test_maps_go_from_shallow_to_deep_each_size_once_or_all_of_one_size(model):
    sizes = [height * width for _, height, width in model.shapes.maps]
    assert 1 < len(sizes) <= MAX_STAGES
    assert len(set(sizes)) in (1, len(sizes))
    assert sizes == sorted(sizes, reverse=True)


def test_the_deepest_map_is_the_last_that_the_network_has(model, images):
    with torch.no_grad():
        deepest = model(images, Needs(maps=True)).maps[-1]
        prepared = model.prepared(images)
        every_map = model.network.forward_intermediates(
            prepared, output_fmt="NCHW", intermediates_only=True
        )
    assert torch.equal(deepest, every_map[-1])


@pytest.mark.parametrize(
    "needs", [Needs(), Needs(embedding=True), Needs(maps=True), EVERYTHING], ids=str
)
def test_taps_leave_the_logits_unchanged(needs, model, images):
    with torch.no_grad():
        # Bits may depend on the order of values in memory.
        seen = normalised(images, MEAN, STD).contiguous(memory_format=torch.channels_last)
        assert torch.equal(model(images, needs).logits, model.network(seen))


def test_only_what_was_asked_for_is_given(model, images):
    with torch.no_grad():
        logits_only = model(images, Needs(logits=True))
        with_embedding = model(images, Needs(embedding=True))
    assert logits_only.embedding is None
    assert logits_only.maps == ()
    assert with_embedding.embedding is not None
    assert with_embedding.maps == ()


def test_the_classifier_makes_the_logits_from_the_embedding(model, images):
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
    output = build("test_resnet").train()(images, EVERYTHING)
    for tensor in (output.logits, output.embedding, *output.maps):
        assert tensor.requires_grad


def test_parameters_are_those_of_the_network_and_normalisation_is_no_part_of_its_state(model):
    assert model.parameter_count() == sum(weight.numel() for weight in model.network.parameters())
    assert set(model.state_dict()) == {f"network.{name}" for name in model.network.state_dict()}


def test_parameters_of_a_small_network_are_counted_as_by_hand():
    assert tap(Plain()).parameter_count() == (4 * 3 * 3 * 3 + 4) + (10 * 4 + 10)


def test_operations_of_a_small_network_are_counted_as_by_hand():
    assert tap(Plain()).macs() == 16 * 16 * 4 * 3 * 3 * 3 + 10 * 4


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet", "test_convnext"])
def test_operations_are_those_of_all_convolutions_and_linear_layers(name):
    model = build(name)
    counts = []

    def count(layer, _, output):
        counts.append(output.numel() * layer.weight[0].numel())

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        model(torch.zeros(1, *SIZE), Needs())
    for hook in hooks:
        hook.remove()

    assert model.macs() == sum(counts)


def test_operations_of_attention_are_counted():
    tokens, width, hidden, depth = 17, 64, 192, 6
    projections = tokens * (width * 3 * width + width * width + 2 * width * hidden)
    attention = 2 * tokens * tokens * width
    embedding = 16 * (8 * 8 * 3) * width
    head = width * 10
    assert build(*VIT).macs() == embedding + depth * (projections + attention) + head


def test_operations_of_attention_pooling_with_a_learned_query_are_counted():
    model = build("test_vit3")
    learned = [parameter.requires_grad for parameter in model.parameters()]
    trained = model.macs()
    assert [parameter.requires_grad for parameter in model.parameters()] == learned
    assert trained == model.requires_grad_(False).macs() > 0


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_mode_and_weights_unchanged(training):
    model = build("test_resnet").train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.macs()
    assert model.training == model.network.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_examples_are_the_same_noise_at_each_call_and_draw_from_no_global_stream():
    model = build("test_resnet", image_size=48)
    before = torch.get_rng_state()
    example = model.example(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert example.shape == (5, *SIZE)
    assert torch.equal(example, model.example(5))
    assert ((example >= 0) & (example < 1)).all()
    assert example.std() > 0.2

    noise = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.example(1), noise)


def test_examples_are_on_the_models_device():
    with torch.device("meta"):
        model = build("test_resnet")
    assert model.device.type == model.example(2).device.type == "meta"


def test_a_network_without_taps_still_gives_logits_and_says_why_there_is_no_more(images):
    model = tap(Plain())
    output = model(images, EVERYTHING)
    assert output.logits.shape == (2, 10)
    assert output.embedding is None
    assert output.maps == ()
    assert set(model.notes) == {"embedding", "maps", "pooled", "classifier"}
    assert all(model.notes.values())
    assert model.classifier() is None
    assert model.taps() == Needs(logits=True)


def test_a_classifier_that_takes_maps_gives_no_embedding():
    model = tap(Convolutional())
    assert model.notes["embedding"] == "the classifier does not take one vector per image"
    assert not model.taps().embedding


def test_an_embedding_of_one_position_is_a_vector(images):
    model = tap(Pointwise())
    assert model.shapes.embedding == (4,)
    assert model(images, EVERYTHING).embedding.shape == (2, 4)


def test_the_layer_inside_a_head_that_timm_names_as_the_classifier_takes_the_embedding(images):
    model = build("sequencer2d_s", {"layers": [1, 1, 1, 1]})
    output = model(images, EVERYTHING)
    assert isinstance(model.network.get_classifier().fc, nn.Linear)
    assert output.embedding.shape == (2, 384)


def test_a_network_with_several_classifiers_gives_no_embedding():
    kwargs = {"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24}
    model = build("deit_tiny_distilled_patch16_224", kwargs)
    assert model.notes["embedding"] == "the network has several classifiers"
    assert model.shapes.maps == ((24, 2, 2), (24, 2, 2))


def logits_of(model, images):
    with torch.no_grad():
        return model(images, Needs()).logits


def test_a_network_sees_the_shared_batch_in_its_own_size(images):
    model = build("test_resnet", image_size=48)
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(images, Needs())

    resized = F.interpolate(images, (48, 48), mode="bilinear", align_corners=False, antialias=True)
    assert torch.equal(seen[0], normalised(resized, MEAN, STD))
    assert model.size == SIZE
    assert [height for _, height, _ in model.shapes.maps] == [12, 6, 3, 2]


def test_a_smaller_image_is_averaged_and_not_sampled():
    stripes = torch.zeros(1, *SIZE)
    stripes[..., ::2] = 1
    seen = build("test_resnet", image_size=8).prepared(stripes)[..., 2:-2]
    grey = normalised(torch.full_like(seen, 0.5), MEAN, STD)
    assert (seen - grey).abs().max() < 0.1


def test_an_image_that_has_the_networks_size_is_left_unchanged(images):
    model = build("test_resnet", image_size=32)
    assert torch.equal(model.prepared(images), normalised(images, MEAN, STD))
    assert torch.equal(logits_of(model, images), logits_of(build("test_resnet"), images))


def test_operations_are_counted_at_the_size_that_the_network_sees():
    resized = build("test_resnet", image_size=64).macs()
    assert resized == build("test_resnet", size=(3, 64, 64)).macs()
    assert resized > 3 * build("test_resnet").macs()


def test_a_network_is_ready_to_train_after_it_was_tapped():
    model = TappedModel(build("test_resnet").network, SIZE, MEAN, STD)
    assert model.training
    assert all(module.training for module in model.modules())
