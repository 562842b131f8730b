"""Teacher and student side by side: what a method is told, and which part of an output it gets."""

from __future__ import annotations

import pytest
import torch

from benchmark.models.pairing import in_float32, only, probe
from methods import Needs, Output, create
from tests.models.networks import Plain, build, tap


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_a_method_says_with_the_networks_own_reason_why_it_cannot_run(side):
    plain = tap(Plain())
    rich = build("test_resnet")
    student, teacher = (plain, rich) if side == "student" else (rich, plain)
    pair = probe(student, teacher, Needs(), samples=16, batch_size=4)
    assert create("at").supports(pair) == f"maps of the {side}: {plain.notes['maps']}"
    assert create("kd").supports(pair) is None


def test_stages_are_paired_from_the_deepest_on():
    deep = build("test_resnet")
    shallow = build("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2})
    for student, teacher in ((deep, shallow), (shallow, deep)):
        pair = probe(student, teacher, Needs(), samples=16, batch_size=4)
        assert pair.student.maps == student.shapes.maps[-2:]
        assert pair.teacher.maps == teacher.shapes.maps[-2:]
        assert (pair.samples, pair.batch_size) == (16, 4)


def an_output(dtype=torch.float32):
    maps = tuple(torch.full((2, 1, 1, 1), float(number), dtype=dtype) for number in range(3))
    return Output(
        logits=torch.ones(2, 5, dtype=dtype),
        embedding=torch.ones(2, 3, dtype=dtype),
        maps=maps,
        preactivations=maps[1:],
        pooled=torch.ones(2, 3, 1, 1, dtype=dtype),
        second=torch.ones(2, 5),
    )


def test_an_output_in_another_precision_becomes_single_precision():
    converted = in_float32(an_output(torch.bfloat16))
    tensors = (converted.logits, converted.embedding, converted.pooled)
    for tensor in (*tensors, *converted.maps, *converted.preactivations):
        assert tensor.dtype == torch.float32


def test_of_an_output_only_what_a_method_needs_is_kept():
    nothing = only(an_output(), Needs(), depth=2)
    assert nothing.logits.shape == (0,)
    assert (nothing.embedding, nothing.pooled, nothing.second) == (None, None, None)
    assert nothing.maps == nothing.preactivations == ()

    needs = Needs(True, True, True, preactivations=True, pooled=True, views=True)
    everything = only(an_output(), needs, depth=2)
    assert everything.logits.shape == everything.second.shape == (2, 5)
    assert everything.embedding.shape == (2, 3)
    assert everything.pooled.shape == (2, 3, 1, 1)
    assert [int(stage_map[0]) for stage_map in everything.maps] == [1, 2]
    assert [int(stage_map[0]) for stage_map in everything.preactivations] == [1, 2]
