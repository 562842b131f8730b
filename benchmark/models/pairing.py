"""Teacher and student side by side: paired stages, and the same precision for losses."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from benchmark.models.tapped import TappedModel
from methods import Needs, Output, Probe, Shapes


def probe(
    student: TappedModel,
    teacher: TappedModel | None,
    needs: Needs,
    samples: int,
    batch_size: int,
    labels: Tensor | None = None,
) -> Probe:
    """What a method may know of a pair before training; stage maps are paired from the deepest on.

    A companion of the student's architecture stands in for the teacher where the method needs one.
    """
    other = student if needs.companion in ("peer", "earlier") else teacher
    beside = Shapes(()) if other is None else other.shapes
    counts = len(student.shapes.maps), len(beside.maps)
    depth = min(counts) or max(counts)  # where one side has none, the other keeps what it has
    notes = {f"student.{what}": why for what, why in student.notes.items()}
    if other is not None:
        notes |= {f"teacher.{what}": why for what, why in other.notes.items()}
    classifier = None if other is None else other.classifier()
    shapes = _deepest(student.shapes, depth), _deepest(beside, depth)
    return Probe(*shapes, samples, batch_size, notes, labels, classifier)


def _deepest(shapes: Shapes, depth: int) -> Shapes:
    return replace(shapes, maps=shapes.maps[-depth:] if depth else ())


def in_float32(output: Output) -> Output:
    """The same numbers for losses, whatever the precision of the network."""
    return replace(
        output,
        logits=output.logits.float(),
        embedding=None if output.embedding is None else output.embedding.float(),
        maps=tuple(one.float() for one in output.maps),
        preactivations=tuple(one.float() for one in output.preactivations),
        pooled=None if output.pooled is None else output.pooled.float(),
    )


def only(output: Output, needs: Needs, depth: int) -> Output:
    """The part of another network's output that a method has asked for, its maps paired with the student's."""
    return Output(
        output.logits if needs.logits else output.logits.new_empty(0),
        output.embedding if needs.embedding else None,
        output.maps[len(output.maps) - depth :] if needs.maps else (),
        output.preactivations[len(output.preactivations) - depth :] if needs.preactivations else (),
        output.pooled if needs.pooled else None,
        output.classifier if needs.classifier else None,
        output.second if needs.views else None,
    )
