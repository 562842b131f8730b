"""Recurrent classifiers that read an image row by row, from top to bottom.

The protocol is row-wise sequential MNIST. Le, Jaitly and Hinton, "A Simple Way to Initialize
Recurrent Networks of Rectified Linear Units", arXiv:1504.00941, read the images pixel by pixel.
Here, step t reads row t: all columns of the first channel, then all columns of the second, and so
on. The embedding is the top layer's hidden state after the last row.

Pinned: PyTorch's LSTM and GRU with their own initialisation (uniform within
1 / sqrt(hidden_size), forget gate included), one direction, no dropout. There are no feature maps.

PyTorch's FLOP counter ignores recurrent kernels and would count only the classifier, so importing
this file registers FLOP formulas for the two kernels of a forward pass: oneDNN's on a CPU, and
cuDNN's on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from benchmark.models.zoo._register import register
from benchmark.models.zoo._stages import Classifier

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RowReader(Classifier):
    """A recurrent network over rows, and a linear layer over its last state.

    Args:
        cell: `lstm` or `gru`.
        hidden_size: Length of each layer's state.
        num_layers: Number of recurrent layers.
        img_size: Height and width of the images, or one number for both.
        num_classes: Number of classes.
        in_chans: Channels of the images.
    """

    def __init__(
        self,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        img_size: int | tuple[int, int] = 32,
        num_classes: int = 100,
        in_chans: int = 3,
    ):
        super().__init__()
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.size = (in_chans, height, width)
        self.num_features = hidden_size
        self.rnn = CELLS[cell](in_chans * width, hidden_size, num_layers, batch_first=True)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [N, C, H, W] into states of the top layer, [N, H, hidden_size].

        Raises:
            ValueError: The images do not have the size that the network was built for.
        """
        if tuple(x.shape[1:]) != self.size:
            actual = "x".join(map(str, x.shape[1:]))
            expected = "x".join(map(str, self.size))
            raise ValueError(
                f"images of {actual}: this net reads {expected}; set `img_size` and `in_chans`"
            )

        rows = x.transpose(1, 2).flatten(2)
        states: Tensor = self.rnn(rows)[0]
        return states

    def embed(self, features: Tensor) -> Tensor:
        """Return the state after the last row: [N, H, hidden_size] -> [N, hidden_size]."""
        return features[:, -1]


def _recurrent_flops(images: Sequence[int], *arguments: Any, **_: Any) -> int:
    """Count the FLOPs of a recurrent kernel, which applies each weight matrix once per image row.

    Args:
        images: Shape of the input, (N, H, W).
        arguments: The kernel's other arguments, with shapes in place of tensors.
    """
    # cuDNN's kernel takes all weights in one list; oneDNN's takes a layer's four as arguments.
    weights = arguments[0] if isinstance(arguments[0], list) else arguments[:4]
    count, rows = images[:2]
    flops = 0
    for shape in weights:
        if len(shape) == 2:
            outputs, inputs = shape
            flops += 2 * count * rows * outputs * inputs

    return flops


for _kernel in (torch.ops.aten.mkldnn_rnn_layer, torch.ops.aten._cudnn_rnn):
    if _kernel not in flop_registry:
        register_flop_formula(_kernel)(_recurrent_flops)

register(RowReader, {f"row_{cell}": {"cell": cell} for cell in CELLS}, fixed_input_size=True)
