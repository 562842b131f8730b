"""Distillation from an untrained teacher, a control.

KD as published, but from an untrained network of the teacher's architecture: this control shows
what the loss does to a student when the teacher has learned nothing. Reduction as in kd: KL summed
over classes, mean over the batch, times T^2. The teacher's BatchNorm uses the statistics of each
batch, since it has none of its own.

Settings: those of kd, public code of others (RepDistiller).
"""

from __future__ import annotations

from methods import Needs
from methods.kd import KnowledgeDistillation


class RandomTeacher(KnowledgeDistillation):
    """Let the student's softened predictions follow those of an untrained network.

    Args:
        temperature: Softmax temperature T.
        weight: Weight of the term.
    """

    formula = "T^2 * KL(softmax(untrained/T) || softmax(student/T))"
    needs = Needs(logits=True, companion="untrained")
    control = True
