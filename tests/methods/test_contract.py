"""The list of taps and what is derived from it; the baseline and the reference of a table."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

import methods
from methods import TAPS, Classifier, Needs, Output, Shapes, suggest
from methods._registry import get

EVERYTHING = Needs.of(*(tap.name for tap in TAPS))


def full_output():
    """An output with a tensor of another value for each tap."""
    return Output(
        torch.full((2, 3), 1.0),
        torch.full((2, 4), 2.0),
        (torch.full((2, 4, 1, 1), 3.0), torch.full((2, 4, 1, 1), 4.0)),
        (torch.full((2, 4, 1, 1), 5.0),),
        torch.full((2, 4, 1, 1), 6.0),
        Classifier(torch.full((3, 4), 7.0), torch.full((3,), 8.0)),
        torch.full((2, 3), 9.0),
    )


def test_the_taps_are_the_fields_of_needs_in_their_order():
    assert [tap.name for tap in TAPS] == [
        field.name for field in fields(Needs) if field.name != "companion"
    ]


def test_every_tap_names_a_field_of_the_output_and_of_the_shapes():
    outputs = [tap.output for tap in TAPS]
    assert sorted(outputs) == sorted(field.name for field in fields(Output))
    assert {tap.shape for tap in TAPS} == {field.name for field in fields(Shapes)} | {""}


@pytest.mark.parametrize("tap", TAPS, ids=[tap.name for tap in TAPS])
def test_any_tap_needs_the_teacher_and_some_are_inside_the_networks(tap):
    needs = Needs.of(tap.name)
    assert needs.taps == (tap,)
    assert needs.any
    assert needs.teacher
    assert not replace(needs, companion="peer").teacher
    assert needs.stages == (tap.name in ("maps", "preactivations", "pooled"))


def test_a_method_without_taps_needs_nothing():
    assert not Needs().any
    assert not Needs().stages
    assert not Needs().teacher


def test_the_union_of_needs_asks_for_all_taps_of_both_and_keeps_the_companion():
    first, second = Needs(logits=True, companion="peer"), Needs(maps=True, companion="peer")
    assert first | second == Needs(logits=True, maps=True, companion="peer")
    assert first | Needs() == first
    with pytest.raises(ValueError, match="learn from different networks: peer and teacher"):
        _ = first | Needs(views=True)


def test_an_unknown_tap_is_refused():
    with pytest.raises(TypeError):
        Needs.of("logtis")


@pytest.mark.parametrize("tap", TAPS, ids=[tap.name for tap in TAPS])
def test_an_output_keeps_only_the_taps_that_are_asked_for(tap):
    output = full_output()
    kept = output.only(Needs.of(tap.name))
    empty = Output(torch.empty(0))
    for field in fields(Output):
        source = output if field.name == tap.output else empty
        expected = getattr(source, field.name)
        if field.name == "logits" and source is empty:
            assert kept.logits.shape == (0,)
        else:
            assert getattr(kept, field.name) is expected or getattr(kept, field.name) == expected


def test_all_taps_asked_for_are_the_whole_output():
    output = full_output()
    assert output.only(EVERYTHING) == output


def test_a_function_is_applied_to_every_tensor_of_an_output():
    values = []
    doubled = full_output().map(lambda tensor: values.append(tensor.mean().item()) or 2 * tensor)
    assert values == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert doubled.classifier.bias.tolist() == [16.0, 16.0, 16.0]
    assert doubled.maps[1].mean() == 8.0
    assert Output(torch.ones(2)).map(torch.neg).embedding is None


def test_a_network_offers_the_taps_that_its_shapes_show():
    network = Shapes((3,), (4,), ((4, 1, 1),), (4, 1, 1), classifier=True)
    assert network.available == replace(EVERYTHING, views=False)
    assert Shapes((3,), maps=((4, 1, 1),)).available == Needs.of("logits", "maps", "preactivations")
    assert Shapes((3,)).available == Needs(logits=True)


def test_a_table_is_built_around_one_baseline_and_one_reference():
    assert (methods.baseline(), methods.reference()) == ("student", "kd")


def test_a_method_that_extends_the_reference_is_not_the_reference_itself():
    assert issubclass(get("random_teacher"), get("kd"))
    assert not get("random_teacher").reference


@pytest.mark.parametrize("flag", ["baseline", "reference"])
def test_none_or_several_methods_with_the_flag_of_a_single_one_are_refused(flag, monkeypatch):
    monkeypatch.setattr("methods._registry.names", lambda: ["at", "dkd"])
    with pytest.raises(TypeError, match=rf"exactly one method must set {flag} = True, not none"):
        getattr(methods, flag)()
    for name in ("at", "dkd"):
        monkeypatch.setattr(get(name), flag, True)
    with pytest.raises(TypeError, match=rf"must set {flag} = True, not at, dkd"):
        getattr(methods, flag)()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("temprature", "did you mean 'temperature'?"),
        ("xyz", "it has temperature, weight"),
    ],
)
def test_a_suggestion_is_the_closest_name_or_the_list_of_all(name, message):
    assert suggest(name, ["temperature", "weight"], otherwise="it has") == message
