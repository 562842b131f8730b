"""Logit standardisation, a wrapper. Sun et al., CVPR 2024, arXiv:2403.01427, eq. 9 and algorithm 1.

Each sample's logits, the student's and the teacher's, are centred and divided by their standard
deviation over the classes, so that the student learns the order and the proportions of the
teacher's logits but not their size. The deviation is unbiased (C - 1), with 1e-7 added, as in the
authors' code. Where logits are constant, the result is zero and its gradient is finite, but
millions of times larger than usual, which derails a student whose classifier starts at zero.

`ls(dkd)` standardises logits for dkd; `ls` alone is `ls(kd)`. Cross-entropy uses the raw logits.
The authors' combination with MLLD standardises only one of MLLD's three parts; mlld's own setting
`standardised` does this.

Settings: published by the authors, for KD, DKD and CTKD on CIFAR-100. KD has temperature 2 and
weight 9 with 0.1 CE; for DKD temperature 2 and both of its weights times 9; for CTKD weight 9 with
0.1 CE, and 2 as the lowest temperature, to which their logs return. The highest one is not stated
(their first epochs end at 23), so CTKD's own span is kept. Other methods keep their own settings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from methods import Batch, Method, Needs, Output, Paper, SettingError, Terms
from methods._composition import Wrapper


def standardised(logits: Tensor) -> Tensor:
    """Standardise logits [N, classes] to zero mean and unit deviation per sample (eq. 9)."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (logits.std(dim=1, keepdim=True) + 1e-7)


class LogitStandardisation(Wrapper):
    """Pass the wrapped method the logits of both networks without their mean and scale.

    Args:
        inner: A method that compares logits alone.

    Raises:
        SettingError: If the method needs anything else.
    """

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
    published: ClassVar[dict[str, dict[str, Any]]] = {
        "kd": {"temperature": 2.0, "weight": 9.0},
        "dkd": {"temperature": 2.0, "alpha": 9.0, "beta": 72.0},
        "ctkd": {"start": 2.0, "weight": 9.0, "ce": 0.1},
    }

    def __init__(self, inner: Method):
        needs = inner.tapped()
        if not needs.logits or needs.embedding or needs.stages:
            raise SettingError(
                "ls: only methods that compare nothing but logits, like kd, can be wrapped"
            )
        if needs.views:
            raise SettingError(
                "ls: methods with two views cannot be wrapped; for mlld, set standardised: true"
            )
        super().__init__(inner)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return the wrapped method's terms."""
        terms: Terms = self.inner(_standardised(student), _standardised(teacher), batch)
        return terms

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return the wrapped method's terms of the stage before the training."""
        return self.inner.pre_train(_standardised(student), _standardised(teacher), batch)


def _standardised(output: Output) -> Output:
    return replace(output, logits=standardised(output.logits))
