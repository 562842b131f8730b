"""Distillation from an untrained teacher, a control.

KD as published, from a network of the teacher's architecture with the weights it was initialised with: what the loss
does to a student when nothing is known. Reduction as in kd: KL summed over classes, mean over the batch, times T^2.
Its batch normalisation takes the statistics of each batch, since it has none of its own.
"""

from __future__ import annotations

from methods._contract import Needs
from methods.kd import KnowledgeDistillation


class RandomTeacher(KnowledgeDistillation):
    """The student's softened predictions follow those of a network that has learnt nothing."""

    formula = "T^2 * KL(softmax(untrained/T) || softmax(student/T))"
    needs = Needs(logits=True, companion="untrained")
    control = True
