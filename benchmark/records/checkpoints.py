"""The tensors and markers of a cell: checkpoints, best weights, final weights."""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from benchmark.errors import DamageError
from benchmark.failpoint import failpoint
from benchmark.files import write_atomically, write_error, write_json
from benchmark.records.chain import Extent
from benchmark.records.done import Done, write_done
from benchmark.records.integrity import fits, read_marker, read_whole
from benchmark.records.journal import Journal, Json, encode_line, read_content
from benchmark.records.layout import CellFiles, StudyFolder
from benchmark.records.reading import RETRAIN
from benchmark.records.tensor_files import pack

Tensors = dict[str, Tensor]

KEPT_CHECKPOINTS = 2
"""Number of checkpoints kept: the newest, and its predecessor in case the newest is damaged."""


def sha256(tensors: Tensors) -> str:
    """Return the SHA-256 of the safetensors file with these tensors."""
    return hashlib.sha256(pack(tensors)).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The state of a cell after an epoch, or inside one.

    Attributes:
        epoch: Number of the epoch, counted from 0, early stage included.
        tensors: Weights and optimizer state.
        state: All other state as JSON, including the journal record of the last whole epoch.
        step: Number of batches of the epoch that are trained; 0 for the whole epoch.
    """

    epoch: int
    tensors: Tensors
    state: dict[str, Any]
    step: int = 0

    def snapshot(self) -> Snapshot:
        """Return a copy, which further training does not change; wait for the device once."""
        return Snapshot(self.epoch, pack(self.tensors), copy.deepcopy(self.state), self.step)


@dataclass(frozen=True)
class Snapshot:
    """A checkpoint as it will be written.

    Attributes:
        epoch: As that of the checkpoint.
        content: Content of its tensor file.
        state: As that of the checkpoint.
        step: As that of the checkpoint.
    """

    epoch: int
    content: memoryview
    state: dict[str, Any]
    step: int = 0


class CellFolder:
    """Reads and writes the files of one cell or teacher.

    A tensor file is valid only if its digest matches the recorded one.

    Attributes:
        path: The folder.
        files: Paths of the files in it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.files = CellFiles(path)

    @property
    def done(self) -> bool:
        """Whether the cell is finished and evaluated."""
        return os.path.exists(self.files.done)  # Path.exists raises if access is denied

    def journal(self) -> Journal:
        """Open the journal for appending.

        Raises:
            InputError: A record is damaged.
        """
        return Journal(self.files.journal)

    def begin(self, configuration: dict[str, Any]) -> None:
        """Create the folder and write the configuration, unless they exist."""
        self.path.mkdir(parents=True, exist_ok=True)

        if not self.files.config.exists():
            write_json(self.files.config, configuration)

    def set_aside(self) -> Path:
        """Move the folder, which belongs to a study, to a place where no run looks for it.

        Returns:
            The new place.

        Raises:
            InputError: The folder cannot be moved.
        """
        target = StudyFolder(self.path.parent.parent).set_aside(self.path.name).path
        try:
            target.parent.mkdir(exist_ok=True)
            self.path.rename(target)
        except OSError as error:
            raise write_error(target, error) from error
        return target

    def save(self, snapshot: Snapshot, journal: Extent) -> None:
        """Write a checkpoint, and delete all but the newest `KEPT_CHECKPOINTS`.

        Args:
            snapshot: The checkpoint.
            journal: What the journal contains; the records of a training that resumes from the
                checkpoint are appended to it.

        Raises:
            InputError: A file cannot be written. Earlier checkpoints remain valid.
        """
        failpoint("checkpoint.taken")
        epoch, step = snapshot.epoch, snapshot.step
        digest = _write(self.files.checkpoint(epoch, step), snapshot.content)
        failpoint("checkpoint.tensors")

        # Written last, the marker makes the checkpoint valid.
        marker = {
            "epoch": epoch,
            "sha256": digest,
            "state": snapshot.state,
            "journal": journal.model_dump(),
        }
        inside = {"step": step} if step else {}
        write_atomically(self.files.checkpoint_marker(epoch, step), encode_line(marker | inside))
        failpoint("checkpoint.written")

        for old in self.files.checkpoint_markers()[KEPT_CHECKPOINTS:]:
            self._delete(old)

    def _delete(self, marker: Path) -> None:
        """Delete a checkpoint.

        Raises:
            InputError: A file cannot be deleted.
        """
        for path in (marker, self.files.checkpoint_tensors(marker)):
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(path, error) from error

    def restore(self) -> tuple[Checkpoint | None, list[str]]:
        """Read the newest intact checkpoint that agrees with the journal.

        Those that are skipped are deleted: by their names, they are newer than the checkpoints that
        the training now saves, which `save` would delete in their place.

        Returns:
            The checkpoint, or None if there is none; and a warning for every checkpoint that was
            skipped.
        """
        problems: dict[Path, str] = {}
        found: Checkpoint | None = None

        for path in self.files.checkpoint_markers():
            try:
                marker = read_marker(path)
                if not fits(marker, self.files.journal, read_content(self.files.journal)):
                    lost = "the journal has lost records that were written before it"
                    raise DamageError(f"{path}: {lost}")
                tensors = _read_tensors(self.files.checkpoint_tensors(path), marker["sha256"])
            except DamageError as error:
                problems[path] = error.problem
            else:
                step = marker.get("step", 0)
                found = Checkpoint(marker["epoch"], tensors, marker["state"], step)
                break

        for path in problems:
            self._delete(path)
        place = "from the beginning" if found is None else "from an earlier epoch"
        return found, [
            f"{path}: training resumes {place} ({problem})" for path, problem in problems.items()
        ]

    def save_best(self, epoch: int, content: memoryview) -> None:
        """Save the weights of the best validation epoch so far.

        The marker is written first. It also names the weights that are still there if the process
        is killed in between, so that these are not taken for damaged.

        Args:
            epoch: Index of the epoch in the main training.
            content: Content of the weights' file.
        """
        marker: Json = {"epoch": epoch, "sha256": hashlib.sha256(content).hexdigest()}
        if self.files.best_marker.exists():
            earlier = read_marker(self.files.best_marker)
            marker["before"] = {"epoch": earlier["epoch"], "sha256": earlier["sha256"]}

        write_atomically(self.files.best_marker, encode_line(marker))
        failpoint("best.marker")
        write_atomically(self.files.best, content)

    def read_best(self, epoch: int) -> Tensors:
        """Read the weights that `save_best` saved.

        Raises:
            DamageError: The weights are missing, damaged, or from another epoch.
        """
        marker = read_marker(self.files.best_marker)
        named = [marker, *filter(None, [marker.get("before")])]
        digest = next((entry["sha256"] for entry in named if entry["epoch"] == epoch), None)
        if digest is None:
            raise DamageError(f"{self.files.best_marker}: is not from epoch {epoch}", RETRAIN)

        return _read_tensors(self.files.best, digest)

    def save_weights(self, tensors: Tensors) -> str:
        """Write the weights that will be evaluated, and return the digest of their file."""
        return _write(self.files.weights, pack(tensors))

    def size_of_weights(self) -> int | None:
        """Return the size of the weights' file in bytes; None if there is none."""
        path = self.files.weights
        return path.stat().st_size if path.exists() else None

    def read_weights(self, digest: str) -> Tensors:
        """Read the weights that were evaluated.

        Args:
            digest: SHA-256 of their file.

        Raises:
            DamageError: The file is missing, or its digest differs.
        """
        return _read_tensors(self.files.weights, digest)

    def finish(self, done: Done) -> None:
        """Mark the cell as finished, and delete the files that only an unfinished cell needs."""
        write_done(self.files.done, done)
        for path in self.files.temporary():
            path.unlink()


def _read_tensors(path: Path, digest: str) -> Tensors:
    """Read tensors to the CPU after checking the file's digest."""
    return safetensors.torch.load(read_whole(path, digest))


def _write(path: Path, content: memoryview) -> str:
    """Write a tensor file, and return its digest."""
    write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()
