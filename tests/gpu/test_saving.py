"""What a member saves leaves a pretended GPU in one copy, with the bits of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.records.checkpoints import CellFolder
from benchmark.records.tensor_files import TYPES, pack
from tests.gpu.members import batch, member, step
from tests.support.pretended import CUDA, pretended_gpu
from tests.support.pretended.rules import is_pinned_memory

pytestmark = pytest.mark.trains


@pytest.mark.parametrize("name", ["student", "crd", "dml"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_member_waits_once_for_its_checkpoint_and_once_for_its_weights(
    name: str, optimizer: str, tmp_path: Path
) -> None:
    recipe: dict[str, Any] = {"optimizer": {"name": optimizer, "lr": 0.01}, "ema": 0.9}
    with pretended_gpu() as gpu:
        own = member(name, CUDA, tmp_path, **recipe)
        step(own, batch(CUDA), 0)
        with gpu.recording() as inside:
            own.state.checkpoint(own.state.partial).snapshot()
        with gpu.recording() as after:
            own.state.checkpoint().snapshot()
        with gpu.recording() as weights:
            CellFolder(tmp_path).save_weights(own.parts.weights())

    for record in (inside, after, weights):
        assert [sync.operation for sync in record.syncs] == ["copy to the host"]


def test_the_content_of_a_file_is_the_same_wherever_the_tensors_are() -> None:
    numbers = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5) % 2
    tensors = {
        f"{name}/{n}": numbers.to(dtype)[:, :n] for dtype, name in TYPES.items() for n in (1, 3)
    }
    tensors["images"] = numbers.float().to(memory_format=torch.channels_last)
    tensors |= {"empty": torch.empty(0, 3), "steps": torch.tensor(7.0)}
    expected = bytes(pack(tensors))

    with pretended_gpu() as gpu:
        everything = {name: value.to(CUDA) for name, value in tensors.items()}
        with gpu.recording() as record:
            contents = [pack(everything), pack({**everything, "steps": tensors["steps"]})]
        assert [bytes(content) for content in contents] == [expected, expected]
        assert len(record.syncs) == 2
        for content in contents:
            assert is_pinned_memory(torch.frombuffer(content, dtype=torch.uint8))
