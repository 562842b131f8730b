"""Records the work of a step as a CUDA graph, compares it with the work itself, and replays it.

A graph repeats the operations of one step with the addresses and numbers of that step. It is
therefore wrong for work that depends on more than the contents of tensors, and unproven on every
device that it has not run on. So a graph is used only after it has produced the same bits as the
work itself. Those of members are compared with it again in the first and the last step of each
epoch, and before a member is saved inside one; that of the teacher in the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from benchmark.errors import first_line
from benchmark.records.checkpoints import Tensors
from benchmark.training.work import Work, at_once

RECORDED = "steps are replayed as CUDA graphs"

UNEQUAL = "its first replay differed from the step itself"
NO_ROOM = "too little memory is free to record its steps"
UNREPEATABLE = "a step does not give the same bits twice on this device"
MOVES = "its steps replace tensors instead of writing into them"


INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integers with as many bytes as a floating-point number."""


class Moment(Enum):
    """The position of a step in its epoch. A graph is compared in the first and the last step.

    A step after which a member is saved counts as a last one.
    """

    FIRST = "first"
    WITHIN = "within"
    LAST = "last"


class ChangedWithinEpochError(RuntimeError):
    """The numbers of a method's steps changed within an epoch, which its graphs ignored."""

    def __init__(self) -> None:
        super().__init__(
            "the numbers that Python computes for its steps change within an epoch, but were "
            "replayed from a CUDA graph; declare `capturable = False` in the method, or train with "
            "--engine eager"
        )


class Lane:
    """A stream of a device, and the memory that the graphs replayed on it share.

    The graphs of a lane run one after another, so that each may use all of the memory.

    Attributes:
        stream: The stream.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self.stream = torch.cuda.Stream(device)
        self._pool: Any = None
        self._graphs: WeakSet[Graph] = WeakSet()

    def has_room(self, state: int) -> bool:
        """Return whether memory is free for a recorded step beside the step as it is written.

        Args:
            state: Size of all that the step changes, in bytes, of which a comparison keeps copies.
        """
        with suppress(RuntimeError):  # PyTorch 2.11 refuses it after a failed recording
            torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self._device)
        peak = torch.cuda.max_memory_allocated(self._device)
        step = peak - torch.cuda.memory_allocated(self._device)
        return free >= 2 * step + 2 * state

    def record(self, run: Callable[[], Tensor]) -> Graph:
        """Record operations without running them.

        Raises:
            Exception: They cannot be recorded.
        """
        # PyTorch does not free a pool without graphs in time to use it again.
        is_usable = self._pool is not None and self._graphs
        pool = self._pool if is_usable else torch.cuda.graph_pool_handle()
        self._pool = None  # nor is a pool of any use after an error

        # cuBLAS keeps its workspace from earlier steps, but frees it along with any graph. One that
        # is made while recording belongs to the pool.
        torch._C._cuda_clearCublasWorkspaces()
        recorded = torch.cuda.CUDAGraph()
        with (
            torch.cuda.stream(self.stream),  # after an error, torch.cuda.graph does not go back
            torch.cuda.graph(
                recorded, pool=pool, stream=self.stream, capture_error_mode="thread_local"
            ),
        ):
            row = run()

        self._pool = pool
        graph = Graph(recorded, row)
        self._graphs.add(graph)
        return graph


@dataclass(frozen=True, eq=False)
class Graph:
    """A recorded step.

    Attributes:
        recorded: The operations.
        row: What `Work.run` returned, which every replay overwrites.
    """

    recorded: torch.cuda.CUDAGraph
    row: Tensor

    def replay(self, work: Work) -> Tensor:
        """Run the step with the present contents of its tensors, and return what is logged."""
        work.begin()
        self.recorded.replay()
        return self.row.clone()


class Replays:
    """Runs the steps of one stage of some work, as graphs if possible.

    The first step is not recorded, because it may create state, such as that of an optimizer.

    Attributes:
        reason: Why the steps are not replayed; empty while nothing speaks against it.
        unexpected: Whether the reason was found when a step was recorded or compared.
        proven: Whether the latest step ran as it is written, or was compared with it.
    """

    def __init__(self, lane: Lane, reason: str = "", *, by_epoch: bool = False):
        """Replay nothing yet.

        Args:
            lane: Where the graphs are recorded.
            reason: Why the steps cannot be replayed; empty if they can.
            by_epoch: Whether the numbers of the steps change from epoch to epoch.
        """
        self.reason = reason
        self.unexpected = False
        self.proven = True
        self._lane = lane
        self._by_epoch = by_epoch
        self._graphs: dict[int, Graph] = {}
        self._is_warm = False

    @property
    def note(self) -> str:
        """How the steps run, for the journal."""
        return f"no CUDA graphs: {self.reason}" if self.reason else RECORDED

    def step(self, work: Work, slot: int, moment: Moment) -> Tensor:
        """Run a step.

        Args:
            work: The work, which reads its batch from a slot.
            slot: Number of the slot.
            moment: The position of the step in its epoch.

        Returns:
            What is logged of the step.

        Raises:
            ChangedWithinEpochError: The replays since the beginning of the epoch cannot be right.
        """
        self.proven = True
        if self.reason or not self._is_warm:
            self._is_warm = True
            return at_once(work)

        if moment is Moment.FIRST and self._by_epoch:
            self._graphs = {}
        graph = self._graphs.get(slot)
        if graph is None:
            return self._record(work, slot)
        if moment is Moment.WITHIN:
            self.proven = False
            return graph.replay(work)
        return self._check(graph, work, moment)

    def move(self, lane: Lane) -> None:
        """Go on in another lane, in whose memory graphs have to be recorded."""
        self._lane = lane
        self._graphs = {}

    def forget(self) -> None:
        """Drop the graphs: the slots, or what learns, have been replaced."""
        self._graphs = {}
        self._is_warm = False

    def _record(self, work: Work, slot: int) -> Tensor:
        """Record a step, and take it."""
        if not self._lane.has_room(sum(value.nbytes for value in work.tensors().values())):
            self._give_up(NO_ROOM)
            return at_once(work)

        before = _copies(work.tensors())
        try:
            graph = self._lane.record(work.run)
        except Exception as error:  # if it is not due to the recording, the step raises it again
            _write(before, work.tensors())
            self._give_up(first_line(_cause(error)))
            return at_once(work)

        _write(before, work.tensors())  # Python may have put unwritten memory in their place
        comparison = _compare(graph, work)
        if comparison.verdict is Verdict.EQUAL:
            self._graphs[slot] = graph
        else:
            self._give_up(comparison.verdict.value)
        return comparison.row

    def _check(self, graph: Graph, work: Work, moment: Moment) -> Tensor:
        """Take a step both ways; without a graph from now on if they differ."""
        comparison = _compare(graph, work)
        if comparison.verdict is Verdict.UNEQUAL:
            if moment is Moment.LAST:
                raise ChangedWithinEpochError
            self._by_epoch = True
            self._graphs = {}
        elif comparison.verdict is not Verdict.EQUAL:
            self._give_up(comparison.verdict.value)
        return comparison.row

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self.unexpected = True
        self._graphs = {}


class Verdict(Enum):
    """What a comparison has found; the value says it in words."""

    EQUAL = "equal"
    UNEQUAL = UNEQUAL
    UNREPEATABLE = UNREPEATABLE
    MOVES = MOVES
    NO_ROOM = NO_ROOM


@dataclass(frozen=True)
class Comparison:
    """The outcome of a step that was taken both ways.

    Attributes:
        row: What is logged of the step.
        verdict: What was found.
    """

    row: Tensor
    verdict: Verdict


def _compare(graph: Graph, work: Work) -> Comparison:
    """Take a step as it is written and as a graph, from the same state, and compare the bits.

    The state afterwards is that of the step as it is written.
    """
    addresses = _addresses(work.tensors())
    try:
        before, after = _copies(work.tensors()), _copies(work.tensors())
    except torch.OutOfMemoryError:
        return Comparison(at_once(work), Verdict.NO_ROOM)

    row = at_once(work)
    if _addresses(work.tensors()) != addresses:
        return Comparison(row, Verdict.MOVES)

    _write(work.tensors(), after)
    _write(before, work.tensors())
    replayed = graph.replay(work)
    if _same([*after.values(), row], [*work.tensors().values(), replayed]):
        return Comparison(row, Verdict.EQUAL)

    _write(before, work.tensors())
    again = at_once(work)
    repeats = _same([*after.values(), row], [*work.tensors().values(), again])
    return Comparison(again, Verdict.UNEQUAL if repeats else Verdict.UNREPEATABLE)


def _copies(tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}


@torch.no_grad()
def _write(values: Tensors, tensors: Tensors) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)


def _addresses(tensors: Tensors) -> dict[str, int]:
    return {name: value.data_ptr() for name, value in tensors.items()}


def _same(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> bool:
    """Return whether tensors have the same bits; waits once."""
    pairs = zip(expected, actual, strict=True)
    return bool(torch.stack([_equal(value, other).all() for value, other in pairs]).all())


def _equal(value: Tensor, other: Tensor) -> Tensor:
    return _bits(value) == _bits(other)


def _bits(value: Tensor) -> Tensor:
    """Return a tensor's bits as integers."""
    return value.view(INTEGERS[value.itemsize]) if value.is_floating_point() else value


def _cause(error: Exception) -> BaseException:
    """Return the error that ended a recording, which PyTorch reports as a failed recording."""
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    return cause
