"""Load and memory of the machine during training, as MLflow's system metrics.

They are sampled by the process that writes journals to MLflow, on the same machine, so training
knows nothing of them. No journal contains them: they are lost with the store, and no result
depends on them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.errors import InputError, TrackingError
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.records.workspace_id import identify
from benchmark.study.plan import read_plan
from benchmark.tracking.client import Client, Point
from benchmark.tracking.ownership import ownership
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, RUN, TEACHER

PREFIX = "system/"
"""Prefix by which MLflow recognises system metrics."""

INTERVAL = 10.0
"""Seconds between two samples."""

Sample = Callable[[], Mapping[str, float]]
"""Returns the current load by metric, without the prefix."""


def require_psutil() -> None:
    """Check that the machine can be observed.

    Raises:
        InputError: The package psutil is not installed.
    """
    if importlib.util.find_spec("psutil") is None:
        raise InputError(
            "--system-metrics: needs the package psutil; install it with "
            "`pip install 'kdbench[system]'`"
        )


class SystemMonitor:
    """Writes samples to the runs of a study that are being trained."""

    def __init__(self, folder: Path, store: Store, sample: Sample | None = None):
        """Start observing.

        Args:
            folder: Folder of the study.
            store: The store that contains its runs.
            sample: Replaces the sampling of this machine.
        """
        self._folder = StudyFolder(folder)
        self._store = store
        self._sample = sample or _machine()
        self._due = 0.0

    def __call__(self) -> None:
        """Write a sample if one is due.

        A store that fails gets none: `follow` warns of it. A machine that cannot be observed is
        not tried again.
        """
        now = time.monotonic()
        if now < self._due or not self._folder.plan.exists():
            return

        self._due = now + INTERVAL
        try:
            values = self._sample()
        except Exception:  # psutil and NVML raise errors of many kinds
            self._due = math.inf
            return

        with contextlib.suppress(TrackingError, InputError):
            self._write(values)

    def _write(self, values: Mapping[str, float]) -> None:
        client = Client(self._store)
        experiment = client.get_experiment_by_name(read_plan(self._folder.plan).experiment)
        if experiment is None:
            return

        owned = ownership(identify(Workspace(self._folder.path.parent)), self._folder)
        moment = time.time_ns() // 1_000_000
        for run in client.search(experiment.experiment_id, "attributes.status = 'RUNNING'"):
            if run.data.tags.get(KIND) in (RUN, TEACHER) and owned.owns(run):
                seconds = (moment - run.info.start_time) // 1000
                client.log(
                    run,
                    [Point(PREFIX + key, value, moment, seconds) for key, value in values.items()],
                )


def _machine() -> Sample:
    """Return a function that samples this machine with MLflow's own monitors.

    GPUs are included if the package nvidia-ml-py is installed.
    """
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    monitors: list[Any] = [CPUMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no package, no driver, or no GPU
        monitors.append(GPUMonitor())

    def sample() -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return values

    return sample
