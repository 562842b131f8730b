"""Teacher and student side by side: paired stages, and outputs in the same precision."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from benchmark.models.tapped import TappedModel
from methods import Needs, Output, Probe, Shapes, starts_at_zero


def probe(
    student: TappedModel,
    teacher: TappedModel | None,
    needs: Needs,
    samples: int,
    batch_size: int,
    labels: Tensor | None = None,
) -> Probe:
    """Describe a pair to a method before training; stages are paired starting from the deepest.

    For a method whose companion has the student's architecture, the student stands in for the
    teacher.

    Args:
        student: The student.
        teacher: The teacher, if there is one.
        needs: The taps that the method needs.
        samples: Number of training inputs.
        batch_size: Inputs per batch.
        labels: Labels of the training inputs, int64 [samples].
    """
    other = student if needs.companion in ("peer", "earlier") else teacher
    other_shapes = Shapes(()) if other is None else other.shapes
    depth = paired_depth(student.shapes, other_shapes)

    notes = {f"student.{tap}": reason for tap, reason in student.notes.items()}
    if other is not None:
        notes |= {f"teacher.{tap}": reason for tap, reason in other.notes.items()}

    return Probe(
        student=_deepest(student.shapes, depth),
        teacher=_deepest(other_shapes, depth),
        samples=samples,
        batch_size=batch_size,
        notes=notes,
        labels=labels,
        classifier=None if other is None else other.classifier(),
        zero_classifier=starts_at_zero(student.classifier()),
    )


def paired_depth(student: Shapes, teacher: Shapes) -> int:
    """Return the number of stages that are paired, counted from the deepest."""
    depths = (len(student.maps), len(teacher.maps))
    return min(depths) or max(depths)  # if one side has no maps, the other keeps all


def _deepest(shapes: Shapes, depth: int) -> Shapes:
    """Keep the shapes of the deepest maps only."""
    return replace(shapes, maps=shapes.maps[-depth:] if depth else ())


def in_float32(output: Output) -> Output:
    """Convert an output to float32, the precision of the losses."""
    return replace(
        output,
        logits=output.logits.float(),
        embedding=None if output.embedding is None else output.embedding.float(),
        maps=tuple(stage_map.float() for stage_map in output.maps),
        preactivations=tuple(stage_map.float() for stage_map in output.preactivations),
        pooled=None if output.pooled is None else output.pooled.float(),
    )


def only(output: Output, needs: Needs, depth: int) -> Output:
    """Keep the parts of an output that a method needs; of its maps, keep only the paired ones.

    Args:
        output: Output of the teacher or the companion for a batch.
        needs: The taps that the method needs.
        depth: Number of paired stages.
    """
    first = len(output.maps) - depth
    first_early = len(output.preactivations) - depth
    return Output(
        logits=output.logits if needs.logits else output.logits.new_empty(0),
        embedding=output.embedding if needs.embedding else None,
        maps=output.maps[first:] if needs.maps else (),
        preactivations=output.preactivations[first_early:] if needs.preactivations else (),
        pooled=output.pooled if needs.pooled else None,
        classifier=output.classifier if needs.classifier else None,
        second=output.second if needs.views else None,
    )
