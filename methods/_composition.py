"""Several methods as one: the union of their terms over one student, written `kd+at`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from methods._contract import Batch, Method, Needs, Output, Probe, Terms
from methods._settings import NonNegative, Setting


class Composition(Method, checked=False):
    """The terms of all parts together. Cross-entropy counts once, with the largest of the parts' weights unless given.

    Each part keeps its own weights: `kd+at` is 1 CE + 0.9 KD + 1000 AT, because AT was published with full
    cross-entropy. `settings` holds each part's settings under its name.
    """

    def __init__(self, parts: Mapping[str, Method], ce: float | None = None):
        nn.Module.__init__(self)
        self.parts = nn.ModuleDict(parts)
        self.methods: dict[str, Method] = dict(parts)
        self.ce = max(part.ce for part in parts.values()) if ce is None else _weight(ce, "+".join(parts))
        self.settings = {name: part.settings for name, part in parts.items()} | {"ce": self.ce}

    def tapped(self) -> Needs:
        """The union of what the parts need."""
        union = Needs()
        for part in self.methods.values():
            union = union | part.tapped()
        return union

    def supports(self, probe: Probe) -> str | None:
        """The first part's reason, with the part's name."""
        for name, part in self.methods.items():
            if reason := part.supports(probe):
                return f"{name}: {reason}"
        return None

    def build(self, probe: Probe) -> None:
        """Builds each part."""
        for part in self.methods.values():
            part.build(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """All terms; a name that two parts share gets its part's name in front."""
        union: Terms = {}
        for name, part in self.methods.items():
            for term, value in part(student, teacher, batch).items():
                union[f"{name}.{term}" if term in union else term] = value
        return union


def _weight(ce: float, owner: str) -> float:
    value: float = Setting("ce", float, 1.0, NonNegative, None).checked(ce, owner)
    return value
