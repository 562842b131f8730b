"""The operations that PyTorch lists as not deterministic on CUDA.

The list is that of `torch.use_deterministic_algorithms`. Convolutions are left out, because the
engine makes cuDNN deterministic. Many operations differ from run to run only if indices repeat.
Sums of whole numbers are left out as well: they are the same in any order.
"""

from __future__ import annotations

from collections.abc import Callable

from methods.testing._waits import is_mask
from tests.support.pretended.call import Call


def unstable(call: Call) -> bool:
    """Return whether PyTorch lists an operation, with such arguments, as not deterministic."""
    condition = CONDITIONS.get(call.name)
    return condition is not None and condition(call)


def _always(call: Call) -> bool:
    return True


def _overwrites(call: Call) -> bool:
    """Whether elements are replaced at indices: a mask never names one twice."""
    indices = call.argument("indices")
    return not call.argument("accumulate", False) and not all(map(is_mask, indices))


def _is_floating(call: Call) -> bool:
    return call.on_device[0].is_floating_point()


def _is_weighted(call: Call) -> bool:
    return call.argument("weights") is not None


def _has_source(call: Call) -> bool:
    return call.argument("src") is not None


def _finds_index(call: Call) -> bool:
    return call.argument("dim") is not None


CONDITIONS: dict[str, Callable[[Call], bool]] = {
    "aten._adaptive_avg_pool2d_backward": _always,
    "aten._adaptive_avg_pool3d_backward": _always,
    "aten.adaptive_max_pool2d_backward": _always,
    "aten.avg_pool3d_backward": _always,
    "aten.fractional_max_pool2d_backward": _always,
    "aten.max_pool3d_with_indices_backward": _always,
    "aten.max_unpool2d": _always,
    "aten.upsample_linear1d_backward": _always,
    "aten.upsample_bilinear2d_backward": _always,
    "aten._upsample_bilinear2d_aa_backward": _always,
    "aten.upsample_bicubic2d_backward": _always,
    "aten._upsample_bicubic2d_aa_backward": _always,
    "aten.upsample_trilinear3d_backward": _always,
    "aten.reflection_pad1d_backward": _always,
    "aten.reflection_pad2d_backward": _always,
    "aten.replication_pad1d_backward": _always,
    "aten.replication_pad2d_backward": _always,
    "aten.grid_sampler_2d_backward": _always,
    "aten.nll_loss2d_forward": _always,
    "aten.nll_loss2d_backward": _always,
    "aten._ctc_loss_backward": _always,
    "aten.embedding_dense_backward": _always,
    "aten.bincount": _is_weighted,
    "aten.cumsum": _is_floating,
    "aten.cumsum_": _is_floating,
    "aten.histc": _always,
    "aten.index_add": _always,  # also the gradient of index_select
    "aten.index_add_": _always,
    "aten.index_copy": _always,
    "aten.index_copy_": _always,
    "aten.index_put": _overwrites,
    "aten.index_put_": _overwrites,
    "aten.median": _finds_index,
    "aten.put_": _always,
    "aten.scatter": _has_source,
    "aten.scatter_": _has_source,
    "aten.scatter_add": _is_floating,  # also the gradient of gather
    "aten.scatter_add_": _is_floating,
    "aten.scatter_reduce": _always,
    "aten.scatter_reduce_": _always,
}
"""Whether a call of an operation is meant, by the operation's name."""
