"""What methods that compare embeddings and final maps have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from methods._contract import Output


def unit_rows(rows: Tensor) -> Tensor:
    """Each row scaled to length 1; a row of zeros stays one, and its gradient is finite.  [N, D] -> [N, D]."""
    squares = rows.pow(2).sum(dim=1, keepdim=True)
    return rows / torch.where(squares > 0, squares, torch.ones_like(squares)).sqrt()


def embeddings(student: Output, teacher: Output) -> tuple[Tensor, Tensor]:
    """Both networks' embeddings, the teacher's without a gradient."""
    assert student.embedding is not None
    assert teacher.embedding is not None
    return student.embedding, teacher.embedding.detach()


def final_map(output: Output) -> Tensor:
    """The map whose average is the embedding; where there is none, the embedding as a map of one position."""
    if output.pooled is not None:
        return output.pooled
    assert output.embedding is not None
    return output.embedding[:, :, None, None]
