"""The costs of a network, and how its latency is timed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from benchmark.measures import BATCH, BY_KEY
from benchmark.models import create
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from benchmark.training import profiling
from tests.support.networks import STUDENT

pytestmark = pytest.mark.trains

HALF = (0.5, 0.5, 0.5)


@pytest.fixture(autouse=True)
def _full_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency is timed as it is outside of tests."""
    monkeypatch.setattr(profiling, "LEAST", 5)
    monkeypatch.setattr(profiling, "SECONDS", 2.0)
    monkeypatch.setattr(profiling, "WARM_UP_SECONDS", 0.5)


@pytest.fixture(scope="module")
def model() -> TappedModel:
    torch.manual_seed(0)
    return create.tapped(Network(model=STUDENT), "here", (3, 32, 32), 10, HALF, HALF)


def set_clock(durations: list[float], monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Make the passes of a model take these seconds, one after another.

    Returns:
        A function that counts the passes.
    """
    ticks = count()
    clock = SimpleNamespace(perf_counter=lambda: sum(durations[: (next(ticks) + 1) // 2]))
    monkeypatch.setattr(profiling, "time", clock)
    return lambda: next(ticks) // 2


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch_size", [1, BATCH])
def test_latency_is_positive_and_leaves_the_mode_as_it_was(
    training: bool, batch_size: int, model: TappedModel
) -> None:
    model.train(training)
    assert profiling.latency(model, batch_size) > 0
    assert model.training == model.network.training == training


@pytest.mark.parametrize("batch_size", [1, 7])
def test_latency_is_that_of_one_batch_of_the_models_images(
    batch_size: int, model: TappedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = set()
    monkeypatch.setattr(
        TappedModel, "forward", lambda self, images, needs: shapes.add(tuple(images.shape))
    )
    profiling.latency(model, batch_size)
    assert shapes == {(batch_size, *model.size)}


def test_latency_is_the_median_in_milliseconds_after_the_warm_up(
    model: TappedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle = profiling.MOST // 2
    timed = [0.025] * (middle + 1) + [0.05] * (middle - 1)
    passes = set_clock([0.06] * profiling.WARM_UPS + timed + [9.0], monkeypatch)
    assert profiling.latency(model, 1) == pytest.approx(25.0)
    assert passes() == profiling.WARM_UPS + profiling.MOST


def test_the_latency_of_a_slow_network_is_that_of_few_passes(
    model: TappedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [8.0, *[3.0, 5.0, 4.0, 7.0, 6.0][: profiling.LEAST], *[99.0] * 50]
    passes = set_clock(slow, monkeypatch)
    assert profiling.latency(model, 1) == pytest.approx(5000.0)
    assert passes() == 1 + profiling.LEAST


def test_peak_memory_is_more_than_what_was_just_held() -> None:
    held = torch.ones(2**23)
    mebibytes = held.numel() * held.element_size() / 2**20
    assert profiling.peak_memory(torch.device("cpu")) > mebibytes


def test_costs_have_keys_of_the_list_of_measures(model: TappedModel) -> None:
    costs = profiling.costs(model)
    assert set(costs) == {
        key
        for key, measure in BY_KEY.items()
        if measure.group in ("size", "measured") and "seconds" not in key
    }
    assert costs["cost/params"] == model.parameter_count()
    assert costs["cost/macs"] == model.macs()
