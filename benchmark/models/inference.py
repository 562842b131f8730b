"""Running a model without training it, and counting its operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a block in eval mode without gradients, and restore the model's mode afterwards."""
    mode = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(mode)


def count_macs(run: Callable[[], object]) -> int:
    """Count the multiply-accumulates of a function: half of what PyTorch counts as FLOPs."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Fused attention is counted on some devices only; as matrix products it is counted on all.
    with sdpa_kernel(SDPBackend.MATH), counter:
        run()

    return int(counter.get_total_flops()) // 2
