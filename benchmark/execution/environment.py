"""Chooses the device, and describes the environment that is recorded whenever a cell starts."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark import RULES, __version__
from benchmark.errors import InputError, first_line


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


def make_repeatable() -> None:
    """Make cuDNN use the same deterministic kernels in every run."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def environment(device: torch.device) -> dict[str, str]:
    """Return everything, apart from the configuration, that can change the exact bits of a result.

    Args:
        device: The device used for training.
    """
    cuda = device.type == "cuda"
    versions = {name: version(name) for name in ("timm", "torchvision", "numpy")}
    return {
        "kdbench": __version__,
        "rules": str(RULES),
        "git_commit": _commit(),
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
    }


def _processor() -> str:
    """Return the processor's name, preferably from /proc, as Python's name is less precise."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []

    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str:
    """Return the commit of the package's checkout, with "+changes" if tracked files are modified.

    The result is empty if the package does not run from a Git checkout.
    """
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+changes" if changes else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    folder = Path(__file__).parent
    process = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return process.stdout.strip()
