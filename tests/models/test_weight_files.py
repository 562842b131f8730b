"""Files are opened by their content, or refused in one line that names what they are."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import pickle
import random
import resource
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models import weights
from tests.models.test_weights import STATE, network

State = dict[str, Tensor]


def renamed(prefix: str, state: State = STATE) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def shifted(state: State = STATE) -> State:
    """Other weights of the same network."""
    return {name: value + 1 for name, value in state.items()}


def same(tensors: State, state: State = STATE) -> bool:
    return list(tensors) == list(state) and all(
        torch.equal(tensors[name], value) for name, value in state.items()
    )


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        weights.read(path, **options)
    message = str(error.value)
    assert message.isprintable(), repr(message)
    assert "two options" not in message
    assert "weights_only" not in message
    return message.removeprefix(f"{path}: ")


def test_codes_for_bold_letters_are_left_out_of_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "net.pth", STATE)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("\x1b[1mInvalid magic number\x1b[0m; corrupt file?\nmore")

    monkeypatch.setattr(torch, "load", fail)
    reason = "Invalid magic number; corrupt file?"
    assert refusal(path) == f"cannot be read as weights ({reason}); check or replace the file"


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module."),
        *("model.module.", "module.model._orig_mod.", "net.model.", "student.module."),
    ],
)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict"])
def test_prefixes_are_removed_in_any_order(
    prefix: str, wrapper: str | None, tmp_path: Path
) -> None:
    state = renamed(prefix)
    path = saved(tmp_path / "file.pth", {wrapper: state, "epoch": 3} if wrapper else state)
    assert same(weights.read(path, expected=STATE))


def test_prefixes_of_inner_modules_are_removed(tmp_path: Path) -> None:
    state = {name.replace(".", "._orig_mod.", 1): value for name, value in STATE.items()}
    assert same(weights.read(saved(tmp_path / "a.pth", state), expected=STATE))
    state = {name.replace(".", ".module.", 1): value for name, value in STATE.items()}
    assert same(weights.read(saved(tmp_path / "b.pth", renamed("model.", state)), expected=STATE))


def test_names_that_the_network_has_itself_are_kept(tmp_path: Path) -> None:
    state = renamed("model.module.")
    path = saved(tmp_path / "file.pth", renamed("module.", state))
    assert same(weights.read(path, expected=state), state)


def test_the_network_in_a_larger_module_is_found_and_what_is_left_out_is_told(
    tmp_path: Path,
) -> None:
    state = {**renamed("model."), "criterion.weight": torch.ones(3), "metric.total": torch.ones(1)}
    messages: list[str] = []
    path = saved(tmp_path / "file.ckpt", {"state_dict": state, "hyper_parameters": {"lr": 0.1}})
    assert same(weights.read(path, expected=STATE, say=messages.append))
    assert messages == [f"{path}: takes the weights under 'model'; leaves out 2 others"]


@pytest.mark.parametrize(
    ("content", "plain", "averaged"),
    [
        ({"state_dict": STATE, "state_dict_ema": shifted()}, "state_dict", "state_dict_ema"),
        ({"model_ema": renamed("module.", shifted()), "model": STATE}, "model", "model_ema"),
        ({"ema": {"model": shifted()}, "net": {"model": STATE}}, "net.model", "ema.model"),
        (
            {"state_dict": {**renamed("model."), **renamed("ema_model.", shifted())}},
            "state_dict",
            "state_dict.ema_model",
        ),
        (
            {
                "swa": {"n_averaged": torch.tensor(3), **renamed("module.", shifted())},
                "model": STATE,
            },
            "model",
            "swa",
        ),
    ],
)
def test_of_plain_and_averaged_weights_the_plain_are_taken_and_the_others_can_be_chosen(
    content: Any, plain: str, averaged: str, tmp_path: Path
) -> None:
    path = saved(tmp_path / "file.pth", content)
    messages: list[str] = []
    assert same(weights.read(path, expected=STATE, say=messages.append))
    assert messages == [
        f"{path}: takes the weights at {plain}; it also contains {averaged} (averaged); choose "
        "with --entry"
    ]
    assert same(weights.read(path, averaged, expected=STATE, say=pytest.fail), shifted())


def test_averaged_weights_alone_are_taken_and_it_is_told(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(network())
    path = saved(tmp_path / "file.pth", {"model_ema": averaged.state_dict(), "epoch": 9})
    messages: list[str] = []
    assert same(weights.read(path, expected=STATE, say=messages.append))
    assert messages == [f"{path}: takes the weights at model_ema (averaged)"]


def test_of_several_networks_that_are_equally_likely_none_is_taken(tmp_path: Path) -> None:
    path = saved(tmp_path / "file.pth", {"big": STATE, "small": shifted()})
    assert refusal(path) == "contains several state dicts: big, small; choose with --entry"
    assert same(weights.read(path, "small"), shifted())
    message = refusal(path, entry="medium")
    assert message == f"--entry: {path} has no weights at 'medium'; choose from big, small"


def test_states_of_optimizers_are_no_weights(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.zeros(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    content = {"optimizer": optimizer.state_dict(), "student": STATE, "epoch": 3}
    assert same(weights.read(saved(tmp_path / "file.pth", content), say=pytest.fail))


def test_entries_beside_the_weights_of_a_flat_file_are_left_out(tmp_path: Path) -> None:
    assert same(weights.read(saved(tmp_path / "file.pth", {**STATE, "epoch": 3, "best": 71.5})))


@pytest.mark.parametrize("name", ["weights.bin", "weights.pth", "weights", "weights.zip"])
def test_the_content_decides_how_a_file_is_read_and_not_its_suffix(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    safetensors.torch.save_file(STATE, path)
    assert {key: value.tolist() for key, value in weights.read(path).items()} == {
        key: value.tolist() for key, value in STATE.items()
    }
    assert same(weights.read(saved(tmp_path / "torch.safetensors", STATE)))
    path = tmp_path / "old.safetensors"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert same(weights.read(path))


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; download or save it again"),
        (b"<!DOCTYPE html>\n<html>404</html>", "is an HTML page, as servers send"),
        (b"\n <!-- x -->\n<HTML><body>sorry", "is an HTML page, as servers send"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS, not the"),
        (gzip.compress(b"weights", mtime=0), "is compressed with gzip; unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file, as Keras writes;"),
        (b'{"error": "not found"}', "is a JSON file; name the file of the weights"),
        ("Größe: 3\n".encode() * 200, "is a text file; name the file of the weights"),
        (zipped(readme=b"hello"), "is a ZIP archive, but not of PyTorch; name the file"),
        (b"PK\x03\x04" + bytes(300), "cannot be read as weights (File is not a zip file); check"),
        (bytes(5000), "is neither a PyTorch nor a safetensors file, or it is damaged;"),
        (b"\x80\x02}q\x00(X\x05", "cannot be read as weights ("),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_file_of_weights_is_named(
    content: bytes, message: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(content)
    assert refusal(path).startswith(message)


def test_a_program_of_torchscript_is_named(tmp_path: Path) -> None:
    buffer = zipped(**{"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/x.py": b""})
    (tmp_path / "file.pt").write_bytes(buffer)
    assert refusal(tmp_path / "file.pt").startswith("is a TorchScript program, not weights; save")


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (np.float64(3), "numpy"),
        (Path("here"), "pathlib"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_objects_beside_the_weights_are_named(
    value: Any, name: str, new_format: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file.pth"
    content = {"state_dict": STATE, "args": value}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    message = refusal(path)
    assert message.startswith(f"contains more than tensors: {name}")
    assert message.endswith(
        "; it is not opened, because that could run code; save only the network's state_dict()"
    )


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused_before_it_is_unpacked(
    tmp_path: Path,
) -> None:
    plain = saved(tmp_path / "plain.pth", {"weight": torch.zeros(8 << 20)})
    bomb = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    plain.unlink()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refusal(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10  # KiB
    assert "unpack to 32 MiB, which a file of weights never does; replace the file" in message


def test_damaged_files_of_all_formats_end_in_one_line_or_in_weights(tmp_path: Path) -> None:
    """Random bytes are cut, zeroed, inserted or changed; a change of a value is no damage."""
    contents = []
    for index, new_format in enumerate((True, False)):
        path = tmp_path / f"{index}.pth"
        content = {"state_dict": OrderedDict(STATE), "epoch": 3}
        torch.save(content, path, _use_new_zipfile_serialization=new_format)
        contents.append(path.read_bytes())
    contents += [safetensors.torch.save(STATE), pickle.dumps({"a": [1, 2]}, protocol=4)]

    draw = random.Random(5)
    path = tmp_path / "damaged.pth"
    refused = 0
    for number in range(240):
        damaged = bytearray(contents[number % 4])
        at = draw.randrange(len(damaged))
        length = draw.randrange(1, 40)
        kind = draw.choice(["cut", "zero", "insert", "change"])
        if kind == "cut":
            del damaged[at:]
        elif kind == "zero":
            damaged[at : at + length] = bytes(length)
        elif kind == "insert":
            damaged[at:at] = draw.randbytes(length)
        else:
            damaged[at] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        message = ending(path)
        refused += bool(message)
        assert message.isprintable(), (number, message)
        assert "two options" not in message
    assert refused > 120


def ending(path: Path) -> str:
    """The message that refuses a file; empty if it is loaded."""
    try:
        weights.load_into(network(), weights.read(path, expected=STATE), "net", "file")
    except InputError as error:
        return str(error)
    return ""


def test_the_name_of_a_file_is_printable_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\nb.pth"
    with pytest.raises(InputError) as error:
        weights.read(path)
    assert str(error.value) == f"{tmp_path}/a\\x1b[31m\\nb.pth: no such file"


def loaded(state: State) -> State:
    fresh = network()
    weights.load_into(fresh, state, "net", "file")
    return fresh.state_dict()


def misfit(state: State) -> str:
    with pytest.raises(InputError) as error:
        loaded(state)
    return str(error.value)


@pytest.mark.parametrize("layout", ["sparse", "half", "double", "expanded"])
def test_tensors_of_other_layouts_and_precisions_are_converted(layout: str, tmp_path: Path) -> None:
    changed = {
        "sparse": lambda value: value.to_sparse(),
        "half": lambda value: value.half(),
        "double": lambda value: value.double(),
        "expanded": lambda value: torch.ones(()).expand(value.shape),
    }[layout]
    state = {**STATE, "0.weight": changed(STATE["0.weight"])}
    read = weights.read(saved(tmp_path / "file.pth", state), expected=STATE)
    result = loaded(read)["0.weight"]
    assert result.layout == torch.strided
    assert torch.equal(result, state["0.weight"].to_dense().float())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_values_that_are_not_finite_are_refused_with_the_names_of_their_tensors(
    value: float, name: str
) -> None:
    tensor = STATE[name].clone()
    tensor.view(-1)[-1] = value
    assert misfit({**STATE, name: tensor}) == (
        f"file: 1 of 7 tensors contain NaN or infinite values: {name}; the training that made them "
        "diverged; use other weights"
    )


def test_values_that_become_infinite_in_the_networks_precision_are_refused() -> None:
    assert "infinite values: 0.bias;" in misfit(
        {**STATE, "0.bias": torch.full((4,), 1e300, dtype=torch.float64)}
    )


def test_buffers_may_be_infinite_where_those_of_a_new_network_are() -> None:
    def masked() -> nn.Module:
        module = nn.Linear(2, 2)
        module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        return module

    module = masked()
    weights.load_into(module, masked().state_dict(), "net", "file")
    bad = {**masked().state_dict(), "mask": torch.tensor([-torch.inf, -torch.inf])}
    with pytest.raises(InputError, match="infinite values: mask;"):
        weights.load_into(module, bad, "net", "file")


def test_types_without_plain_values_are_refused_by_name() -> None:
    wrong = {
        "0.weight": STATE["0.weight"].to(torch.int8),
        "0.bias": STATE["0.bias"].to(torch.complex64),
        "1.weight": STATE["1.weight"].to("meta"),
    }
    assert misfit({**STATE, **wrong}) == (
        "file: these are not weights of net: of another type: 0.weight is int8 instead of float32, "
        "0.bias is complex64 instead of float32, 1.weight is float32 without values instead of "
        "float32"
    )


def test_a_safetensors_header_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    path = tmp_path / "file.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(20))
    assert refusal(path).startswith("cannot be read as weights (")
