"""The files of a cell: configuration, checkpoints, weights, done marker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.failpoint import failpoint
from benchmark.files import write_atomically, write_json
from benchmark.records.journal import Journal, Json, seal, unseal

Tensors = dict[str, Tensor]


def sha256(tensors: Tensors) -> str:
    """Of the file that these tensors become."""
    return hashlib.sha256(packed(tensors)).hexdigest()


def packed(tensors: Tensors) -> bytes:
    """The bytes of a safetensors file."""
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    return safetensors.torch.save(plain)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a cell after an epoch: tensors, and a JSON part that ends with the epoch's own journal record."""

    epoch: int
    tensors: Tensors
    state: dict[str, Any]


class CellFolder:
    """A cell's files: `config.json`, `journal.jsonl`, `checkpoint-*`, `best.*`, `student.safetensors`, `done.json`."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def done(self) -> bool:
        """Whether the cell is finished and evaluated."""
        return (self.path / "done.json").exists()

    def journal(self) -> Journal:
        """The journal, opened for appending."""
        return Journal(self.path / "journal.jsonl")

    def begin(self, configuration: dict[str, Any]) -> None:
        """Makes the folder and writes its configuration, once."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "config.json").exists():
            write_json(self.path / "config.json", configuration)

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and drops all but the one before it. The JSON file, written last, makes it valid."""
        name = f"checkpoint-{checkpoint.epoch:05d}"
        digest = self._write_tensors(f"{name}.safetensors", checkpoint.tensors)
        failpoint("checkpoint.tensors")
        marker = {"epoch": checkpoint.epoch, "sha256": digest, "state": checkpoint.state}
        write_atomically(self.path / f"{name}.json", seal(marker))
        failpoint("checkpoint.written")
        for old in self._checkpoints()[2:]:
            self._drop(old)

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and a line for every damaged one that was passed over."""
        warnings: list[str] = []
        for marker in self._checkpoints():
            try:
                content = self._read_marker(marker.name)
                tensors = self.read_tensors(
                    marker.with_suffix(".safetensors").name, content["sha256"]
                )
                return Checkpoint(content["epoch"], tensors, content["state"]), warnings
            except InputError as error:
                warnings.append(f"{marker}: damaged, training goes on from before it ({error})")
        return None, warnings

    def save_best(self, epoch: int, tensors: Tensors) -> None:
        """Keeps the weights of the best validation epoch so far."""
        digest = self._write_tensors("best.safetensors", tensors)
        write_atomically(self.path / "best.json", seal({"epoch": epoch, "sha256": digest}))

    def best(self, epoch: int) -> Tensors:
        """The weights that `save_best` kept. Raises InputError if they are damaged or another epoch's."""
        marker = self._read_marker("best.json")
        if marker["epoch"] != epoch:
            raise InputError(
                f"{self.path}: best.json is not of epoch {epoch}; delete the folder to train it again"
            )
        return self.read_tensors("best.safetensors", marker["sha256"])

    def save_student(self, tensors: Tensors) -> str:
        """Writes the weights that are evaluated; returns their SHA-256."""
        return self._write_tensors("student.safetensors", tensors)

    def finish(self, content: dict[str, Any]) -> None:
        """Marks the cell as done and drops what was only for going on."""
        write_json(self.path / "done.json", content)
        for pattern in ("checkpoint-*", "best.*", ".*.part"):
            for old in list(self.path.glob(pattern)):
                old.unlink()

    def read_tensors(self, name: str, sha256: str) -> Tensors:
        """A file's tensors on the CPU, after its content was checked. Raises InputError naming file and both hashes."""
        path = self.path / name
        content = self._read(name)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise InputError(f"{path}: SHA-256 is {found[:12]}..., {sha256[:12]}... was written")
        return safetensors.torch.load(content)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.path / name}: cannot be read ({error.strerror})") from None

    def _read_marker(self, name: str) -> Json:
        """The JSON beside a file of tensors. Raises InputError if it is not as it was written."""
        content = unseal(self._read(name))
        if content is None:
            raise InputError(f"{self.path / name}: not as it was written")
        return content

    def _write_tensors(self, name: str, tensors: Tensors) -> str:
        content = packed(tensors)
        write_atomically(self.path / name, content)
        return hashlib.sha256(content).hexdigest()

    def _checkpoints(self) -> list[Path]:
        """The JSON files of all checkpoints, newest first."""
        return sorted(self.path.glob("checkpoint-*.json"), reverse=True)

    @staticmethod
    def _drop(marker: Path) -> None:
        marker.unlink(missing_ok=True)
        marker.with_suffix(".safetensors").unlink(missing_ok=True)
