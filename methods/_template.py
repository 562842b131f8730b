"""Cosine margin. Author, Author & Author, VENUE YEAR, arXiv:0000.00000, eq. 1.

Reduction: mean over the batch. Say here how the loss is reduced, where its published weight comes
from, and where this file differs from the paper or from the authors' code. The first sentence is
the title in the list of methods.

To add a method, copy this file to `methods/<name>.py` and replace everything in it; no list needs
editing. `kdbench methods <name>` shows its card, and the conformance tests check it like every
other method. This method is fictitious.

Settings: published by the authors, for CIFAR-100.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from methods import (
    Batch,
    Bound,
    LogUniform,
    Method,
    Needs,
    NonNegative,
    Output,
    Paper,
    Probe,
    Terms,
    Uniform,
)
from methods._features import embeddings


# First the paper's formula: a pure function of tensors, which tests can compare with reference
# values. State the shapes, the reduction, and that no gradient reaches the teacher.
def margin_loss(student: Tensor, teacher: Tensor, margin: float = 0.9) -> Tensor:
    """Compute how far cosines are below a margin (eq. 1).

    Args:
        student: Projected embeddings [N, D].
        teacher: Embeddings [N, D]; no gradient reaches them.
        margin: Cosine at and above which the loss is zero.

    Returns:
        Scalar: max(0, margin - cosine), mean over the batch.
    """
    cosine = F.cosine_similarity(student, teacher.detach(), dim=1)
    return F.relu(margin - cosine).mean()


# Then a thin class with the settings and the adapters. A file defines exactly one method.
class CosineMargin(Method):
    """Turn the student's projected embedding towards the teacher's until the two are close.

    Args:
        weight: Weight of the term.
        margin: Cosine at and above which the loss is zero.
    """

    paper = Paper("Title of the Paper", "Author et al.", "VENUE", 2030, "arXiv:0000.00000")
    formula = "mean max(0, margin - cos(W f_student, f_teacher))"

    # The taps that the engine provides for both networks; all others are None. `_taps.py` lists
    # the available taps (`Needs`) and their shapes (`Output`).
    needs = Needs(embedding=True)

    # Declare only what applies (see `Method` in `_contract.py`): without adapters, for instance,
    # `minimum = 0.0` declares that every term is 0 where student and teacher agree. With a warm-up
    # of its own, `changes_by_epoch = True` declares that a weight depends on the epoch; if the loss
    # must read numbers back, `capturable = False` that a step waits for the device. The tests check
    # this.

    # The signature is the schema of the settings: type, valid range, search space, and published
    # default. Values are checked before the constructor runs. Every method has `ce`, the weight of
    # cross-entropy, which the engine adds.
    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(0.1, 10.0)] = 1.0,
        margin: Annotated[float, Bound(-1.0, 1.0), Uniform(0.5, 1.0)] = 0.9,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.margin = margin
        self.ce = ce

        self.projector: nn.Module = nn.Identity()

    # Override this only for a method with adapters. Modules built here are trained and saved with
    # the student. `supports` has checked that both networks have an embedding; override it to
    # require more.
    def build(self, probe: Probe) -> None:
        """Create the projector to the teacher's dimension."""
        self.projector = nn.Linear(probe.student.embedding[0], probe.teacher.embedding[0])

    # Name of each term -> (its weight, its raw value). The engine logs the terms and adds them up.
    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return one term, `cosine_margin`."""
        own, target = embeddings(student, teacher)
        loss = margin_loss(self.projector(own), target, self.margin)
        return {"cosine_margin": (self.weight, loss)}

    # Examples of methods that need more: a stage before the training, ft.py; another head at
    # inference, simkd.py; memory banks, crd.py; two views of an image, crld.py; a peer as
    # teacher, dml.py.
