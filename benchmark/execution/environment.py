"""What a number depends on besides the study: versions, machine, threads, commit. Recorded at every start of a cell."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from benchmark import RULES, __version__
from benchmark.errors import InputError, first_line


def device(name: str | None) -> torch.device:
    """The device of that name; the GPU if there is one, by default. Raises InputError for one that cannot be used."""
    try:
        found = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"--device: {name!r} cannot be used here ({first_line(error)}); leave it out, or say cpu"
        ) from None
    return found


def make_repeatable() -> None:
    """Has cuDNN choose the same deterministic kernels every time."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def environment(device: torch.device) -> dict[str, str]:
    """All that the bits of a result are known to depend on."""
    cuda = device.type == "cuda"
    return {
        "kdbench": __version__,
        "rules": str(RULES),
        "git_commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("timm", "torchvision", "numpy")},
        "platform": platform.platform(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if cuda else _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "cuda": str(torch.version.cuda) if cuda else "",
        "cudnn": str(torch.backends.cudnn.version()) if cuda else "",
    }


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str:
    """The commit of the checkout that this program runs from, with "+changes" if files differ; "" outside one."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git("rev-parse", "HEAD")
        return commit + (
            "+changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
