"""A random stream is known by its name for ever, and none disturbs another."""

from __future__ import annotations

import contextlib

import pytest
import torch

from benchmark.seeds import derive, generator, reseed, seeded


@pytest.mark.parametrize(
    ("role", "seed"),
    [
        ((0,), 3456079177858693020),
        ((0, "order", 1), 4489457307835839548),
        ((7, "student"), 5392256918345765422),
    ],
)
def test_the_seed_of_a_stream_never_changes(role, seed):
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
    numbers = torch.rand(5, generator=generator(3, "order", 2))
    assert torch.equal(numbers, torch.rand(5, generator=generator(3, "order", 2)))
    assert not torch.equal(numbers, torch.rand(5, generator=generator(3, "order", 3)))

    torch.manual_seed(derive(3, "order", 2))
    assert torch.equal(numbers, torch.rand(5))


@pytest.mark.parametrize("draws", [0, 1, 100])
def test_draws_from_a_stream_change_nothing_outside(draws):
    torch.manual_seed(11)
    expected = torch.rand(3)

    torch.manual_seed(11)
    with seeded(1, "student"):
        torch.rand(draws)
    assert torch.equal(torch.rand(3), expected)


def test_draws_from_outside_change_nothing_in_a_stream():
    streams = []
    for draws in (0, 5):
        torch.rand(draws)
        with seeded(1, "student"):
            streams.append(torch.rand(4))

    assert torch.equal(*streams)
    assert torch.equal(streams[0], torch.rand(4, generator=generator(1, "student")))


def test_the_outer_stream_comes_back_after_an_error_and_around_nested_streams():
    torch.manual_seed(11)
    expected = torch.rand(3)

    torch.manual_seed(11)
    with contextlib.suppress(ZeroDivisionError), seeded(1, "a"):
        first = torch.rand(2)
        with seeded(1, "b"):
            torch.rand(2)
        second = torch.rand(2)
        raise ZeroDivisionError

    stream = torch.rand(4, generator=generator(1, "a"))
    assert torch.equal(torch.cat([first, second]), stream)
    assert torch.equal(torch.rand(3), expected)


def test_a_reseeded_stream_is_the_one_that_torch_seeds():
    reseed(torch.device("cpu"), 3, "step", 2)
    numbers = torch.rand(3)

    torch.manual_seed(derive(3, "step", 2))
    assert torch.equal(torch.rand(3), numbers)
