"""The teacher of a cohort: frozen, in eval mode."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.data import Data, Loaded
from benchmark.models.pairing import in_float32
from benchmark.models.tapped import TappedModel
from benchmark.records.seal import Finished
from benchmark.training import evaluate
from methods import Needs, Output


class Teacher:
    """A trained network that only looks: in eval mode, without gradients.  sha256: of its weights."""

    def __init__(self, model: TappedModel, sha256: str):
        self.model = model.eval().requires_grad_(False)
        self.sha256 = sha256
        self.macs = model.macs()
        self._test_logits: Tensor | None = None

    def look(self, loaded: Loaded) -> Output:
        """Everything that can be tapped, so that what is asked for changes no bit; both views where there are two."""
        with torch.no_grad():
            output = in_float32(self.model(loaded.inputs, self.model.taps()))
            if loaded.second is None:
                return output
            return replace(output, second=self.model(loaded.second, Needs()).logits.float())

    def test_logits(self, data: Data, evidence: Finished) -> Tensor:
        """Its logits on the test images, computed once, for a cell whose training is over."""
        images = data.test(evidence)
        if self._test_logits is None:
            self._test_logits = evaluate.predict(self.model, images)
        return self._test_logits
