"""Times batches of a study's networks, to extrapolate the time of a run from them."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import seeds
from benchmark.data import Data
from benchmark.hashing import identity
from benchmark.models import create
from benchmark.models.tapped import seen_size
from benchmark.study.schema import Network
from benchmark.training.companions import TRAINING_PASSES

REPETITIONS = 5
"""Maximum number of timings of a network; the fastest one counts."""

ENOUGH_SECONDS = 0.2
"""A network is timed again only while its timings have taken less than this in total."""

SAMPLE_MACS = 1e9
"""Multiply-accumulates of the forward pass that is timed on a CPU."""

FEWEST_IMAGES = 8
"""Minimum number of images that are timed on a CPU; in smaller batches, overheads dominate."""


class BatchClock:
    """Measures the time of a batch, once for each distinct network.

    A CPU takes about as long per image in a small batch as in a large one, so that only part of a
    batch is timed there. A GPU is timed with whole batches.
    """

    def __init__(self, data: Data, batch_size: int):
        """Prepare to time batches.

        Args:
            data: The data set, whose image size and device are used.
            batch_size: Images per batch.
        """
        self._data = data
        self._batch_size = batch_size
        self._seconds: dict[tuple[str, bool], float] = {}
        self._last: tuple[str, nn.Module] | None = None

    def seconds(self, network: Network, macs: int, *, trains: bool) -> float:
        """Return the time of one batch in seconds.

        The time of a forward pass is that of a third of a training step if that is known already.

        Args:
            network: The network, which has been built for the same data before.
            macs: Multiply-accumulates of its forward pass per image.
            trains: Whether to time a training step rather than a forward pass.
        """
        key = identity(network.identity)
        if not trains and (key, True) in self._seconds:
            return self._seconds[key, True] / TRAINING_PASSES
        if (key, trains) not in self._seconds:
            self._seconds[key, trains] = self._measured(network, key, macs, trains=trains)
        return self._seconds[key, trains]

    def _measured(self, network: Network, key: str, macs: int, *, trains: bool) -> float:
        """Time a few images, and extrapolate to a batch."""
        count = self._batch_size
        if self._data.device.type == "cpu":
            affordable = int(SAMPLE_MACS / max(macs, 1))
            count = min(count, max(FEWEST_IMAGES, affordable))

        model = self._model(network, key)
        size = seen_size(self._data.size, network.image_size)
        images = torch.rand(count, *size, device=self._data.device)
        return _fastest(model, images, trains=trains) * self._batch_size / count

    def _model(self, network: Network, key: str) -> nn.Module:
        """Build a network without taps and weights, unless it is the one that was timed last."""
        if self._last is None or self._last[0] != key:
            data = self._data
            with seeds.seeded(0, "probe"):
                model = create.create(network.untrained, network.model, data.size, data.classes)
            self._last = key, model.to(data.device)
        return self._last[1]


def _fastest(model: nn.Module, images: Tensor, *, trains: bool) -> float:
    """Return the time of the fastest of a few batches.

    `torch.utils.benchmark.Timer` would do the same, but warns about CUDA on machines without it.
    """
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    model.train(trains)
    times: list[float] = []

    while len(times) < REPETITIONS and sum(times) < ENOUGH_SECONDS:
        start = time.perf_counter()
        with torch.set_grad_enabled(trains):
            loss = F.cross_entropy(model(images), labels)
        if trains:
            torch.autograd.backward(loss)
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - start)

    return min(times)
