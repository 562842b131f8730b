"""A server that goes away, two commands at once, and a disk that is full."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.torture.cases import Case, Outcome
from tests.torture.forks import Ended, background
from tests.torture.kills import REFERENCE, comparable, differences, reference
from tests.torture.place import STEPS, Place


@dataclass(frozen=True)
class Outage:
    """MLflow's server is killed while a study is being written to it, and comes back."""

    seed: int

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        draw = random.Random(self.seed)
        place = Place(folder / "place")
        expected, seconds = reference(place, folder / REFERENCE)
        place.start_anew()
        assert place.do("run").code == 0

        store, port = folder / f"server-{self.seed}", _free_port()
        store.mkdir(exist_ok=True)
        address = ("--tracking-uri", f"http://127.0.0.1:{port}")
        problems = []
        with _server(store, port):
            begun = background(
                place.path / "begun",
                *place.words("sync"),
                *address,
            )
            time.sleep(draw.uniform(0.2, 0.9) * 2 * seconds["sync"])
        broken = begun.wait()
        if broken.problem or broken.code not in (0, 1):
            problems.append(f"sync without a server: {broken.problem}, code {broken.code}")

        with _server(store, port):
            for _ in range(2):
                ended = place.do("sync", *address)
                if ended.code != 0:
                    problems.append(f"sync with the server again: {ended.err.strip()[-300:]}")
            unchanged = f"0 runs added, 0 updated, {len(place.cells()) + 1} unchanged"
            if not ended.out.startswith(unchanged):
                problems.append(f"a second sync still writes: {ended.out.strip()!r}")
            shown = place.do("verify", *address)
            if shown.code != 0:
                problems.append(f"verify: {shown.out.strip()[-300:]}")

        found = comparable(place.state(tracked=False, searched=False))
        problems += differences(_cells(expected), _cells(found))
        counts = {"outages": 1, "outages noticed by the command": int(broken.code == 1)}
        return Outcome(f"outage, seed {self.seed}", "; ".join(problems) or None, counts)


@dataclass(frozen=True)
class Twice:
    """The same command is started again while it runs."""

    step: str

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        place = Place(folder / "place")
        expected, seconds = reference(place, folder / REFERENCE)
        place.start_anew()
        problems = []
        for step in STEPS:
            if step != self.step:
                assert place.do(step).code == 0
                continue

            first = background(place.path / "first", *place.words(step), environment=place.inline)
            time.sleep(0.4 * seconds[step])
            second = place.do(step)
            problems += _problems_of_two(first.wait(), second)

        problems += differences(expected, comparable(place.state()))
        return Outcome(f"{self.step} twice", "; ".join(problems) or None, {"double starts": 1})


def _problems_of_two(first: Ended, second: Ended) -> list[str]:
    problems = []
    if first.code != 0 or first.problem:
        problems.append(f"the first ends with {first.code}: {first.err.strip()[-300:]}")
    refused = second.code == 2 and "is already" in second.err and second.err.count("kdbench:") == 1
    if second.problem or (second.code != 0 and not refused):
        problems.append(f"the second ends with {second.code}: {second.err.strip()[-300:]}")
    return problems


_OUTPUT = 14
"""Logarithm of a size that no output of a command exceeds, which goes to a file as well."""


@dataclass(frozen=True)
class Full:
    """There is no room on the disk, or files may not become larger; then there is.

    Attributes:
        seed: Seed of the draws.
        real: Whether a file system of its own is filled, which only root can mount.
    """

    seed: int
    real: bool

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        draw = random.Random(self.seed)
        place = Place(folder / "place")
        expected, _ = reference(place, folder / REFERENCE)
        place.start_anew()
        counts = {"full disks": 0, "limited files": 0}
        problems = []

        with _mounted(place.workspace) if self.real else nullcontext():
            for step in STEPS:
                limit = int(2 ** draw.uniform(10 if self.real else _OUTPUT, 18))
                if self.real:
                    with _filled(place.workspace, limit):
                        ended = place.do(step)
                else:
                    ended = place.do(step, before=_limit(limit))
                problems += _problems_of_full(step, limit, ended)
                counts["full disks" if self.real else "limited files"] += ended.code != 0

                again = place.do(step)
                if again.code != 0:
                    problems.append(f"{step} afterwards: {again.err.strip()[-300:]}")
            problems += differences(expected, comparable(place.state()))

        case = f"{'full disk' if self.real else 'limited files'}, seed {self.seed}"
        return Outcome(case, "; ".join(problems) or None, counts)


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    """Mount a file system in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def _filled(folder: Path, room: int) -> Iterator[None]:
    """Leave so many bytes of a file system free."""
    filler = folder / ".filler"
    free = shutil.disk_usage(folder).free
    filler.write_bytes(bytes(max(free - room, 0)))
    try:
        yield
    finally:
        filler.unlink()


def can_mount(folder: Path) -> bool:
    """Return whether this process can mount a file system."""
    probe = folder / "mount"
    probe.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        return False
    subprocess.run(["umount", probe], check=True)
    return True


def _problems_of_full(step: str, limit: int, ended: Ended) -> list[str]:
    name = f"{step} with room for {limit} bytes"
    if ended.problem:
        return [f"{name} {ended.problem}: {ended.err.strip()[-300:]}"]
    if ended.code == 0:
        return []
    lines = [line for line in ended.err.splitlines() if line.startswith("kdbench:")]
    told = [line for line in lines if "/" in line and ";" in line]
    return [] if told else [f"{name} names no file and remedy: {ended.err.strip()[-300:]}"]


def _limit(size: int) -> Callable[[], None]:
    """Return a function that limits the size of files in its process."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


def _cells(state: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in state.items() if name.split()[0] in ("cell", "teacher")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _server(folder: Path, port: int) -> Iterator[None]:
    """Run MLflow's server; it is killed at the end, not stopped."""
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = [
        *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words, *stores], stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await(f"http://127.0.0.1:{port}/health", process)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("MLflow's server does not start")


def cases(outages: int, full: int, seed: int, *, mounts: bool) -> list[Case]:
    """Return outages and full disks, and each command started twice.

    Args:
        outages: Number of outages.
        full: Number of studies that meet a full disk or limited files at each command.
        seed: The first seed.
        mounts: Whether file systems can be mounted.
    """
    return [
        *(Outage(seed + number) for number in range(outages)),
        *(Twice(step) for step in STEPS),
        *(Full(seed + number, mounts and number % 2 == 0) for number in range(full)),
    ]
