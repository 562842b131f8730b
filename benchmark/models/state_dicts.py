"""Finds the weights of a network in a checkpoint, which may contain several and much else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmark.records.checkpoints import Tensors

WRAPPERS = ("state_dict", "model", "net", "model_state_dict", "network", "weights", "params")
"""Keys under which programs store a network's weights, the most likely first."""

PREFIXES = ("module", "_orig_mod", "model", "net", "network", "student", "teacher")
"""First components that wrappers add to all names, such as DataParallel and torch.compile."""

_TRANSPARENT = ("_orig_mod", "module")
"""Components that wrappers of inner modules add anywhere in a name."""

_OTHERS = re.compile(r"optim|sched|scaler|rng|^opt$", re.IGNORECASE)
"""Keys of states that belong to no network."""

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg)([._]|$)", re.IGNORECASE)
"""Names of averaged weights."""

_COUNTER = "n_averaged"
"""The counter that PyTorch's AveragedModel stores beside the weights."""

STEP_COUNTER = "num_batches_tracked"
"""Suffix of BatchNorm's step counters, which old files lack."""

_DEPTH = 5
"""How deep weights may be nested."""


@dataclass(frozen=True)
class Entry:
    """Weights in a checkpoint.

    Attributes:
        name: The keys that lead to them, joined by dots; empty at the top level.
        tensors: The weights.
    """

    name: str
    tensors: Tensors

    @property
    def averaged(self) -> bool:
        """Whether these are averages of weights over the training."""
        return _AVERAGED.search(self.name) is not None

    @property
    def title(self) -> str:
        """The name, for messages."""
        return f"{self.name} (averaged)" if self.averaged else self.name or "the top level"

    @property
    def _rank(self) -> tuple[bool, list[int]]:
        """Plain weights first, then those under the most likely keys."""
        keys = [part for part in self.name.split(".") if part]
        return self.averaged, [_likelihood(key) for key in keys]

    @property
    def is_usual(self) -> bool:
        """Whether all its keys are those under which programs store a network's weights."""
        return not self.averaged and len(WRAPPERS) not in self._rank[1]


def _likelihood(key: str) -> int:
    return WRAPPERS.index(key) if key in WRAPPERS else len(WRAPPERS)


def entries(content: Any) -> list[Entry]:
    """Return all weights in a checkpoint, the most likely first."""
    found = [part for entry in _found(content, ()) for part in _divided(entry)]
    return sorted(found, key=lambda entry: entry._rank)


def _found(content: Any, keys: tuple[str, ...]) -> Iterator[Entry]:
    """Yield the dictionaries of tensors in a checkpoint."""
    if not isinstance(content, Mapping) or len(keys) > _DEPTH:
        return

    nested = [
        value
        for key, value in content.items()
        if isinstance(value, Mapping) and not str(key).endswith("_extra_state")
    ]
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not nested and any(tensor.dim() for tensor in tensors.values()):
        yield Entry(".".join(keys), tensors)
        return

    for key, value in content.items():
        if isinstance(key, str) and not _OTHERS.search(key):
            yield from _found(value, (*keys, key))


def _divided(entry: Entry) -> Iterator[Entry]:
    """Separate averaged weights that stand beside plain ones in one dictionary."""
    tensors = {name: value for name, value in entry.tensors.items() if name != _COUNTER}
    roots = {name.partition(".")[0] for name in tensors}
    averaged = {root for root in roots if _AVERAGED.search(root)}
    if not averaged or averaged == roots:
        yield Entry(entry.name, tensors)
        return

    for root in sorted(averaged):
        part = {name: value for name, value in tensors.items() if name.startswith(f"{root}.")}
        yield Entry(".".join(filter(None, (entry.name, root))), part)
    rest = {
        name: value for name, value in tensors.items() if name.partition(".")[0] in roots - averaged
    }
    yield Entry(entry.name, rest)


def fitted(tensors: Tensors, expected: Iterable[str]) -> Tensors:
    """Return weights under the names that a network gives them, as far as wrappers added to them.

    Args:
        tensors: The weights.
        expected: Names of the network's own weights; they are never shortened.
    """
    known = set(expected)
    names = {name: name for name in tensors}
    while not known.intersection(names.values()):
        roots = {name.partition(".")[0] for name in names.values()}
        (root, *others) = sorted(roots) or [""]
        if others or root not in (*PREFIXES, *_averaged_roots(roots)):
            break
        names = {old: new.partition(".")[2] for old, new in names.items()}

    fitting = {_without_wrappers(new, known): tensors[old] for old, new in names.items()}
    return fitting if len(fitting) == len(tensors) else tensors


def part_of_larger(tensors: Tensors, expected: Iterable[str]) -> tuple[str, Tensors] | None:
    """Return the part of a larger model's weights that is the whole of a network.

    Args:
        tensors: The weights, among which are other parts, such as those of a loss.
        expected: Names of the network's own weights.

    Returns:
        The first component of the part's names, and its weights; None if there is no such part.
    """
    known = set(expected)
    roots = {name.partition(".")[0] for name in tensors}
    if not known or known & tensors.keys():
        return None

    for root in PREFIXES:
        if root not in roots:
            continue
        part = {name: value for name, value in tensors.items() if name.startswith(f"{root}.")}
        fitting = fitted(part, known)
        if all(name in fitting or name.endswith(STEP_COUNTER) for name in known):
            return root, fitting
    return None


def _averaged_roots(roots: set[str]) -> set[str]:
    return {root for root in roots if _AVERAGED.search(root)}


def _without_wrappers(name: str, known: set[str]) -> str:
    """Return a name without the components of wrappers, unless the network has the whole name."""
    if name in known:
        return name

    parts = [part for part in name.split(".") if part != "_orig_mod"]
    shorter = ".".join(part for part in parts if part not in _TRANSPARENT)
    return shorter if shorter in known else ".".join(parts)
