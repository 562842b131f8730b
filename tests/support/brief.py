"""The command line in a process of its own, with the networks of tests.

Latency is timed over a single pass: at full length, it takes longer than training such a network.
"""

from __future__ import annotations

from typing import Any

import tests.support.networks  # noqa: F401
from benchmark.training import profiling

TIMING: dict[str, Any] = {"LEAST": 1, "SECONDS": 0.0, "WARM_UP_SECONDS": 0.0}
"""Constants of `benchmark.training.profiling` during tests."""


def time_briefly() -> None:
    """Change the timing of this process."""
    for name, value in TIMING.items():
        setattr(profiling, name, value)


if __name__ == "__main__":
    from benchmark.cli.main import main

    time_briefly()
    main()
