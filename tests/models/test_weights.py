"""Weights from elsewhere: every common layout is read, none runs code, misfits are refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from benchmark.errors import InputError
from benchmark.models import weights


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


STATE = network().state_dict()


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "opt": {"lr": 0.1}},
        {"net": STATE, "acc": 71.5},
        {"model": {"state_dict": STATE}},
        {f"module.{name}": value for name, value in STATE.items()},
        {"state_dict": {f"module.{name}": value for name, value in STATE.items()}},
        {f"_orig_mod.{name}": value for name, value in STATE.items()},
    ],
)
def test_a_state_dict_is_found_in_every_common_layout_of_a_torch_file(
    content: Any, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "file.pth")
    tensors = weights.read(tmp_path / "file.pth")
    assert list(tensors) == list(STATE)
    assert all(torch.equal(tensors[name], value) for name, value in STATE.items())


def test_a_safetensors_file_is_read_unchanged(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "file.safetensors")
    tensors = weights.read(tmp_path / "file.safetensors")
    assert tensors.keys() == STATE.keys()
    assert all(torch.equal(tensors[name], value) for name, value in STATE.items())


class Trap:
    """Runs code when it is unpickled: creates the file `proof`."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self) -> Any:
        return (Path.touch, (self.proof,))


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    torch.save({"model": Trap(tmp_path / "ran")}, tmp_path / "file.pth")
    message = r"contains more than tensors.*save only the network's state_dict\(\)"
    with pytest.raises(InputError, match=message) as error:
        weights.read(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["file.safetensors", "file.pth"])
@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps(3), bytes(range(256)) * 9])
def test_a_damaged_file_is_refused_in_one_line_with_its_name(
    content: bytes, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        weights.read(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content", [{}, {"epoch": 3}, [1, 2], {"model": {"layers": 3}}, torch.zeros(3)]
)
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(InputError, match=r"file\.pth: contains no state dict, at the top level"):
        weights.read(tmp_path / "file.pth")


def test_a_missing_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth: no such file$"):
        weights.read(tmp_path / "none.pth")


def test_weights_without_step_counters_are_loaded() -> None:
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    tensors = {name: value for name, value in STATE.items() if "num_batches" not in name}
    weights.load_into(fresh, tensors, "net", "file")
    assert all(torch.equal(value, STATE[name]) for name, value in fresh.state_dict().items())


def test_weights_that_do_not_fit_are_refused_with_every_kind_of_difference() -> None:
    wrong = {**STATE, "fc.weight": torch.zeros(2), "1.bias": torch.zeros(9)}
    del wrong["0.bias"]
    with pytest.raises(InputError) as error:
        weights.load_into(network(), wrong, "net", "file")
    assert str(error.value) == (
        "file: these are not weights of net: missing: 0.bias; not in the model: fc.weight; "
        "of another shape: 1.bias is [9] instead of [4]"
    )


def test_a_long_list_of_differences_is_cut() -> None:
    with pytest.raises(InputError, match=r"missing: 0\.weight, 0\.bias, 1\.weight and 3 more"):
        weights.load_into(network(), {"other": torch.zeros(1)}, "net", "file")
