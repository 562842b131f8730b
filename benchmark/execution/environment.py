"""Chooses the device, and describes the environment that is recorded whenever a cell starts."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark import RULES, __version__
from benchmark.errors import InputError, first_line
from benchmark.execution.changed_files import changed_files, commit, with_digests
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.precision import keep_float32


def device(name: str | None) -> torch.device:
    """Return a device after checking that it works.

    Args:
        name: `cpu`, `cuda` or `cuda:N`; None for the GPU if there is one, else the CPU.

    Raises:
        InputError: The device cannot be used.
    """
    default = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name or default)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        remedy = "omit --device, or use cpu"
        raise InputError(
            f"--device: {name!r} cannot be used here ({first_line(error)}); {remedy}"
        ) from None
    return chosen


def check_engine(engine: EngineChoice, device: torch.device) -> None:
    """Check that a device can run steps as chosen.

    Raises:
        InputError: It cannot.
    """
    if engine is EngineChoice.GRAPHS and device.type != "cuda":
        raise InputError(
            f"--engine: graphs needs a GPU, but the device is {device}; omit it, or use eager"
        )


def make_repeatable() -> None:
    """Make cuDNN and cuBLAS use the same kernels in every run, and keep float32 exact."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # same bits on every stream
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    keep_float32()


def environment(device: torch.device, sources: Mapping[str, Path] | None = None) -> dict[str, str]:
    """Return everything, apart from the configuration, that can change the exact bits of a result.

    Args:
        device: The device used for training.
        sources: Files of the modules that decide the results of the study, by module name.
    """
    sources = sources or {}
    changes = changed_files(sources)
    plugins = {
        path.name: path
        for name, path in sources.items()
        if not name.startswith(("benchmark.", "methods."))
    }
    cuda = device.type == "cuda"
    versions = {name: version(name) for name in ("timm", "torchvision", "numpy")}
    return {
        "kdbench": __version__,
        "rules": str(RULES),
        "git_commit": f"{commit()}+changes" if changes else commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **versions,
        "platform": platform.platform(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if cuda else _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "cuda": str(torch.version.cuda) if cuda else "",
        "cudnn": str(torch.backends.cudnn.version()) if cuda else "",
        **_listed("changes", changes),
        **_listed("plugins", plugins),
    }


def _listed(name: str, files: Mapping[str, Path]) -> dict[str, str]:
    """Return an entry that lists files with their digests; nothing if there are no files."""
    return {name: with_digests(files)} if files else {}


def _processor() -> str:
    """Return the processor's name, preferably from /proc, as Python's name is less precise."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []

    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
