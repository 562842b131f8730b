"""Softmax regression representation learning. Yang et al., ICLR 2021, openreview.net/forum?id=ZzwDy_wiWv, section 3.

Reduction: both terms are mean squared errors, of the embedding over batch and dimensions, and of the logits over batch
and classes. The teacher's classifier, which is frozen, reads the connected student. As in the authors' code the
connector (1x1 convolution without bias, BatchNorm, ReLU) works on the map before pooling, with the weight 1 for both
terms; another implementation connects the pooled vector, which is done here where a network has no such map, and others
give the second term the weight 5.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods._contract import Batch, Classifier, Method, Needs, Output, Paper, Probe, Terms
from methods._features import embeddings, final_map
from methods._settings import LogUniform, NonNegative


def feature_loss(connected: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of pooled features.

    connected: the student's map after the connector, teacher: its map or embedding, [N, D, H, W] or [N, D] -> scalar.
    No gradient reaches the teacher.
    """
    return F.mse_loss(_averaged(connected), _averaged(teacher.detach()))


def regression_loss(connected: Tensor, classifier: Classifier, logits: Tensor) -> Tensor:
    """Mean squared error between the teacher's logits and those that its classifier gives to the student.

    connected: [N, D, H, W] or [N, D], classifier: the teacher's, logits: the teacher's [N, classes] -> scalar.
    No gradient reaches the teacher.
    """
    bias = None if classifier.bias is None else classifier.bias.detach()
    frozen = Classifier(classifier.weight.detach(), bias)
    return F.mse_loss(frozen(_averaged(connected)), logits.detach())


class SoftmaxRegression(Method):
    """The student's features have the teacher's values, and the teacher's classifier reads them as its own."""

    paper = Paper(
        "Knowledge Distillation via Softmax Regression Representation Learning",
        "Yang et al.",
        "ICLR",
        2021,
        "openreview.net/forum?id=ZzwDy_wiWv",
    )
    formula = (
        "mean (conn(f_s) - f_t)^2 and mean (W_t conn(f_s) - z_t)^2, W_t the teacher's classifier"
    )
    needs = Needs(logits=True, embedding=True, pooled=True, classifier=True)

    def __init__(
        self,
        feature: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        regression: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.feature, self.regression, self.ce = feature, regression, ce
        self.connector: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Makes the connector to the teacher's dimension."""
        source, target = probe.student.embedding[0], probe.teacher.embedding[0]
        self.connector = nn.Sequential(
            nn.Conv2d(source, target, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU()
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Two terms, `feature` and `regression`."""
        assert teacher.classifier is not None
        _, target = embeddings(student, teacher)
        connected = self.connector(final_map(student))
        return {
            "feature": (self.feature, feature_loss(connected, target)),
            "regression": (
                self.regression,
                regression_loss(connected, teacher.classifier, teacher.logits),
            ),
        }


def _averaged(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3)) if features.dim() == 4 else features
