"""Where the members of a cohort get the teacher's outputs from: the teacher, or stored outputs.

With the recipe's `teacher_cache`, each training image has a few fixed views. The teacher's outputs
for a view are computed for the whole training set in its own order, in batches of a fixed size, so
they depend neither on the members nor on their batches. They are rounded to half precision, and
every member reads them from the disk, whether or not its own process has computed them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from benchmark.data import Loaded, cache
from benchmark.data.cache import DamagedError
from benchmark.errors import InputError
from benchmark.files import write_error
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training.conditions import Conditions
from benchmark.training.cost import stored_views
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.stored_taps import TapWriter, read_tap, view_folder
from benchmark.training.teacher_taps import SECOND, output_of, taps_of, tensors_of
from methods import Output

BATCH_SIZE = 128
"""Images per batch when stored outputs are computed. Changing it changes their last bits."""

Taps = Mapping[str, tuple[int, ...]]
"""The shapes of taps, without the batch axis, by name."""


class TeacherOutputs:
    """Runs the teacher on every batch.

    Attributes:
        computes: Whether outputs are computed on the device of the batch, always in the same way.
    """

    computes: ClassVar[bool] = True

    def __init__(self, conditions: Conditions):
        self._conditions = conditions

    def enter(self, epoch: int, members: Sequence[Member]) -> None:
        """Begin an epoch.

        Args:
            epoch: The epoch, negative in the early stage.
            members: All members that train in it.
        """

    def of(self, loaded: Loaded, step: int) -> Output:
        """Return the teacher's output for a batch, with at least the taps that members need.

        Args:
            loaded: The batch.
            step: Index of the batch in the epoch.
        """
        teacher = self._conditions.teacher
        assert teacher is not None
        return teacher.output(loaded, self._conditions.recipe.precision)


class StoredOutputs(TeacherOutputs):
    """Reads stored outputs, and computes those of a view when an epoch first needs them."""

    computes = False

    def __init__(
        self,
        conditions: Conditions,
        members: Sequence[Member],
        folder: Path,
        heart: Heartbeat,
        progress: Progress,
    ):
        """Note what each view of each member needs.

        Args:
            conditions: The conditions of a cohort with a teacher.
            members: The members of the cohort.
            folder: Folder of the outputs of this teacher for these views.
            heart: Receives a beat with every batch that the teacher passes.
            progress: Receives the beginning of each pass, and messages for the user.
        """
        super().__init__(conditions)
        assert conditions.teacher is not None
        assert conditions.recipe.teacher_cache is not None
        self._views = conditions.recipe.teacher_cache
        self._shapes = conditions.teacher.model.shapes
        self._classifier = conditions.teacher.model.classifier()
        self._folder = folder
        self._heart = heart
        self._progress = progress

        self._needed = self._needs(members)
        self._opened: dict[int, dict[str, Tensor]] = {}
        self._view = 0
        self._reader = ""
        self._taps: dict[str, tuple[int, ...]] = {}
        self._order = torch.empty(0, dtype=torch.int64)

    def enter(self, epoch: int, members: Sequence[Member]) -> None:
        """Note the view of the epoch, the order of its images, and the taps that members need."""
        self._view = epoch % self._views
        self._order = self._conditions.data.order(self._conditions.seed, epoch)

        taught = [member for member in members if member.taught]
        self._reader = taught[0].task.label if taught else ""

        self._taps = {}
        for member in taught:
            self._taps |= self._taps_of(member)

    def of(self, loaded: Loaded, step: int) -> Output:
        """Return the stored output for a batch, in float32.

        Raises:
            InputError: The outputs cannot be stored.
        """
        opened = self._opened.setdefault(self._view, {})
        unopened = {name: shape for name, shape in self._taps.items() if name not in opened}
        if unopened:
            opened |= self._open(unopened)

        size = self._conditions.recipe.batch_size
        rows = self._order[step * size : (step + 1) * size]
        device = loaded.inputs.device
        tensors = {name: _rows(opened[name], rows, device) for name in self._taps}
        return output_of(tensors, self._classifier, device)

    def _needs(self, members: Sequence[Member]) -> dict[int, dict[str, tuple[int, ...]]]:
        """Return the taps of each view that members need in any epoch, so one pass computes all."""
        needed: dict[int, dict[str, tuple[int, ...]]] = {}
        for member in members:
            method = member.parts.method
            for view in stored_views(method, member.length, self._views):
                needed.setdefault(view, {}).update(self._taps_of(member))
        return needed

    def _taps_of(self, member: Member) -> dict[str, tuple[int, ...]]:
        return taps_of(member.needs, member.parts.criterion.depth, self._shapes)

    def _open(self, taps: Taps) -> dict[str, Tensor]:
        """Return the values of the view's taps, which are computed if they are not stored."""
        folder = self._folder / view_folder(self._view)
        waiting = f"{folder}: another process is running the teacher on this view; waiting for it"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with cache.locked(folder, waiting, self._progress.warn, self._beat):
                stored = self._read(folder, taps)
                if len(stored) < len(taps):
                    self._compute(folder)
                    stored = self._read(folder, taps)
                for name in taps:
                    if name not in stored:
                        raise InputError(
                            f"{folder / name}: differs from what was just written; check the disk"
                        )
                return stored
        except OSError as error:
            raise write_error(folder, error) from error

    def _read(self, folder: Path, taps: Taps) -> dict[str, Tensor]:
        """Return the stored taps among some of a view; damaged ones are removed."""
        stored = {}
        for name, shape in taps.items():
            place = folder / name
            if not place.exists():
                continue
            try:
                stored[name] = read_tap(place, self._conditions.data.samples, shape, self._beat)
            except DamagedError as error:
                self._progress.warn(f"{place}: damaged ({error}); running the teacher again")
                shutil.rmtree(place)
        return stored

    def _compute(self, folder: Path) -> None:
        """Run the teacher on all images of the view, and store the taps that are not stored."""
        activity = f"running the teacher on view {self._view + 1} of {self._views}"
        self._progress.busy(self._reader, activity)

        folder.mkdir(exist_ok=True)
        with ExitStack() as stack:
            writers = []
            for name, shape in self._needed[self._view].items():
                if (folder / name).exists():
                    continue
                unfinished = stack.enter_context(cache.filling(folder / name))
                writers.append(stack.enter_context(TapWriter(unfinished, name, shape)))

            with self._naming_reader():
                self._pass([writer for writer in writers if writer.name != SECOND], second=False)
                self._pass([writer for writer in writers if writer.name == SECOND], second=True)

    @contextmanager
    def _naming_reader(self) -> Iterator[None]:
        """Begin the message of an error with the cell that needs the outputs."""
        try:
            yield
        except InputError as error:
            raise InputError(f"{self._reader}: {error}") from error

    def _pass(self, writers: Sequence[TapWriter], *, second: bool) -> None:
        """Run the teacher on the first or the second view of all images, if a tap is written."""
        if not writers:
            return

        conditions = self._conditions
        left = conditions.data.samples
        batches = conditions.data.fixed_view(
            conditions.seed, self._view, conditions.recipe, BATCH_SIZE, second=second
        )
        for loaded in batches:
            self._beat()
            tensors = tensors_of(super().of(loaded, 0))
            for writer in writers:
                writer.write(tensors["logits" if second else writer.name][:left])
            left -= BATCH_SIZE

    def _beat(self) -> None:
        self._heart.beat(heartbeat.BATCH)


def teacher_outputs(
    conditions: Conditions, members: Sequence[Member], heart: Heartbeat, progress: Progress
) -> TeacherOutputs:
    """Return what gives a cohort the teacher's outputs.

    Args:
        conditions: The conditions of the cohort.
        members: Its members.
        heart: Receives the beats of passes of the teacher.
        progress: Receives messages for the user.
    """
    if conditions.teacher is None or conditions.outputs is None:
        return TeacherOutputs(conditions)
    return StoredOutputs(conditions, members, conditions.outputs, heart, progress)


def _rows(values: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Return some rows of stored values on a device, in float32, without waiting for the device.

    Args:
        values: The values, float16 [samples, ...], on the CPU.
        rows: Indices of the rows, int64 [n], on the CPU.
        device: The device.
    """
    is_map = values.dim() == 4
    flat = values.permute(0, 2, 3, 1) if is_map else values
    chosen = flat.index_select(0, rows)
    if device.type != "cpu":
        chosen = chosen.pin_memory().to(device, non_blocking=True)

    converted = chosen.to(torch.float32)
    return converted.permute(0, 3, 1, 2) if is_map else converted
