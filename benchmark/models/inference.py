"""Runs a model without training it, and counts its operations."""

from __future__ import annotations

from collections.abc import Iterator
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


def count_macs(model: nn.Module, *inputs: object) -> int:
    """Count the multiply-accumulates of a forward pass in eval mode.

    The count is half of PyTorch's FLOP count.

    Args:
        model: The model.
        inputs: Arguments of the model's forward method.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # PyTorch counts fused attention only on some devices, but matrix products on all.
    with evaluating(model), _frozen(model), sdpa_kernel(SDPBackend.MATH), counter:
        model(*inputs)

    return int(counter.get_total_flops()) // 2


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Stop all parameters from requiring gradients in a block.

    PyTorch's counter fails on a module that takes a view of a parameter that requires gradients,
    such as the learned query of attention pooling.
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
