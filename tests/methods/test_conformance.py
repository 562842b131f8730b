"""What every method promises, whatever it is: the suite takes its cases from the folder, so a new file is held to it.

Methods see what the engine gives them: float32, and nothing that they did not ask for.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import methods
from methods import Batch, Classifier, Needs, Output, Probe, Shapes, create

SAMPLES, COUNT, CLASSES = 32, 8, 5


def shapes(*maps, pooled=True):
    """Of a network with these maps, whose embedding is as long as its last map is deep."""
    return Shapes((CLASSES,), maps[-1][:1], maps, maps[-1] if pooled else (), classifier=True)


def probe(student, teacher):
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(50))
    return Probe(student, teacher, SAMPLES, COUNT, {}, labels, classifier_of(teacher, 1))


def classifier_of(network, seed):
    """A teacher's classifier is the same in every batch."""
    draw = torch.Generator().manual_seed(200 + seed)
    return Classifier(
        torch.randn(CLASSES, *network.embedding, generator=draw),
        torch.randn(CLASSES, generator=draw),
    )


ALIKE = shapes((4, 16, 16), (6, 8, 8), (12, 4, 4))
LARGE = shapes((8, 32, 32), (16, 16, 16), (20, 8, 8))
SMALL = shapes((3, 6, 10), (4, 3, 5), (6, 2, 2))
NARROW = shapes((4, 32, 32), (6, 16, 16), (12, 8, 8))
TOKENS = shapes((10, 4, 4), (10, 4, 4), (10, 4, 4), pooled=False)

PAIRS = {
    "alike": probe(ALIKE, ALIKE),
    "small student": probe(SMALL, LARGE),
    "large student": probe(LARGE, SMALL),
    "like student": probe(ALIKE, LARGE),
    "narrow student": probe(NARROW, LARGE),
    "student of tokens": probe(TOKENS, LARGE),
    "teacher of tokens": probe(ALIKE, TOKENS),
}

TAPS = ("logits", "embedding", "maps", "preactivations", "pooled", "classifier", "views")
EVERYTHING = Needs(**dict.fromkeys(TAPS, True))
NAMES = methods.names()

TERMLESS = [name for name in NAMES if name in (methods.baseline(), "longer")]
"""What distils nothing: cross-entropy is all of it."""

ROWS = [*NAMES, "kd+fitnet", "ls(dkd)"]
SETTINGS = {name: methods.get(name).small for name in NAMES}
every_method = pytest.mark.parametrize("name", ROWS)
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def made(name):
    if "+" in name:
        return create(name, **{part: SETTINGS[part] for part in name.split("+")})
    return create(name, **SETTINGS.get(name, {}))


def built(name, pair, seed=0):
    """A method with its adapters for a pair; the case is skipped, with the method's reason, where it cannot run."""
    method = made(name)
    if reason := method.supports(pair):
        pytest.skip(reason)
    torch.manual_seed(seed)
    method.build(pair)
    return method.train()


def drawn(seed, network, scale=1.0):
    """Everything that a network of these shapes could give for a batch. The embedding is the pooled map's average."""
    draw = torch.Generator().manual_seed(seed)

    def normal(shape):
        return scale * torch.randn(COUNT, *shape, generator=draw)

    logits, embedding, maps = (
        normal(network.logits),
        normal(network.embedding),
        tuple(map(normal, network.maps)),
    )
    early, second = tuple(map(normal, network.maps)), normal(network.logits)
    pooled = normal(network.pooled) if network.pooled else None
    embedding = embedding if pooled is None else pooled.mean(dim=(2, 3))
    return Output(logits, embedding, maps, early, pooled, classifier_of(network, seed % 2), second)


def only(output, needs, teacher):
    """The part of an output that the engine gives to a method with these needs."""
    return Output(
        output.logits if needs.logits or not teacher else torch.empty(0),
        output.embedding if needs.embedding else None,
        output.maps if needs.maps else (),
        output.preactivations if needs.preactivations else (),
        output.pooled if needs.pooled else None,
        output.classifier if needs.classifier else None,
        output.second if needs.views else None,
    )


def given(method, pair, seed=0):
    """Student's output and teacher's, as the engine gives them."""
    needs = method.tapped()
    return only(drawn(seed, pair.student), needs, False), only(
        drawn(seed + 1, pair.teacher), needs, True
    )


def batch(seed=0):
    index = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(100 + seed))[:COUNT]
    return Batch(PAIRS["alike"].labels[index], index, epoch=1, epochs=3)


def parts(output):
    """Name of a tap -> its tensors, for those that are there."""
    every = {
        "logits": [output.logits],
        "embedding": [output.embedding],
        "maps": [*output.maps],
        "preactivations": [*output.preactivations],
        "pooled": [output.pooled],
        "classifier": []
        if output.classifier is None
        else [output.classifier.weight, output.classifier.bias],
        "views": [output.second],
    }
    return {
        name: found
        for name, some in every.items()
        if (found := [one for one in some if one is not None])
    }


def tensors(output):
    return [one for some in parts(output).values() for one in some]


def leaves(output):
    """The same output, of which each part can get a gradient."""

    def leaf(tensor):
        return None if tensor is None else tensor.clone().requires_grad_()

    layer = output.classifier
    return Output(
        leaf(output.logits),
        leaf(output.embedding),
        tuple(map(leaf, output.maps)),
        tuple(map(leaf, output.preactivations)),
        leaf(output.pooled),
        None if layer is None else Classifier(leaf(layer.weight), leaf(layer.bias)),
        leaf(output.second),
    )


def called(method, student, teacher, seed=0):
    """The terms of one batch, with the random stream that the engine would set."""
    torch.manual_seed(seed)
    return method(student, teacher, batch(seed))


def called_early(method, student, teacher, seed=0):
    """The terms of one batch of the stage before the training, where the method has one."""
    torch.manual_seed(seed)
    return method.pre_train(student, teacher, batch(seed)) if method.pre_training else {}


def loss(terms):
    return sum((weight * value for weight, value in terms.values()), torch.zeros(()))


def numbers(terms):
    return {name: (weight, value.item()) for name, (weight, value) in terms.items()}


@every_method
def test_a_method_runs_on_one_of_the_pairs_at_least(name):
    assert any(made(name).supports(pair) is None for pair in PAIRS.values())


@every_method
@every_pair
def test_terms_are_finite_scalars_in_float32_with_plain_weights(name, pair):
    method = built(name, pair)
    terms, early = called(method, *given(method, pair)), called_early(method, *given(method, pair))
    assert bool(terms or early) != (name in TERMLESS)
    assert bool(early) == (method.pre_training > 0)
    for term, (weight, value) in [*terms.items(), *early.items()]:
        assert isinstance(term, str)
        assert isinstance(weight, float)
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()


@every_method
@every_pair
def test_a_gradient_reaches_all_that_learns_and_nothing_of_the_teacher(name, pair):
    method = built(name, pair)
    student, teacher = (leaves(output) for output in given(method, pair))
    if name in TERMLESS:
        assert not list(method.parameters())
        return
    called_early_loss = loss(called_early(method, student, teacher))
    (called_early_loss + loss(called(method, student, teacher))).backward()
    assert all(one.grad is None or not one.grad.any() for one in tensors(teacher))
    reached = {
        what
        for what, found in parts(student).items()
        if any(one.grad is not None and one.grad.any() for one in found)
    }
    assert reached, "nothing of the student learns"
    for part, weight in method.named_parameters():
        assert weight.grad is not None, part
    for one in [*tensors(student), *method.parameters()]:
        assert one.grad is None or one.grad.isfinite().all()


@every_method
def test_an_adapter_learns_to_lower_the_loss(name):
    pair = next(pair for pair in PAIRS.values() if made(name).supports(pair) is None)
    method = built(name, pair)
    if not list(method.parameters()):
        pytest.skip("it has no adapters")
    if name == "ctkd":
        pytest.skip("its temperature is learned against the student, to raise the loss")
    student, teacher = given(method, pair)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
    values = []
    for _ in range(10):
        total = loss(called_early(method, student, teacher)) + loss(
            called(method, student, teacher)
        )
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < values[0]


@every_method
@every_pair
def test_the_same_seed_gives_the_same_bits_whatever_other_streams_do(name, pair):
    found = []
    for attempt in range(2):
        random.seed(attempt)
        np.random.seed(attempt)
        method = built(name, pair)
        student, teacher = given(method, pair)
        student = leaves(student)
        terms = called(method, student, teacher)
        early = loss(called_early(method, student, teacher))
        (F.cross_entropy(student.logits, batch().labels) + loss(terms) + early).backward()
        gradients = [
            one.grad for one in [*tensors(student), *method.parameters()] if one.grad is not None
        ]
        found.append((numbers(terms), gradients, method.state_dict()))
    (terms, gradients, state), (terms_again, gradients_again, state_again) = found
    assert terms == terms_again
    assert all(
        torch.equal(one, other) for one, other in zip(gradients, gradients_again, strict=True)
    )
    assert state.keys() == state_again.keys()
    assert all(torch.equal(value, state_again[key]) for key, value in state.items())


@every_method
def test_settings_make_the_same_method_again_even_after_a_round_trip_through_json(name):
    method = made(name)
    again = create(name, **json.loads(json.dumps(method.settings)))
    assert again.settings == method.settings
    assert again.ce == method.ce == method.settings["ce"]
    assert again.tapped() == method.tapped()
    pair = next(pair for pair in PAIRS.values() if method.supports(pair) is None)
    terms = []
    for one in (method, again):
        torch.manual_seed(0)
        one.build(pair)
        terms.append(numbers(called(one, *given(one, pair))))
    assert terms[0] == terms[1]


BOUNDED = [name for name in NAMES if methods.get(name).minimum is not None]


@pytest.mark.parametrize("name", BOUNDED)
def test_every_term_is_at_its_minimum_where_student_and_teacher_agree(name):
    method = built(name, PAIRS["alike"])
    _, same = given(method, PAIRS["alike"])
    same = same if len(same.logits) else replace(same, logits=torch.zeros(COUNT, CLASSES))
    for _, value in called(method, same, same).values():
        assert value.item() == pytest.approx(method.minimum, abs=1e-4)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("distance", [1e-3, 0.1, 1.0, 10.0])
def test_no_output_is_better_than_the_declared_minimum(name, distance):
    method, minimum = built(name, PAIRS["alike"]), methods.get(name).minimum
    for seed in range(0, 20, 2):
        _, teacher = given(method, PAIRS["alike"], seed)
        away = only(
            drawn(seed + 50, ALIKE, distance), replace(method.tapped(), classifier=False), False
        )
        logits = teacher.logits if len(teacher.logits) else torch.zeros(COUNT, CLASSES)
        moved = {
            "embedding": None if away.embedding is None else teacher.embedding + away.embedding,
            "pooled": None if away.pooled is None else teacher.pooled + away.pooled,
            "second": None if away.second is None else teacher.second + away.second,
        }
        for what in ("maps", "preactivations"):
            stages = zip(getattr(teacher, what), getattr(away, what), strict=True)
            moved[what] = tuple(one + step for one, step in stages)
        student = replace(teacher, logits=logits + away.logits, **moved)
        for _, value in called(method, student, teacher, seed).values():
            assert value.item() >= minimum - 1e-4


@pytest.mark.parametrize("name", BOUNDED)
def test_the_gradient_vanishes_where_the_minimum_is(name):
    method = built(name, PAIRS["alike"])
    _, teacher = given(method, PAIRS["alike"])
    same = leaves(teacher)
    total = loss(called(method, same, teacher))
    if total.requires_grad:
        total.backward()
    assert all(one.grad is None or one.grad.abs().max() < 1e-4 for one in tensors(same))


@every_method
@every_pair
def test_what_was_not_asked_for_changes_no_bit(name, pair):
    method = built(name, pair)
    asked = called(method, *given(method, pair))
    everything = called(built(name, pair), drawn(0, pair.student), drawn(1, pair.teacher))
    assert numbers(asked) == numbers(everything)


@every_method
@pytest.mark.parametrize("what", TAPS)
def test_what_is_asked_of_the_networks_makes_a_difference(name, what):
    """In one of the networks, on one of the pairs: OFA's heads stand on the student's maps alone."""
    if not getattr(made(name).tapped(), what):
        pytest.skip(f"it does not ask for {what}")
    pairs = [pair for pair in PAIRS.values() if made(name).supports(pair) is None]
    assert any(
        changes_with(name, pair, what, side) for pair in pairs for side in ("student", "teacher")
    )


def changes_with(name, pair, what, side):
    """Whether a method's terms, or the logits of its head, are others where a tap of one network is another."""
    other = replace(drawn(9, getattr(pair, side)), classifier=classifier_of(getattr(pair, side), 5))
    tap = "second" if what == "views" else what
    known = (
        replace(pair, classifier=other.classifier)
        if (what, side) == ("classifier", "teacher")
        else pair
    )
    found = []
    for changed, built_for in ((False, pair), (True, known)):
        method = built(name, built_for)
        outputs = dict(zip(("student", "teacher"), given(method, pair), strict=True))
        if changed and getattr(outputs[side], tap) is not None:
            outputs[side] = replace(outputs[side], **{tap: getattr(other, tap)})
        head = method.deployed()
        logits = None if head is None else head.eval()(outputs["student"]).tolist()
        found.append(
            (numbers(called_early(method, **outputs)), numbers(called(method, **outputs)), logits)
        )
    return found[0] != found[1]


@every_method
@every_pair
def test_the_outputs_that_a_cohort_shares_stay_as_they_were(name, pair):
    method = built(name, pair)
    student, teacher = given(method, pair)
    student, seen = leaves(student), batch()
    shared = [*tensors(student), *tensors(teacher), seen.labels, seen.index]
    before = [one.detach().clone() for one in shared]
    (F.cross_entropy(student.logits, seen.labels) + loss(method(student, teacher, seen))).backward()
    if method.pre_training:
        loss(method.pre_train(student, teacher, seen)).backward()
    assert all(torch.equal(one, old) for one, old in zip(shared, before, strict=True))


@every_method
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_networks_in_bf16_give_finite_terms_in_float32(name, scale):
    pair = next(pair for pair in PAIRS.values() if made(name).supports(pair) is None)
    method, layer = built(name, pair), torch.nn.Linear(CLASSES, CLASSES)
    draws = []
    for seed, network in enumerate((pair.student, pair.teacher)):
        drawing = drawn(seed, network, scale)
        with torch.autocast("cpu", torch.bfloat16):
            logits = layer(drawing.logits)
        assert logits.dtype == torch.bfloat16
        rough = {
            name: None if (whole := getattr(drawing, name)) is None else whole.bfloat16().float()
            for name in ("embedding", "pooled", "second")
        }
        for what in ("maps", "preactivations"):
            rough[what] = tuple(one.bfloat16().float() for one in getattr(drawing, what))
        draws.append(replace(drawing, logits=logits.float(), **rough))
    needs = method.tapped()
    student, teacher = only(draws[0], needs, False), only(draws[1], needs, True)
    early, terms = called_early(method, student, teacher), called(method, student, teacher)
    (F.cross_entropy(student.logits, batch().labels) + loss(early) + loss(terms)).backward()
    assert all(
        value.dtype == torch.float32 and value.isfinite()
        for _, value in [*early.values(), *terms.values()]
    )
    gradients = [weight.grad for weight in [*layer.parameters(), *method.parameters()]]
    assert all(one is not None and one.isfinite().all() for one in gradients)


@every_method
@every_pair
def test_a_method_goes_on_from_its_state_as_if_it_had_never_stopped(name, pair):
    went, restored = built(name, pair), built(name, pair, seed=1)
    called_early(went, *given(went, pair))
    called(went, *given(went, pair))
    state = {key: value.clone() for key, value in went.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    restored.load_state_dict(state)
    outputs = given(went, pair, seed=7)
    assert numbers(called(went, *outputs, seed=1)) == numbers(called(restored, *outputs, seed=1))
    assert all(
        torch.equal(value, restored.state_dict()[key]) for key, value in went.state_dict().items()
    )


@every_method
@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("what", ["embedding", "maps", "pooled", "classifier"])
def test_a_method_runs_without_a_tap_or_says_in_one_line_why_it_cannot(name, side, what):
    method = made(name)
    pair = next(pair for pair in PAIRS.values() if method.supports(pair) is None)
    gone = {
        "embedding": {"embedding": (), "pooled": (), "classifier": False},
        "classifier": {"classifier": False},
    }
    missing = gone.get(what, {what: ()})
    both = what == "maps"  # stages are paired, so one network without maps leaves none to either
    kept = {
        each: replace(getattr(pair, each), **(missing if both or each == side else {}))
        for each in PAIR
    }
    notes = {f"{each}.{what}": "it has none" for each in PAIR}
    layer = None if side == "teacher" and not kept["teacher"].classifier else pair.classifier
    lacking = replace(pair, **kept, notes=notes, classifier=layer)
    reason = method.supports(lacking)
    if reason is not None:
        also = {
            "maps": ("maps", "preactivations"),
            "embedding": ("embedding", "pooled", "classifier"),
        }
        assert any(getattr(method.tapped(), tap) for tap in also.get(what, (what,)))
        assert len(reason.splitlines()) == 1
        return
    method.build(lacking)
    needs = method.tapped()
    outputs = {}
    for place, each in enumerate(PAIR):
        output = drawn(place, replace(kept[each], embedding=kept[each].embedding or (1,)))
        outputs[each] = replace(
            output,
            embedding=output.embedding if kept[each].embedding else None,
            classifier=output.classifier if kept[each].classifier else None,
        )
    student, teacher = only(outputs["student"], needs, False), only(outputs["teacher"], needs, True)
    for _, value in called(method, student, teacher).values():
        assert value.isfinite()


PAIR = ("student", "teacher")


@every_method
@every_pair
def test_a_head_that_is_deployed_makes_logits_of_the_students_output_alone(name, pair):
    method = built(name, pair).eval()
    head = method.deployed()
    if head is None:
        pytest.skip("the student's own head is deployed")
    student, _ = given(method, pair)
    logits = head(student)
    assert logits.shape == (COUNT, CLASSES)
    assert logits.isfinite().all()
    assert any(head is part for part in method.modules())
