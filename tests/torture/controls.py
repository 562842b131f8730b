"""Faults that the torture must notice: otherwise it proves nothing."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import benchmark
from benchmark import seeds
from benchmark.failpoint import failpoint
from benchmark.records.chain import Chain, Extent
from benchmark.training import checkpointing
from tests.torture.cases import Case, Outcome
from tests.torture.corruptions import Corruption
from tests.torture.kills import AtPoint

NOTICED = ("differs from the undisturbed study", "silently accepted", "ends with")
"""What problems say that are due to a fault of the program."""


@dataclass(frozen=True)
class Control:
    """Cases under a fault; all is well if one of them shows a problem.

    Attributes:
        name: What is wrong with the program.
        fault: Makes it so, in this process.
        cases: Cases of which one must fail.
    """

    name: str
    fault: Callable[[], None] = field(repr=False)
    cases: tuple[Case, ...]

    def __call__(self, folder: Path) -> Outcome:
        """Run the cases in a process that stays faulty, until one shows a problem.

        They are compared with an undisturbed study of the same faulty program.
        """
        faulty = folder / "faulty"
        shutil.rmtree(faulty, ignore_errors=True)
        faulty.mkdir()
        child = os.fork()
        if child == 0:
            self._become_faulty(faulty)

        noticed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        problem = None if noticed else "is not noticed"
        return Outcome(f"control: {self.name}", problem, {"controls": 1, "noticed": int(noticed)})

    def _become_faulty(self, folder: Path) -> None:
        """Exit with 0 if a case shows a problem; never returns."""
        code = 1
        try:
            self.fault()
            problems = (case(folder).problem or "" for case in self.cases)
            code = 0 if any(word in text for text in problems for word in NOTICED) else 1
        finally:
            os._exit(code)


def lose_random_streams() -> None:
    """Draw the random numbers of a step from a stream that no checkpoint contains."""
    torch.manual_seed(0)  # each command continues from here
    seeds.reseed = lambda *_: None


def lose_optimizers() -> None:
    """Leave what `load_states` restores, such as momentum, as it is at the start."""
    for module in _modules():
        if getattr(module, "load_states", None) is checkpointing.load_states:
            module.load_states = lambda *_: None
    checkpointing.load_states = lambda *_: None


def overwrite() -> None:
    """Write into files, instead of replacing them."""

    def write(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            failpoint("write.before_replace")
            file.write(content[len(content) // 2 :])

    from benchmark import files

    original = files.write_atomically
    for module in _modules():
        if getattr(module, "write_atomically", None) is original:
            module.write_atomically = write


def check_no_chain() -> None:
    """Take any record for the next one, and any journal for a whole one."""
    Chain.continues = lambda *_: True  # type: ignore[method-assign]
    Extent.begins = lambda *_: True  # type: ignore[method-assign]


def _modules() -> list[Any]:
    found = pkgutil.walk_packages(benchmark.__path__, "benchmark.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return [importlib.import_module(name) for name in names]


def cases(seed: int) -> list[Case]:
    """Return all controls."""
    killed = AtPoint("checkpoint.written")
    way = "edited_with_checksum"  # nothing but the chain can find it
    edited = tuple(Corruption(seed + number, "journals", way) for number in range(20))
    return [
        Control("random streams are not saved", lose_random_streams, (killed,)),
        Control("optimizers are not saved", lose_optimizers, (killed,)),
        Control("files are overwritten", overwrite, (AtPoint("write.before_replace"),)),
        Control("the chain is not checked", check_no_chain, edited),
    ]
