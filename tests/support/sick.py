"""A plug-in whose method ends or blocks its process, and studies in which it has companions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.studies import tiny

METHOD = '''
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

from kdbench.methods import Method, Needs, NonNegative, register


def hang():
    while True:
        time.sleep(0.05)


class Unusual(BaseException):
    pass


def raise_unusual():
    raise Unusual("not an Exception")


def exit_beside_a_child():
    child = os.fork()  # which has all files of this process open
    if child == 0:
        time.sleep(60)
        os._exit(0)
    Path(os.environ["SICK_COUNT"]).with_name("child").write_text(str(child))
    os._exit(3)


WAYS = (
    lambda: os._exit(0),
    lambda: os._exit(3),
    lambda: sys.exit(4),
    lambda: ctypes.string_at(0),
    lambda: os.kill(os.getpid(), signal.SIGKILL),  # as the kernel does when memory runs out
    lambda: os.abort(),
    hang,
    raise_unusual,
    exit_beside_a_child,
    lambda: bytearray(1 << 60),
)


@register("sick")
class Sick(Method):
    """Ends its process in the second batch of the second epoch."""

    formula = "none"
    needs = Needs(logits=True)

    def __init__(
        self,
        way: Annotated[int, NonNegative] = 0,
        times: Annotated[int, NonNegative] = 1000,
        building: Annotated[int, NonNegative] = 0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.way, self.times, self.building, self.ce = way, times, building, ce
        self.seen = -1
        self.step = 0

    def build(self, probe):
        super().build(probe)
        if self.building:
            self.act()

    def forward(self, student, teacher, batch):
        self.step = self.step + 1 if batch.epoch == self.seen else 0
        self.seen = batch.epoch
        if (batch.epoch, self.step) == (1, 1) and not self.building:
            self.act()
        return {"soft": (1.0, (student.logits - teacher.logits.detach()).square().mean())}

    def act(self):
        count = Path(os.environ["SICK_COUNT"])
        before = int(count.read_text()) if count.exists() else 0
        if before < self.times:
            count.write_text(str(before + 1))
            time.sleep(0.5)  # by then, the last epoch is on the disk
            WAYS[self.way]()
'''

NETWORK = '''
import os

import torch

from benchmark.models.zoo._register import register
from tests.support.networks import Tiny


class SickNetwork(Tiny):
    """Ends its process in the second batch that it is trained on."""

    seen = 0

    def stem(self, x):
        if self.training and torch.is_grad_enabled() and len(x) == 16:
            self.seen += 1
            if self.seen == 2:
                os._exit(9)
        return x


register(SickNetwork, {"tests_sick": {"widths": (8, 16, 32)}}, first_conv="stage1.0.conv")
'''

SICK_NETWORK = "tests_sick"

EXIT_0, EXIT_3, SYSTEM_EXIT, SEGFAULT, KILL, ABORT, HANG, UNUSUAL, CHILD, OUT_OF_MEMORY = range(10)


def sick_row(way: int, **settings: int) -> dict[str, Any]:
    """Return a row with a sick method."""
    return {"method": "sick", "settings": {"way": way, **settings}}


def sick_study(folder: Path, rows: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """Return a study whose rows may be sick; any process can build its networks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sick_methods.py").write_text(METHOD)
    (folder / "sick_networks.py").write_text(NETWORK)
    plugins = ["tests.support.networks", "./sick_methods.py", *changes.pop("plugins", [])]
    return tiny(rows, plugins=plugins, **changes)
