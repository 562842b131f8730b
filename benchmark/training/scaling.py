"""Loss scaling for networks in fp16, whose small gradients would otherwise vanish."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.records.checkpoints import Tensors


class Scaler:
    """Scales losses, and skips the updates whose gradients overflow; torch's GradScaler.

    The scale halves after an overflow, and doubles after 2,000 updates without one.
    """

    def __init__(self, device: torch.device):
        self._scaler = torch.amp.GradScaler(device.type)

    def scale(self, loss: Tensor) -> Tensor:
        """Return the scaled loss."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients of all parameters by the scale of the loss."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the parameters unless a gradient is not finite, and adapt the scale."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> Tensors:
        """Return the scale, and the number of updates since it changed."""
        state = self._scaler.state_dict()
        return {
            "scale": torch.tensor(state["scale"], dtype=torch.float64),
            "growth_tracker": torch.tensor(state["_growth_tracker"]),
        }

    def load(self, tensors: Tensors) -> None:
        """Restore a state that `state` returned.

        Raises:
            KeyError: A part of the state is missing.
        """
        state = {
            "scale": tensors["scale"].item(),
            "_growth_tracker": int(tensors["growth_tracker"]),
        }
        self._scaler.load_state_dict({**self._scaler.state_dict(), **state})
