"""`tap` and `Probe.of` give what the engine gives, for timm's networks, the zoo's and one's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.models import pairing
from benchmark.training.losses import student_needs
from methods import TAPS, Batch, Classifier, Needs, Output, Probe, Shapes, create, paired, tap
from tests.models.networks import SIZE, SWIN, VIT, Plain, build

NETWORKS = [
    ("resnet18", {}),
    pytest.param(("vgg11", {}), marks=pytest.mark.slow),  # 133 million weights
    ("mobilenetv3_small_050", {}),
    VIT,
    SWIN,
    ("cifar_resnet8", {}),
    ("cifar_vgg8", {}),
    ("cifar_mobilenetv2_half", {}),
    ("cifar_shufflenetv1", {}),
    ("cifar_wrn_16_1", {}),
]
LABELS = torch.arange(20) % 4
BATCH = Batch(LABELS[:4], torch.arange(4), epoch=1, epochs=2)
EVERYTHING = Needs.of(*(tap.name for tap in TAPS if tap.shape))


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(1))


def tensors(output):
    """All tensors of an output, with the name of their tap."""
    named = []
    for tap_ in TAPS:
        value = getattr(output, tap_.output)
        if isinstance(value, Classifier):
            value = (value.weight, value.bias)
        values = value if isinstance(value, tuple) else (value,)
        named += [(tap_.name, tensor) for tensor in values]
    return named


def assert_same(output, other):
    for (name, own), (other_name, expected) in zip(tensors(output), tensors(other), strict=True):
        assert name == other_name
        assert (own is None) == (expected is None), name
        assert own is None or torch.equal(own, expected), name


@pytest.mark.broad
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network[0])
def test_a_network_has_the_taps_that_the_engine_finds(network, images):
    model = build(*network)
    tapped = tap(model.network, images)
    assert tapped.shapes == model.shapes
    assert tapped.notes == model.notes

    prepared = model.prepared(images)
    for mode in (True, False):
        model.train(mode)
        torch.manual_seed(0)
        expected = model(images, EVERYTHING)
        torch.manual_seed(0)
        assert_same(tapped(prepared), expected)

        torch.manual_seed(0)
        expected = model(images, Needs(embedding=True))
        torch.manual_seed(0)
        assert_same(tapped(prepared, Needs(embedding=True)), expected)


@pytest.mark.parametrize("teacher", [("resnet18", {}), VIT, ("cifar_vgg8", {})], ids=str)
@pytest.mark.parametrize("name", ["reviewkd", "crd", "at", "fitnet", "kd+srrl"])
def test_a_loss_in_ones_own_loop_is_the_engines_to_the_bit(name, teacher, images):
    own, other = build("cifar_resnet8"), build(*teacher)
    method, again = create(name), create(name)
    needs = method.tapped()
    known = pairing.probe(own, other, needs, len(LABELS), len(images), LABELS)
    depth = len(known.student.maps)
    torch.manual_seed(0)
    method.build(known)
    torch.manual_seed(1)
    student = own.train()(images, student_needs(needs))
    student = replace(
        student,
        maps=student.maps[-depth:] if needs.maps else (),
        preactivations=student.preactivations[-depth:] if needs.preactivations else (),
    )
    with torch.no_grad():
        taught = pairing.only(other(images, needs), needs, depth)
    expected = method(student, taught, BATCH)
    total = sum(weight * value for weight, value in expected.values())
    gradients = torch.autograd.grad(total, [*own.network.parameters()], allow_unused=True)

    own, other = build("cifar_resnet8"), build(*teacher)
    prepared = own.prepared(images)
    probe = Probe.of(own.network, other.network, prepared, labels=LABELS)
    torch.manual_seed(0)
    again.build(probe)
    torch.manual_seed(1)
    tapped = tap(own.network.train(), prepared), tap(other.network, prepared)
    student = tapped[0](prepared)
    with torch.no_grad():
        taught = tapped[1](prepared)
    terms = again(*paired(student, taught), BATCH)
    assert [(key, w, v.item()) for key, (w, v) in terms.items()] == [
        (key, w, v.item()) for key, (w, v) in expected.items()
    ]

    total = sum(weight * value for weight, value in terms.values())
    own_gradients = torch.autograd.grad(total, [*own.network.parameters()], allow_unused=True)
    for gradient, wanted in zip(own_gradients, gradients, strict=True):
        assert (gradient is None) == (wanted is None)
        assert gradient is None or torch.equal(gradient, wanted)


@pytest.mark.parametrize("teacher", ["resnet18", "cifar_vgg8"])
def test_a_probe_is_the_engines(teacher, images):
    own, other = build("cifar_resnet8"), build(teacher)
    expected = pairing.probe(own, other, EVERYTHING, len(LABELS), 4, LABELS)
    networks = (own.network, other.network)
    for student, teaching in (networks, [tap(network, images) for network in networks]):
        probe = Probe.of(student, teaching, images, labels=LABELS)
        assert replace(probe, labels=None, classifier=None) == replace(
            expected, labels=None, classifier=None
        )
        assert probe.labels is LABELS
        assert probe.classifier is not None
        assert expected.classifier is not None
        assert torch.equal(probe.classifier.weight, expected.classifier.weight)


def test_the_size_of_the_training_set_is_given_or_counted_or_unknown(images):
    def of(**given):
        probe = Probe.of(Plain(), Plain(), images, **given)
        return probe.samples, probe.batch_size

    assert of() == (0, 4)
    assert of(labels=LABELS) == (20, 4)
    assert of(samples=7, batch_size=3) == (7, 3)
    assert of(samples=20, labels=LABELS) == (20, 4)
    with pytest.raises(ValueError, match="there are 20 labels, but 7 samples; give one per sample"):
        of(samples=7, labels=LABELS)


class Own(nn.Module):
    """A network of one's own that returns an `Output`."""

    def __init__(self, channels=6):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, channels, 3, stride=2)
        self.drop = nn.Dropout()
        self.head = nn.Linear(channels, 10)

    def forward(self, images):
        first = self.norm(self.first(images)).relu()
        second = self.second(first).relu()
        embedding = second.mean(dim=(2, 3))
        classifier = Classifier(self.head.weight, self.head.bias)
        logits = self.head(self.drop(embedding))
        return Output(logits, embedding, (first, second), (), second, classifier)


def test_a_network_of_ones_own_has_the_taps_that_it_returns(images):
    network = Own().eval()
    tapped = tap(network, images)
    maps = ((4, 15, 15), (6, 7, 7))
    assert tapped.shapes == Shapes((10,), (6,), maps, (6, 7, 7), True)
    assert tapped.notes == {}
    output = tapped(images)
    assert_same(output, replace(network(images), preactivations=output.maps))

    probe = Probe.of(network, build("cifar_resnet8").network, images)
    assert len(probe.student.maps) == len(probe.teacher.maps) == 2
    create("reviewkd").build(probe)


def test_what_an_output_of_ones_own_lacks_is_noted(images):
    class Bare(Own):
        def forward(self, images):
            return Output(super().forward(images).logits)

    tapped = tap(Bare(), images)
    reason = "the network's Output has none"
    assert tapped.notes == dict.fromkeys(("embedding", "maps", "pooled", "classifier"), reason)
    assert (
        create("at").supports(Probe.of(Bare(), Own(), images)) == f"maps of the student: {reason}"
    )
    assert create("simkd").supports(Probe.of(Own(), Bare(), images)) is not None


def test_a_plain_network_has_logits_only(images):
    network = Plain()
    tapped = tap(network, images)
    assert tapped.shapes == Shapes((10,))
    assert set(tapped.notes) == {"embedding", "maps", "pooled", "classifier"}
    assert torch.equal(tapped(images).logits, network(images))
    probe = Probe.of(network, Own(), images)
    assert create("kd").supports(probe) is None
    assert create("crd").supports(probe).startswith("embedding of the student: ")


def test_tapping_leaves_the_network_as_it_is(images):
    network = Own()
    network.norm.eval()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    tapped = tap(network, torch.zeros(1, *SIZE))
    assert torch.equal(torch.rand(3), expected)

    assert (network.training, network.norm.training, network.drop.training) == (True, False, True)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert tap(tapped, images) is tapped
    assert [*tapped.parameters()] == [*network.parameters()]
    assert not tapped.eval().network.training


def test_a_blank_example_finds_the_same_as_images_do(images):
    network = build("test_resnet").network
    blank = tap(network, torch.zeros(1, *SIZE))
    assert blank.shapes == tap(network, images).shapes


def test_outputs_in_lower_precision_come_in_float32(images):
    tapped = tap(Own().bfloat16().eval(), images.bfloat16())
    output = tapped(images.bfloat16())
    found = [tensor.dtype for _, tensor in tensors(output) if tensor is not None]
    assert set(found) == {torch.float32}


def test_stages_are_paired_from_the_deepest_on():
    def with_maps(count):
        maps = tuple(torch.full((1, 1, 1, 1), float(n)) for n in range(count))
        return Output(torch.zeros(1, 2), maps=maps, preactivations=maps)

    for counts, kept in [((2, 3), 2), ((4, 1), 1), ((2, 2), 2), ((0, 3), 3), ((0, 0), 0)]:
        for output, count in zip(paired(*map(with_maps, counts)), counts, strict=True):
            expected = list(range(count))[-kept:] if kept else []
            assert [stage_map.item() for stage_map in output.maps] == expected
            assert output.preactivations == output.maps


class Returning(nn.Module):
    """A network that returns whatever a function makes of its images."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


LOGITS = torch.zeros(1, 10)
MAP = torch.zeros(1, 4, 8, 8)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"logits": LOGITS}, "returns a dict; it must return logits or a methods.Output"),
        ((LOGITS, MAP), "returns a tuple; it must return logits or a methods.Output"),
        (MAP, r"returns a tensor of shape \(1, 4, 8, 8\); logits are \[N, classes\]"),
        (Output(LOGITS[0]), r"logits of the network has shape \(10,\); it must be \[N, classes\]"),
        (Output(LOGITS, maps=(LOGITS,)), r"a map of the network has shape \(1, 10\); it must be"),
        (Output(LOGITS, maps=(MAP, MAP), preactivations=(MAP,)), "2 maps, but 1 preactivations"),
    ],
    ids=str,
)
def test_a_network_that_returns_something_else_is_refused(returned, message, images):
    with pytest.raises((TypeError, ValueError), match=message):
        tap(Returning(lambda _: returned), images)
