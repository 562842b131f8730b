"""Logit standardisation, a wrapper. Sun et al., CVPR 2024, arXiv:2403.01427, eq. 9 and algorithm 1.

Each sample's logits, student's and teacher's, lose their mean and are divided by their standard deviation over the
classes, so that the student learns the order and the proportions of the teacher's logits and not their size. The
deviation is unbiased (C - 1), with 1e-7 added, as in the authors' code. Where logits are constant, the result is zero,
and its gradient finite, but millions of times the usual: a student whose classifier starts at zero is thrown far off.

`ls(dkd)` standardises for dkd, `ls` alone is `ls(kd)`. Defaults are the authors' (temperature 2 and weight 9 beside
0.1 CE for KD; for DKD temperature 2 and both of its weights times 9); a method they did not combine it with keeps its
own. Cross-entropy sees the logits as they are. Theirs with MLLD standardises one of its three parts alone, which is
mlld's own setting `standardised`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

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

    paper = Paper(
        "Logit Standardization in Knowledge Distillation",
        "Sun et al.",
        "CVPR",
        2024,
        "arXiv:2403.01427",
    )
    formula = "the wrapped loss of (z - mean z) / std z, for both networks"
    needs = Needs(logits=True)
    wraps = "kd"
    minimum = 0.0
    published: ClassVar[dict[str, dict[str, Any]]] = {
        "kd": {"temperature": 2.0, "weight": 9.0},
        "dkd": {"temperature": 2.0, "alpha": 9.0, "beta": 72.0},
    }

    def __init__(self, inner: Method):
        needs = inner.tapped()
        if not needs.logits or needs.embedding or needs.stages:
            raise SettingError("ls: wraps methods that compare logits alone; kd and dkd are such")
        if needs.views:
            raise SettingError(
                "ls: standardises all that a method sees of logits; mlld has a setting for it, standardised"
            )
        super().__init__(inner)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The wrapped method's terms."""
        seen = (
            replace(output, logits=standardised(output.logits)) for output in (student, teacher)
        )
        terms: Terms = self.inner(*seen, batch)
        return terms
