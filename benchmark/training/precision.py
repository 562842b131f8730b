"""The precision in which networks compute, and how it is set explicitly on every device."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.tapped import TappedModel

LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""The types of networks in lower precisions, by the recipe's `precision`."""

ROUNDS = 5
"""Number of times that a convolution is timed in each precision; a tenth of a second in all."""


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return a context that runs networks in a precision; float32 is left as it is."""
    kind = LOWER.get(precision)
    return torch.autocast(device.type, kind or torch.bfloat16, enabled=kind is not None)


def keep_float32() -> None:
    """Make products of float32 exact on GPUs.

    By default, torch rounds the factors of convolutions to TF32, but not those of other products.
    """
    _set_products("ieee")


@contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """In a block, round the factors of float32 products to TF32 on GPUs if a recipe says so.

    Networks are evaluated outside of such blocks, always in float32.

    Args:
        precision: The recipe's precision; only `tf32` rounds.
    """
    if precision != "tf32":
        yield
        return

    _set_products("tf32")
    try:
        yield
    finally:
        keep_float32()


def _set_products(precision: str) -> None:
    """Set how torch computes products of float32 on GPUs: as `ieee` or in `tf32`."""
    # The settings of a whole backend don't reach all of its operations.
    for setting in (torch.backends.cuda.matmul, *_cudnn()):
        setting.fp32_precision = precision


def _cudnn() -> tuple[Any, Any]:
    backend: Any = torch.backends.cudnn
    return backend.conv, backend.rnn


def lowered(model: TappedModel, precision: str) -> TappedModel:
    """Return a copy of a frozen network whose weights need no conversion in each forward pass.

    `torch.autocast` converts the weights of convolutions and linear layers whenever they are used.
    The copy computes the same bits. Its classifier keeps its weights, which methods may read.

    Args:
        model: The network, which does not learn.
        precision: A recipe's precision among those of `LOWER`.
    """
    own = copy.deepcopy(model)
    classifier = own.classifier()
    kept = None if classifier is None else classifier.weight.data_ptr()

    for module in own.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear) or module.weight.data_ptr() == kept:
            continue

        # Subclasses may compute with their weights before the product.
        if type(module) in (nn.Conv2d, nn.Linear):
            module.to(LOWER[precision])
    return own


def slowdown(precision: str) -> float:
    """Measure how many times as long a convolution takes in a precision as in float32, on a CPU.

    A processor without instructions for it can be ten times slower.
    """
    images = torch.ones(16, 32, 16, 16).to(memory_format=torch.channels_last)
    weight = torch.ones(32, 32, 3, 3).to(memory_format=torch.channels_last)

    ratios = []
    with torch.no_grad():
        for _ in range(ROUNDS):
            plain = _time_convolution(images, weight, "fp32")
            ratios.append(_time_convolution(images, weight, precision) / plain)
    return statistics.median(ratios)


def _time_convolution(images: Tensor, weight: Tensor, precision: str) -> float:
    """Return the time of some convolutions, in seconds."""
    started = time.perf_counter()
    with autocast(precision, images.device):
        for _ in range(4):
            F.conv2d(images, weight, padding=1)
    return time.perf_counter() - started
