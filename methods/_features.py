"""Building blocks of losses on embeddings and final maps."""

from __future__ import annotations

import torch
from torch import Tensor

from methods._taps import Output


def unit_rows(rows: Tensor) -> Tensor:
    """Scale rows [N, D] to length 1. Rows of zeros stay zero, with a finite gradient."""
    squares = rows.pow(2).sum(dim=1, keepdim=True)
    return rows / torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt()


def embeddings(student: Output, teacher: Output) -> tuple[Tensor, Tensor]:
    """Return both networks' embeddings, the teacher's without a gradient."""
    assert student.embedding is not None
    assert teacher.embedding is not None
    return student.embedding, teacher.embedding.detach()


def final_map(output: Output) -> Tensor:
    """Return the map [N, D, H, W] whose average is the embedding.

    If a network has no such map, the embedding is used as a map with one position.
    """
    if output.pooled is not None:
        return output.pooled
    assert output.embedding is not None
    return output.embedding[:, :, None, None]
