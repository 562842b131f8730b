"""The mode in which `cuda` is a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.pretended import record, rules
from tests.support.pretended.call import Call, replaced, returns_written
from tests.support.pretended.casts import Casts
from tests.support.pretended.device import CPU, CUDA, META, DeviceTensor
from tests.support.pretended.driver import without_driver
from tests.support.pretended.names import CudaIsMeta
from tests.support.pretended.record import Record
from tests.support.pretended.recorded import Graph, Pool, is_recorded, made
from tests.support.pretended.script import line_of
from tests.support.pretended.streams import Stream, Streams, entered
from tests.support.pretended.unstable import unstable


class PretendedGpu(TorchDispatchMode):
    """Checks, notes and computes every operation with a tensor on the pretended GPU.

    Attributes:
        record: What is noted from the beginning to the end.
        streams: The streams, which refuse operations that may run in the wrong order.
        recorded: The CUDA graph that is being recorded; None if operations are computed.
    """

    def __init__(self, shapes_only: bool = False):
        super().__init__()
        self._home = META if shapes_only else CPU
        self.record = Record()
        self._records = [self.record]
        self.streams = Streams()
        self.recorded: Graph | None = None
        self._scripted = True

    @contextmanager
    def recording(self, script: bool = False) -> Iterator[Record]:
        """Note what a block does, in a record of its own as well.

        Args:
            script: Whether to keep all operations in order.
        """
        opened = Record(script=[] if script else None)
        self._records.append(opened)
        try:
            yield opened
        finally:
            self._records.remove(opened)

    @contextmanager
    def unscripted(self) -> Iterator[None]:
        """Leave what a block does out of all scripts."""
        before, self._scripted = self._scripted, False
        try:
            yield
        finally:
            self._scripted = before

    def synchronize(self, *_: Any) -> None:
        """Note a wait for all work, as `torch.cuda.synchronize` is."""
        self._note_wait("cuda.synchronize")
        self.streams.wait_for()

    @contextmanager
    def recording_graph(
        self, graph: Graph, pool: Pool | None = None, stream: Stream | None = None, **_: Any
    ) -> Iterator[None]:
        """Record what a block does, as `torch.cuda.graph`."""
        self.synchronize()
        graph.enter(pool)
        self.recorded = graph
        try:
            with entered(self.streams, stream or self.streams.current):
                yield
        finally:
            self.recorded = None

    @torch.no_grad()
    def replay(self, graph: Graph) -> None:
        """Compute what was recorded, on the current stream, as a single launch."""
        for opened in self._records:
            opened.launches["cudaGraphLaunch"] += 1

        graph.spoil_others()
        for step in graph.steps:
            results = self._compute(step.call)
            targets = made(step.results)
            if targets:
                for target, value in zip(targets, made(results), strict=True):
                    target.numbers.copy_(value.numbers)
            self.streams.check(step.call, targets)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Check, note and compute an operation.

        Raises:
            DeviceMismatchError: CUDA would refuse it.
        """
        call = Call(function, args, kwargs or {})
        if not call.concerns_device:
            return function(*args, **call.kwargs)

        rules.check_devices(call)
        self._note(call)
        if self.recorded is not None and is_recorded(call):
            return self.recorded.record(call)

        results = self._compute(call)
        if self.recorded is None and is_recorded(call):
            self.streams.check(call, _made(call, results))
        return results

    def _note(self, call: Call) -> None:
        if reason := rules.waits(call):
            if self.recorded is not None:
                raise RuntimeError(f"operation not permitted when stream is capturing ({reason})")
            self._note_wait(reason)
            self.streams.wait_for(self.streams.current)

        launches, is_unstable = rules.launches(call.function), unstable(call)
        for opened in self._records:
            if launches:
                opened.launches[call.name] += 1
            if is_unstable:
                opened.unstable[call.name] += 1
            if opened.script is not None and self._scripted:
                opened.script.append(line_of(call))

    def _note_wait(self, operation: str) -> None:
        sync = record.sync(operation)
        for opened in self._records:
            opened.syncs.append(sync)

    def _compute(self, call: Call) -> Any:
        """Compute an operation where the numbers are, and put its results where they belong."""
        kwargs = dict(call.kwargs)
        if call.target == CUDA:
            kwargs["device"] = self._home
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False

        to_host = call.name in rules.CROSSES and _arrives_on_host(call)
        inner = self._read if to_host else _numbers
        args = replaced(call.args, DeviceTensor, inner)
        for name, value in kwargs.items():
            kwargs[name] = replaced(value, DeviceTensor, inner)
        results = call.function(*args, **kwargs)

        if torch.Tag.inplace_view in call.function.tags:
            with no_dispatch():  # gives the wrapper the strides, too
                call.function(*call.args, **call.kwargs)

        if returns_written(call.function):
            written = tuple(call.written())
            return written if len(call.function._schema.returns) > 1 else written[0]
        return results if to_host else replaced(results, Tensor, DeviceTensor)

    def _read(self, tensor: DeviceTensor) -> Tensor:
        """Return the numbers of a tensor on the CPU, which are zero if only shapes are computed."""
        if self._home == CPU:
            return tensor.numbers
        return torch.zeros(tensor.shape, dtype=tensor.dtype)


def _made(call: Call, results: Any) -> list[DeviceTensor]:
    """Return the tensors that an operation has made, and not only changed."""
    if returns_written(call.function):
        return []
    return made(results)


def _arrives_on_host(call: Call) -> bool:
    if call.name == "aten.copy_":
        return not isinstance(call.args[0], DeviceTensor)
    return call.target == CPU


def _numbers(tensor: DeviceTensor) -> Tensor:
    return tensor.numbers


@contextmanager
def pretended_gpu(shapes_only: bool = False) -> Iterator[PretendedGpu]:
    """Make `cuda` a device, with a pretended GPU, until the block ends.

    Args:
        shapes_only: Whether nothing is computed, so that large networks take no time. What the
            program reads back is zero; single numbers cannot be read.
    """
    gpu, casts = PretendedGpu(shapes_only), Casts()
    with without_driver(gpu), casts.replacing_autocast(), CudaIsMeta(), casts, gpu:
        yield gpu
