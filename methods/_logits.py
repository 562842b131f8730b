"""Building blocks of losses on logits. All remain finite where probabilities underflow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._contract import Batch


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute KL(softmax(teacher / T) || softmax(student / T)) of each sample, without T^2.

    Args:
        student: Logits [N, classes].
        teacher: Logits [N, classes].
        temperature: Softmax temperature T.

    Returns:
        Divergences [N].
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)


def of_target(values: Tensor, labels: Tensor) -> Tensor:
    """Pick each sample's value at its label: [N, classes], [N] -> [N]."""
    return values.gather(1, labels[:, None]).squeeze(1)


def without_target(logits: Tensor, labels: Tensor) -> Tensor:
    """Drop each sample's logit at its label: [N, classes], [N] -> [N, classes - 1]."""
    count, classes = logits.shape
    others = torch.arange(classes - 1, device=logits.device).expand(count, -1)
    return logits.gather(1, others + (others >= labels[:, None]))


def target_and_rest(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute log-probabilities of the label and of all other classes together.

    Args:
        logits: Logits [N, classes].
        labels: Class labels [N].

    Returns:
        Log-probabilities [N, 2].
    """
    rest = torch.logsumexp(without_target(logits, labels), dim=1)
    return F.log_softmax(torch.stack([of_target(logits, labels), rest], dim=1), dim=1)


def warmed_up(batch: Batch, share: float) -> float:
    """Return a term's warm-up factor, which grows linearly over a share of the training.

    The factor is 1/n in the first of n warm-up epochs, and 1 from the last of them on.
    """
    return min((batch.epoch + 1) / max(share * batch.epochs, 1e-9), 1.0)
