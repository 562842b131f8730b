"""What a trained network is measured by: accuracy, F1, calibration, fidelity to its teacher, latency.

All shares are in percent. Latency and memory depend on the machine; everything else is a function of the logits.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import Inputs
from benchmark.models.deployed import Evaluated
from methods import Needs

CALIBRATION_BINS = 15

BATCH = 64
"""Images in a forward pass whose latency is told beside that of a single image."""

WARM_UPS, LEAST, MOST = 5, 5, 30
WARM_UP_SECONDS, SECONDS = 0.5, 2.0


def predict(model: Evaluated, images: Inputs) -> Tensor:
    """Logits of all images in eval mode and float32: [N, classes]."""
    mode = model.training
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part, Needs()).logits.float() for part in images.batches()])
    model.train(mode)
    return logits


def accuracy(logits: Tensor, labels: Tensor, top: int = 1) -> float:
    """Share of images whose label is among the `top` highest logits, in percent.  [N, classes], [N]."""
    # Stable, so that equal logits are taken in the order in which argmax takes them.
    best = logits.argsort(dim=1, descending=True, stable=True)[:, :top]
    return 100 * float((best == labels[:, None]).any(dim=1).double().mean())


def macro_f1(logits: Tensor, labels: Tensor) -> float:
    """Mean over classes of F1, in percent; a class that is neither present nor predicted counts as 0."""
    classes = logits.shape[1]
    predicted = logits.argmax(dim=1)
    confusion = (
        torch.bincount(labels * classes + predicted, minlength=classes**2)
        .view(classes, classes)
        .double()
    )
    hits, present, named = confusion.diag(), confusion.sum(dim=1), confusion.sum(dim=0)
    return 100 * float((2 * hits / (present + named).clamp_min(1)).mean())


def calibration_error(logits: Tensor, labels: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error over equal-width bins of confidence, in percent.

    Guo et al., ICML 2017, arXiv:1706.04599, eq. 3.  [N, classes], [N].
    """
    confidence, predicted = F.softmax(logits.double(), dim=1).max(dim=1)
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64, device=logits.device)
    gap.index_add_(0, place, (predicted == labels).double() - confidence)
    return 100 * float(gap.abs().sum() / len(labels))


def agreement(logits: Tensor, teacher: Tensor) -> float:
    """Share of images where student and teacher name the same class, in percent.  [N, classes] each.

    Stanton et al., NeurIPS 2021, arXiv:2106.05945, eq. 5.
    """
    return 100 * float((logits.argmax(dim=1) == teacher.argmax(dim=1)).double().mean())


def quality(logits: Tensor, labels: Tensor, teacher: Tensor | None) -> dict[str, float]:
    """All measures of a network's logits; agreement only where there is a teacher."""
    found = {
        "acc1": accuracy(logits, labels),
        "acc5": accuracy(logits, labels, top=5),
        "f1": macro_f1(logits, labels),
        "ece": calibration_error(logits, labels),
    }
    if teacher is not None:
        found["agreement"] = agreement(logits, teacher)
    return found


def validate(model: Evaluated, images: Inputs) -> dict[str, float]:
    """Top-1 accuracy in percent and mean cross-entropy."""
    logits = predict(model, images)
    return {
        "acc1": accuracy(logits, images.labels),
        "loss": float(F.cross_entropy(logits.double(), images.labels)),
    }


def latency(model: Evaluated, batch_size: int) -> float:
    """Median time of a forward pass in eval mode and float32, in milliseconds, on the model's device.

    After a warm-up, of `MOST` passes, or of as many as fit `SECONDS` but no less than `LEAST`.
    """
    images = model.example(batch_size)
    mode = model.training
    model.eval()
    with torch.no_grad():
        _times(model, images, 1, WARM_UPS, WARM_UP_SECONDS)
        times = _times(model, images, LEAST, MOST, SECONDS)
    model.train(mode)
    return 1000 * statistics.median(times)


def _times(model: Evaluated, images: Tensor, least: int, most: int, seconds: float) -> list[float]:
    times: list[float] = []
    while len(times) < least or (len(times) < most and sum(times) < seconds):
        started = time.perf_counter()
        model(images, Needs())
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        times.append(time.perf_counter() - started)
    return times


def costs(model: Evaluated) -> dict[str, float]:
    """What a network costs wherever it came from: its size, its operations, its latency, the memory until now."""
    return {
        "cost/peak_memory_mb": peak_memory(model.device),
        "cost/params": float(model.parameter_count()),
        "cost/macs": float(model.macs()),
        "cost/latency_ms": latency(model, 1),
        f"cost/latency_batch{BATCH}_ms": latency(model, BATCH),
    }


def peak_memory(device: torch.device) -> float:
    """Most memory that this process has held so far, in MiB: on the GPU if there is one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )
