"""A pretended GPU for machines without one: the numbers of the CPU, and the rules of CUDA.

    with pretended_gpu() as gpu:
        model.to("cuda")(torch.rand(2, 3, 8, 8, device="cuda")).sum().backward()

    gpu.record.syncs       # where a GPU would have made the program wait
    gpu.record.launches    # the operations that would have been at least one kernel each

A tensor "on cuda" wraps a tensor on the CPU. Every operation that PyTorch dispatches, below
autograd, is checked by CUDA's device rules, noted, and computed on the CPU. The bits are therefore
those of the CPU (`host.py` says what of the CPU), and the whole engine runs. `rules.py` says what
CUDA refuses and what it waits for.

It cannot show numerics, speed and memory of real kernels, nor their random draws. Autocast lowers
products alone, as it does on a CPU in most networks (`casts.py`).
"""

from tests.support.pretended.device import CUDA, DeviceTensor
from tests.support.pretended.host import DispatchedCpu
from tests.support.pretended.mode import PretendedGpu, pretended_gpu
from tests.support.pretended.record import Record, Sync
from tests.support.pretended.rules import DeviceMismatchError
from tests.support.pretended.script import Line

__all__ = [
    "CUDA",
    "DeviceMismatchError",
    "DeviceTensor",
    "DispatchedCpu",
    "Line",
    "PretendedGpu",
    "Record",
    "Sync",
    "pretended_gpu",
]
