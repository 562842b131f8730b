"""What every method promises, whatever it is: the suite takes its cases from the folder, so a new file is held to it.

Methods see what the engine gives them: float32, and nothing that they did not ask for.
"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import methods
from methods import Batch, Needs, Output, Probe, Shapes, create

SAMPLES, COUNT, CLASSES = 32, 8, 5
ALIKE = Shapes((CLASSES,), (12,), ((4, 16, 16), (6, 8, 8), (12, 4, 4)))
LARGE = Shapes((CLASSES,), (20,), ((8, 32, 32), (16, 16, 16), (20, 8, 8)))
SMALL = Shapes((CLASSES,), (6,), ((3, 6, 10), (4, 3, 5), (6, 2, 2)))
PAIRS = {
    "alike": Probe(ALIKE, ALIKE, SAMPLES, COUNT),
    "small student": Probe(SMALL, LARGE, SAMPLES, COUNT),
    "large student": Probe(LARGE, SMALL, SAMPLES, COUNT),
    "like student": Probe(ALIKE, LARGE, SAMPLES, COUNT),
}
EVERYTHING = Needs(logits=True, embedding=True, maps=True)
NAMES = methods.names()
ROWS = [*NAMES, "kd+fitnet"]
SETTINGS = {name: methods.get(name).small for name in NAMES}

every_method = pytest.mark.parametrize("name", ROWS)
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def made(name):
    return create(name, **(SETTINGS[name] if name in SETTINGS else {part: SETTINGS[part] for part in name.split("+")}))


def built(name, pair, seed=0):
    """A method with its adapters for a pair; the case is skipped, with the method's reason, where it cannot run."""
    method = made(name)
    if reason := method.supports(pair):
        pytest.skip(reason)
    torch.manual_seed(seed)
    method.build(pair)
    return method.train()


def drawn(seed, shapes, scale=1.0):
    """Everything that a network of these shapes could give for a batch."""
    draw = torch.Generator().manual_seed(seed)
    logits, embedding, *maps = (
        scale * torch.randn(COUNT, *shape, generator=draw) for shape in (shapes.logits, shapes.embedding, *shapes.maps)
    )
    return Output(logits, embedding, tuple(maps))


def only(output, needs, teacher):
    """The part of an output that the engine gives to a method with these needs."""
    return Output(
        output.logits if needs.logits or not teacher else torch.empty(0),
        output.embedding if needs.embedding else None,
        output.maps if needs.maps else (),
    )


def given(method, pair, seed=0):
    """Student's output and teacher's, as the engine gives them."""
    needs = method.tapped()
    return only(drawn(seed, pair.student), needs, False), only(drawn(seed + 1, pair.teacher), needs, True)


def batch(seed=0):
    draw = torch.Generator().manual_seed(100 + seed)
    labels = torch.randint(0, CLASSES, (COUNT,), generator=draw)
    return Batch(labels, torch.randperm(SAMPLES, generator=draw)[:COUNT], epoch=1, epochs=3)


def tensors(output):
    return [one for one in (output.logits, output.embedding, *output.maps) if one is not None]


def leaves(output):
    """The same output, of which each part can get a gradient."""
    embedding = None if output.embedding is None else output.embedding.clone().requires_grad_()
    maps = tuple(one.clone().requires_grad_() for one in output.maps)
    return Output(output.logits.clone().requires_grad_(), embedding, maps)


def called(method, student, teacher, seed=0):
    """The terms of one batch, with the random stream that the engine would set."""
    torch.manual_seed(seed)
    return method(student, teacher, batch(seed))


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
    terms = called(method, *given(method, pair))
    assert bool(terms) != (name == methods.baseline())
    for term, (weight, value) in terms.items():
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
    terms, needs = called(method, student, teacher), method.tapped()
    if name == methods.baseline():
        assert not list(method.parameters())
        return
    loss(terms).backward()
    assert all(one.grad is None for one in tensors(teacher))
    learns = {
        "logits": [student.logits] if not needs.embedding and not needs.maps else [],
        "embedding": [student.embedding] if needs.embedding else [],
        "maps": student.maps,
    }
    for what, outputs in learns.items():
        if outputs:
            assert any(one.grad is not None and one.grad.norm() > 0 for one in outputs), what
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
    student, teacher = given(method, pair)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.02)
    values = []
    for _ in range(10):
        total = loss(called(method, student, teacher))
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
        (F.cross_entropy(student.logits, batch().labels) + loss(terms)).backward()
        gradients = [one.grad for one in [*tensors(student), *method.parameters()] if one.grad is not None]
        found.append((numbers(terms), gradients, method.state_dict()))
    (terms, gradients, state), (terms_again, gradients_again, state_again) = found
    assert terms == terms_again
    assert all(torch.equal(one, other) for one, other in zip(gradients, gradients_again, strict=True))
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


@pytest.mark.parametrize("name", [name for name in NAMES if methods.get(name).minimum is not None])
@pytest.mark.parametrize("distance", [1e-3, 0.1, 1.0, 10.0])
def test_no_output_is_better_than_the_declared_minimum(name, distance):
    method, minimum = built(name, PAIRS["alike"]), methods.get(name).minimum
    for seed in range(10):
        _, teacher = given(method, PAIRS["alike"], seed)
        away = drawn(seed + 50, ALIKE, distance)
        logits = teacher.logits if len(teacher.logits) else torch.zeros(COUNT, CLASSES)
        embedding = None if teacher.embedding is None else teacher.embedding + away.embedding
        maps = tuple(one + step for one, step in zip(teacher.maps, away.maps, strict=False))
        student = Output(logits + away.logits, embedding, maps)
        for _, value in called(method, student, teacher, seed).values():
            assert value.item() >= minimum - 1e-6


@pytest.mark.parametrize("name", [name for name in NAMES if methods.get(name).minimum is not None])
def test_the_gradient_vanishes_where_the_minimum_is(name):
    method = built(name, PAIRS["alike"])
    _, teacher = given(method, PAIRS["alike"])
    same = leaves(teacher)
    total = loss(called(method, same, teacher))
    if total.requires_grad:
        total.backward()
    assert all(one.grad is None or one.grad.abs().max() < 1e-5 for one in tensors(same))


@every_method
@every_pair
def test_what_was_not_asked_for_changes_no_bit(name, pair):
    method = built(name, pair)
    asked = called(method, *given(method, pair))
    everything = called(built(name, pair), drawn(0, pair.student), drawn(1, pair.teacher))
    assert numbers(asked) == numbers(everything)


@every_method
@pytest.mark.parametrize("what", ["logits", "embedding", "maps"])
def test_what_is_asked_of_the_teacher_makes_a_difference(name, what):
    pair = next(pair for pair in PAIRS.values() if made(name).supports(pair) is None)
    if not getattr(made(name).tapped(), what):
        pytest.skip(f"it does not ask for {what}")
    before, after = built(name, pair), built(name, pair)
    student, teacher = given(before, pair)
    other = only(drawn(9, pair.teacher), Needs(**{what: True}), True)
    changed = Output(
        other.logits if what == "logits" else teacher.logits,
        other.embedding if what == "embedding" else teacher.embedding,
        other.maps if what == "maps" else teacher.maps,
    )
    assert numbers(called(before, student, teacher)) != numbers(called(after, student, changed))


@every_method
@every_pair
def test_the_outputs_that_a_cohort_shares_stay_as_they_were(name, pair):
    method = built(name, pair)
    student, teacher = given(method, pair)
    student, seen = leaves(student), batch()
    shared = [*tensors(student), *tensors(teacher), seen.labels, seen.index]
    before = [one.detach().clone() for one in shared]
    (F.cross_entropy(student.logits, seen.labels) + loss(method(student, teacher, seen))).backward()
    assert all(torch.equal(one, old) for one, old in zip(shared, before, strict=True))


@every_method
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_networks_in_bf16_give_finite_terms_in_float32(name, scale):
    pair = next(pair for pair in PAIRS.values() if made(name).supports(pair) is None)
    method, layer = built(name, pair), torch.nn.Linear(CLASSES, CLASSES)
    draws = []
    for seed, shapes in enumerate((pair.student, pair.teacher)):
        drawing = drawn(seed, shapes, scale)
        with torch.autocast("cpu", torch.bfloat16):
            logits = layer(drawing.logits)
        assert logits.dtype == torch.bfloat16
        maps = tuple(one.bfloat16().float() for one in drawing.maps)
        draws.append(Output(logits.float(), drawing.embedding.bfloat16().float(), maps))
    needs = method.tapped()
    student = only(draws[0], needs, False)
    terms = called(method, student, only(draws[1], needs, True))
    (F.cross_entropy(student.logits, batch().labels) + loss(terms)).backward()
    assert all(value.dtype == torch.float32 and value.isfinite() for _, value in terms.values())
    gradients = [weight.grad for weight in [*layer.parameters(), *method.parameters()]]
    assert all(one is not None and one.isfinite().all() for one in gradients)


@every_method
@every_pair
def test_a_method_goes_on_from_its_state_as_if_it_had_never_stopped(name, pair):
    went, restored = built(name, pair), built(name, pair, seed=1)
    called(went, *given(went, pair))
    state = {key: value.clone() for key, value in went.state_dict().items()}
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    restored.load_state_dict(state)
    outputs = given(went, pair, seed=7)
    assert numbers(called(went, *outputs, seed=1)) == numbers(called(restored, *outputs, seed=1))
    assert all(torch.equal(value, restored.state_dict()[key]) for key, value in went.state_dict().items())


@every_method
@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("what", ["embedding", "maps"])
def test_a_missing_tap_is_a_reason_where_it_was_asked_for_and_none_where_it_was_not(name, side, what):
    method = made(name)
    pair = next(pair for pair in PAIRS.values() if method.supports(pair) is None)
    kept = {"student": pair.student, "teacher": pair.teacher}
    if what == "maps":  # stages are paired, so one network without maps leaves none to either
        kept = {each: Shapes(shapes.logits, shapes.embedding) for each, shapes in kept.items()}
    else:
        kept[side] = Shapes(kept[side].logits, maps=kept[side].maps)
    lacking = Probe(**kept, samples=SAMPLES, batch_size=COUNT, notes={f"{side}.{what}": "it has none"})
    reason = method.supports(lacking)
    if getattr(method.tapped(), what):
        assert reason
        assert len(reason.splitlines()) == 1
    else:
        assert reason is None
