"""How the steps of a cohort can be run, by the names that a user chooses from."""

from __future__ import annotations

from enum import StrEnum


class EngineChoice(StrEnum):
    """How steps are run.

    The choice is no part of a cell's identity, because a step gives the same bits in each way.

    Attributes:
        AUTO: As CUDA graphs on a GPU, and as they are written elsewhere.
        EAGER: Every operation when it is called.
        GRAPHS: As CUDA graphs, which only a GPU can do.
    """

    AUTO = "auto"
    EAGER = "eager"
    GRAPHS = "graphs"

    def uses_graphs(self, device: str) -> bool:
        """Return whether steps are recorded on a type of device, such as `cuda`."""
        return self is EngineChoice.GRAPHS or (self is EngineChoice.AUTO and device == "cuda")
