"""Random streams are named: one name is one stream for ever, another name another, and none disturbs another."""

from __future__ import annotations

import contextlib

import pytest
import torch

from benchmark.seeds import derive, generator, seeded


@pytest.mark.parametrize(
    ("role", "seed"),
    [
        ((0,), 3456079177858693020),
        ((0, "order", 1), 4489457307835839548),
        ((7, "student"), 5392256918345765422),
    ],
)
def test_a_streams_seed_is_the_same_for_ever(role, seed):
    assert derive(*role) == seed


def test_seeds_of_different_roles_differ_and_fit_into_63_bits():
    roles = [
        (),
        ("order",),
        ("augmentation",),
        ("order", 0),
        ("order", 1),
        ("order", 0, 1),
        ("order", "kd"),
    ]
    seeds = [derive(seed, *role) for seed in (0, 1, 2, 10) for role in roles]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_a_generator_starts_its_stream_each_time():
    first = torch.rand(5, generator=generator(3, "order", 2))
    assert torch.equal(first, torch.rand(5, generator=generator(3, "order", 2)))
    assert not torch.equal(first, torch.rand(5, generator=generator(3, "order", 3)))
    torch.manual_seed(derive(3, "order", 2))
    assert torch.equal(first, torch.rand(5))


def drawn(outer):
    with seeded(1, "student"):
        torch.rand(outer)
    return torch.rand(3)


@pytest.mark.parametrize("inside", [0, 1, 100])
def test_what_is_drawn_inside_changes_nothing_outside(inside):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(drawn(inside), expected)


def test_what_was_drawn_outside_changes_nothing_inside():
    found = []
    for before in (0, 5):
        torch.rand(before)
        with seeded(1, "student"):
            found.append(torch.rand(4))
    assert torch.equal(*found)
    assert torch.equal(found[0], torch.rand(4, generator=generator(1, "student")))


def test_the_outer_stream_comes_back_after_an_error_and_around_nested_ones():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    with contextlib.suppress(ZeroDivisionError), seeded(1, "a"):
        first = torch.rand(2)
        with seeded(1, "b"):
            torch.rand(2)
        second = torch.rand(2)
        raise ZeroDivisionError
    assert torch.equal(torch.cat([first, second]), torch.rand(4, generator=generator(1, "a")))
    assert torch.equal(torch.rand(3), expected)
