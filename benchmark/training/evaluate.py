"""Measures the quality of a trained network: accuracy, F1, calibration and teacher agreement.

All quality measures are computed from logits and expressed in percent.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import Inputs
from benchmark.measures import BY_COLUMN
from benchmark.models.deployed import Evaluated
from methods import Needs

CALIBRATION_BINS = 15


def predict(model: Evaluated, inputs: Inputs) -> Tensor:
    """Return the logits [N, classes] of all inputs, in eval mode and float32."""
    mode = model.training
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part, Needs()).logits.float() for part in inputs.batches()])
    model.train(mode)
    return logits


def accuracy(logits: Tensor, labels: Tensor, top: int = 1) -> float:
    """Return the share of images whose label has one of the highest logits.

    Args:
        logits: Logits of the images, [N, classes].
        labels: Labels of the images, [N].
        top: How many of the highest logits count.
    """
    # A stable sort breaks ties between equal logits in the same way as argmax.
    order = logits.argsort(dim=1, descending=True, stable=True)
    hits = (order[:, :top] == labels[:, None]).any(dim=1)
    return 100 * float(hits.double().mean())


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Return the mean of the F1 scores of the classes that occur.

    A class occurs if an image belongs to it or is predicted to. All others are left out, as in
    scikit-learn.

    Args:
        logits: Logits of the images, [N, classes].
        labels: Labels of the images, [N].
    """
    classes = logits.shape[1]
    predicted = logits.argmax(dim=1)
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2)
    confusion = counts.view(classes, classes).double()

    hits = confusion.diag()
    present = confusion.sum(dim=1)
    named = confusion.sum(dim=0)
    occurring = present + named > 0
    scores = 2 * hits[occurring] / (present + named)[occurring]
    return 100 * float(scores.mean())


def calibration_error(logits: Tensor, labels: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error over equal-width confidence bins.

    Guo et al., ICML 2017, arXiv:1706.04599, eq. 3.

    Args:
        logits: Logits of the images, [N, classes].
        labels: Labels of the images, [N].
        bins: Number of bins.
    """
    confidence, predicted = F.softmax(logits.double(), dim=1).max(dim=1)
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=logits.device)
    gap.index_add_(0, index, (predicted == labels).double() - confidence)

    return 100 * float(gap.abs().sum() / len(labels))


def agreement(logits: Tensor, teacher: Tensor) -> float:
    """Return the share of images for which the student and the teacher predict the same class.

    Stanton et al., NeurIPS 2021, arXiv:2106.05945, eq. 5.

    Args:
        logits: The student's logits, [N, classes].
        teacher: The teacher's logits, [N, classes].
    """
    same = logits.argmax(dim=1) == teacher.argmax(dim=1)
    return 100 * float(same.double().mean())


def quality(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> dict[str, float]:
    """Return all quality measures, by their columns in `benchmark.measures`.

    Args:
        logits: Logits of the images, [N, classes].
        labels: Labels of the images, [N].
        teacher: The teacher's logits; None to omit the agreement.
    """
    scores = {
        "acc1": accuracy(logits, labels),
        "acc5": accuracy(logits, labels, top=5),
        "f1": macro_f1(logits, labels),
        "ece": calibration_error(logits, labels),
    }

    if teacher is not None:
        scores["agreement"] = agreement(logits, teacher)

    return scores


def test_metrics(model: Evaluated, inputs: Inputs, teacher: Tensor | None) -> dict[str, float]:
    """Return the quality on the test data, by metric key.

    Args:
        model: The network.
        inputs: The test data.
        teacher: The teacher's logits on the test data; None if there is no teacher.
    """
    return test_metrics_of(predict(model, inputs), inputs.labels, teacher)


def test_metrics_of(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> dict[str, float]:
    """Return the quality on the test data, by metric key.

    Args:
        logits: The network's logits on the test data, [N, classes].
        labels: Labels of the test data, [N].
        teacher: The teacher's logits on the test data; None if there is no teacher.
    """
    scores = quality(logits, labels, teacher)
    return {BY_COLUMN[column].key: score for column, score in scores.items()}


def validate(model: Evaluated, inputs: Inputs, epoch: int) -> dict[str, float]:
    """Return the top-1 accuracy and the mean cross-entropy, without label smoothing, by metric key.

    Args:
        model: The network.
        inputs: The validation data.
        epoch: Number of the epoch, counted from 1, for the message.

    Raises:
        FloatingPointError: The cross-entropy is not finite.
    """
    logits = predict(model, inputs)
    loss = float(F.cross_entropy(logits.double(), inputs.labels))
    if not math.isfinite(loss):
        raise FloatingPointError(f"non-finite validation loss after epoch {epoch}")

    return {"val/acc1": accuracy(logits, inputs.labels), "val/loss": loss}
