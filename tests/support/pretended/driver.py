"""Stands for the parts of `torch.cuda` that need a driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol
from unittest import mock

import torch

from tests.support.pretended.recorded import Graph, Pool
from tests.support.pretended.rules import PINNED
from tests.support.pretended.streams import Event, Stream, Streams, entered


class Gpu(Protocol):
    """What stands for the driver.

    Attributes:
        streams: The streams.
        recorded: The graph that is being recorded, if any.
    """

    streams: Streams
    recorded: Graph | None

    def synchronize(self, *_: Any) -> None:
        """Wait for all work."""

    def recording_graph(
        self, graph: Graph, pool: Pool | None, stream: Stream, **_: Any
    ) -> AbstractContextManager[None]:
        """Record what a block does, as `torch.cuda.graph`."""

    def replay(self, graph: Graph) -> None:
        """Repeat what was recorded."""


class _Generator:
    """Stands for the generator of the GPU: that of the CPU, which draws in its place."""

    def get_offset(self) -> int:
        """Return 4 if anything was drawn since the seed was set, else 0."""
        fresh = torch.Generator().manual_seed(torch.default_generator.initial_seed())
        return 0 if torch.equal(fresh.get_state(), torch.default_generator.get_state()) else 4


@contextmanager
def without_driver(gpu: Gpu) -> Iterator[None]:
    """Replace what asks the driver, until the block ends.

    Args:
        gpu: The pretended GPU.
    """

    class RecordedGraph(Graph):
        def replay(self) -> None:
            gpu.replay(self)

    replaced = {
        "CUDAGraph": RecordedGraph,
        "Event": partial(Event, gpu.streams),
        "Stream": lambda *_, **__: Stream(gpu.streams),
        "current_device": lambda: 0,
        "current_stream": lambda *_, **__: gpu.streams.current,
        "default_generators": (_Generator(),),
        "device": nullcontext,
        "get_device_name": lambda *_: "pretended",
        "graph": gpu.recording_graph,
        "graph_pool_handle": Pool,
        "is_current_stream_capturing": lambda: gpu.recorded is not None,
        "manual_seed": lambda _: None,  # draws are the CPU's, whose generator is seeded as well
        "empty_cache": lambda: None,
        "max_memory_allocated": lambda *_: 0,
        "mem_get_info": lambda *_: (2**36, 2**37),
        "memory_allocated": lambda *_: 0,
        "reset_peak_memory_stats": lambda *_: None,
        "stream": lambda stream: entered(gpu.streams, stream),
        "synchronize": gpu.synchronize,
    }
    with ExitStack() as stack:
        for name, stand_in in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))

        # The backward pass stays in this thread: there is no thread for a device that is not there.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(_new_parameters())
        stack.callback(PINNED.clear)
        yield


@contextmanager
def _new_parameters() -> Iterator[None]:
    """Let `Module.to` make new parameters: a tensor on the CPU cannot become a `DeviceTensor`."""
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
