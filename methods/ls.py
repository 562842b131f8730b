"""Logit standardisation, a wrapper. Sun et al., CVPR 2024, arXiv:2403.01427, eq. 9 and algorithm 1.

Each sample's logits, student's and teacher's, lose their mean and are divided by their standard deviation over the
classes, so that the student learns the order and the proportions of the teacher's logits and not their size. The
deviation is unbiased (C - 1), with 1e-7 added, as in the authors' code. Where logits are constant, the result is zero.

`ls(dkd)` standardises for dkd, `ls` alone is `ls(kd)`. Defaults are the authors' (temperature 2 and weight 9 beside
0.1 CE for KD); a method they did not combine it with keeps its own. Cross-entropy sees the logits as they are.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from methods._composition import Wrapper
from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import SettingError


def standardised(logits: Tensor) -> Tensor:
    """Zero mean and unit deviation per sample.  [N, classes] -> [N, classes]."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (logits.std(dim=1, keepdim=True) + 1e-7)


class LogitStandardisation(Wrapper):
    """The wrapped method sees the logits of both networks without their mean and scale."""

    paper = Paper("Logit Standardization in Knowledge Distillation", "Sun et al.", "CVPR", 2024, "arXiv:2403.01427")
    formula = "the wrapped loss of (z - mean z) / std z, for both networks"
    needs = Needs(logits=True)
    wraps = "kd"
    minimum = 0.0
    published = {
        "kd": {"temperature": 2.0, "weight": 9.0},
        "dkd": {"temperature": 2.0, "alpha": 9.0, "beta": 9.0},
        "mlld": {"temperature": 2.0, "weight": 9.0},
    }

    def __init__(self, inner: Method):
        needs = inner.tapped()
        if not needs.logits or needs.embedding or needs.stages:
            raise SettingError("ls: wraps methods that compare logits alone; kd and dkd are such")
        super().__init__(inner)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The wrapped method's terms."""
        return self.inner(_seen(student), _seen(teacher), batch)  # type: ignore[no-any-return]


def _seen(output: Output) -> Output:
    second = None if output.second is None else standardised(output.second)
    return replace(output, logits=standardised(output.logits), second=second)
