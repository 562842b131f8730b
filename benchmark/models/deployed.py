"""A student as deployed: the bare network, or the network with a head from its method."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.models.inference import count_macs
from benchmark.models.tapped import TappedModel
from methods import Needs, Output


class DeployedModel(nn.Module):
    """A student whose logits come from a head that its method supplies.

    Args:
        student: The student.
        head: Takes the student's `Output` and returns logits, [N, classes].
        needs: What the head needs from the student.
    """

    def __init__(self, student: TappedModel, head: nn.Module, needs: Needs):
        super().__init__()
        self.student = student
        self.head = head
        self.needs = needs
        self.size: tuple[int, ...] = student.size

    def forward(self, inputs: Tensor, needs: Needs) -> Output:
        """Return the logits only, regardless of `needs`.

        Args:
            inputs: A batch of images, float32 [N, C, H, W] in [0, 1].
            needs: Ignored; accepted for compatibility with `TappedModel`.
        """
        return Output(self.head(self.student(inputs, self.needs)))

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.student.device

    def example(self, count: int) -> Tensor:
        """Return a batch of example inputs on the model's device."""
        return self.student.example(count)

    def parameter_count(self) -> int:
        """Return the number of the student's parameters plus that of all values in the head.

        The head's values count regardless of whether they were learned or copied from the teacher.
        """
        head = sum(int(value.numel()) for value in self.head.state_dict().values())
        return self.student.parameter_count() + head

    def macs(self) -> int:
        """Return the multiply-accumulates of a forward pass of one input."""
        return count_macs(self, self.example(1), Needs())


Evaluated = TappedModel | DeployedModel
"""A model whose quality and costs can be measured."""
