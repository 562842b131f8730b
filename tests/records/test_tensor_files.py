"""The content of a tensor file is what the library makes of the same values, byte for byte."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import Tensor

from benchmark.records.tensor_files import TYPES, pack

IMAGES = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)

CASES: dict[str, dict[str, Tensor]] = {
    "no tensors": {},
    "one number": {"n": torch.tensor(7)},
    "no numbers": {"b": torch.empty(0, 2), "a": torch.ones(3), "c": torch.empty(2, 0).half()},
    "odd names": {'a"\\\n\x01': torch.ones(1), "Gewicht/ß": torch.ones(2), "😀": torch.ones(3)},
    "not in order": {"view": IMAGES.to(memory_format=torch.channels_last), "turned": IMAGES[0].mT},
    "same memory": {"a": IMAGES, "b": IMAGES, "part": IMAGES[1, :, 1:3]},
    "trained": {"w": torch.ones(2, requires_grad=True)},
    "not finite": {"w": torch.tensor([float("nan"), -0.0, float("-inf")])},
    "a long header": {f"layer.{n}.weight": torch.full((n,), float(n)) for n in range(60)},
    "all types": {
        f"{n}{name}": (torch.arange(n) % 2).to(dtype)
        for n in (1, 3)
        for dtype, name in reversed(TYPES.items())
    },
}


def expected(tensors: dict[str, Tensor]) -> bytes:
    """What the library makes of copies in order."""
    plain = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    return safetensors.torch.save(plain)


@pytest.mark.parametrize("case", CASES)
def test_the_content_is_that_of_the_library(case: str) -> None:
    assert bytes(pack(CASES[case])) == expected(CASES[case])


def test_later_changes_of_a_tensor_change_no_content() -> None:
    weights = torch.zeros(5)
    content = pack({"w": weights})
    weights += 1
    assert safetensors.torch.load(bytes(content))["w"].tolist() == [0] * 5


def test_a_type_that_the_format_lacks_is_named_with_the_tensor() -> None:
    with pytest.raises(TypeError, match=r"^method/bank: tensors of type torch\.complex128 cannot"):
        pack({"method/bank": torch.zeros(2, dtype=torch.complex128)})
