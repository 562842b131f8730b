"""The teacher that a cohort shares."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.data import Data, Loaded
from benchmark.models.pairing import in_float32
from benchmark.models.tapped import TappedModel
from benchmark.records.seal import Finished
from benchmark.training import evaluate
from benchmark.training.precision import LOWER, autocast, lowered
from methods import Needs, Output


class Teacher:
    """A frozen, trained network in eval mode.

    Attributes:
        model: The network.
        sha256: SHA-256 of the network's weights file; empty for an untrained network that stands in
            for a teacher.
    """

    def __init__(self, model: TappedModel, sha256: str):
        self.model = model.eval().requires_grad_(False)
        self.sha256 = sha256
        self._test_logits: Tensor | None = None
        self._lowered: dict[str, TappedModel] = {}

    @property
    def is_trained(self) -> bool:
        """Whether the network is a teacher, and not one that stands in for it."""
        return bool(self.sha256)

    def output(self, loaded: Loaded, precision: str = "fp32") -> Output:
        """Run the network on a batch, without gradients.

        Args:
            loaded: The batch.
            precision: The recipe's precision.

        Returns:
            All taps in float32, whatever the members need, so that the needs of one member never
            change the results of another; also the logits of the second view if the batch has one.
        """
        model = self._in(precision)
        with torch.no_grad(), autocast(precision, loaded.inputs.device):
            output = in_float32(model(loaded.inputs, model.taps()))
            if loaded.second is None:
                return output

            return replace(output, second=model(loaded.second, Needs()).logits.float())

    def test_logits(self, data: Data, evidence: Finished) -> Tensor:
        """Return the logits [N, classes] on the test data, computed once for all cells.

        Raises:
            SealedError: The cell that provides the evidence has not finished training.
        """
        images = data.test(evidence)
        if self._test_logits is None:
            self._test_logits = evaluate.predict(self.model, images)
        return self._test_logits

    def _in(self, precision: str) -> TappedModel:
        """Return the network with weights in a precision."""
        if precision not in LOWER:
            return self.model
        if precision not in self._lowered:
            self._lowered[precision] = lowered(self.model, precision)
        return self._lowered[precision]
