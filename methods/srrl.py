"""Softmax regression representation learning. Yang et al., ICLR 2021, openreview ZzwDy_wiWv.

Reduction (section 3): both terms are mean squared errors: of the embedding, over batch and
dimensions, and of the logits, over batch and classes. The teacher's classifier, which is frozen, is
applied to the student's connected features. As in the authors' code, the connector (1x1 convolution
without bias, BatchNorm, ReLU) is applied to the map before pooling, with weight 1 for both terms.
Another implementation connects the pooled vector, which is done here if a network has no such map,
and others use weight 5 for the second term.

Settings: published by the authors, for ImageNet.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    Classifier,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Probe,
    Terms,
)
from methods._features import embeddings, final_map


def feature_loss(connected: Tensor, teacher: Tensor) -> Tensor:
    """Compare pooled features.

    Args:
        connected: The student's features after the connector, [N, D, H, W] or [N, D].
        teacher: The teacher's map or embedding, [N, D, H, W] or [N, D]; no gradient reaches it.

    Returns:
        Scalar: mean squared error.
    """
    return F.mse_loss(_averaged(connected), _averaged(teacher.detach()))


def regression_loss(connected: Tensor, classifier: Classifier, logits: Tensor) -> Tensor:
    """Compare the teacher's logits with those of its classifier for the student's features.

    Args:
        connected: The student's features after the connector, [N, D, H, W] or [N, D].
        classifier: The teacher's classifier; no gradient reaches it.
        logits: The teacher's logits, [N, classes]; no gradient reaches them.

    Returns:
        Scalar: mean squared error.
    """
    bias = None if classifier.bias is None else classifier.bias.detach()
    frozen = Classifier(classifier.weight.detach(), bias)
    return F.mse_loss(frozen(_averaged(connected)), logits.detach())


class SoftmaxRegression(Method):
    """Match the student's features to the teacher's, also through the teacher's classifier.

    Args:
        feature: Weight of the comparison of features.
        regression: Weight of the comparison of logits.
    """

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
        self.feature = feature
        self.regression = regression
        self.ce = ce

        self.connector: nn.Module = nn.Identity()

    def build(self, probe: Probe) -> None:
        """Make the connector to the teacher's dimension."""
        source, target = probe.student.embedding[0], probe.teacher.embedding[0]
        self.connector = nn.Sequential(
            nn.Conv2d(source, target, 1, bias=False), nn.BatchNorm2d(target), nn.ReLU()
        )

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return two terms, `feature` and `regression`."""
        assert teacher.classifier is not None
        _, target = embeddings(student, teacher)
        connected = self.connector(final_map(student))

        regression = regression_loss(connected, teacher.classifier, teacher.logits)
        return {
            "feature": (self.feature, feature_loss(connected, target)),
            "regression": (self.regression, regression),
        }


def _averaged(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3)) if features.dim() == 4 else features
