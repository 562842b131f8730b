"""Methods made of methods: a union of terms over one student, written `kd+at`, and wrappers, written `ls(dkd)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from methods._contract import Batch, Method, Needs, Output, Probe, Terms
from methods._settings import NonNegative, Setting, SettingError


class Composition(Method, checked=False):
    """The terms of all parts together. Cross-entropy counts once, with the largest of the parts' weights unless given.

    Each part keeps its own weights: `kd+at` is 1 CE + 0.9 KD + 1000 AT, because AT was published with full
    cross-entropy. `settings` holds each part's settings under its name. A stage before the training, and the training
    itself, are as long as the part that wants them longest. Raises SettingError where the parts learn from different
    networks, or more than one replaces the student's head at inference.
    """

    def __init__(self, parts: Mapping[str, Method], ce: float | None = None):
        nn.Module.__init__(self)
        self.parts = nn.ModuleDict(parts)
        self.methods: dict[str, Method] = dict(parts)
        self.ce = (
            max(part.ce for part in parts.values()) if ce is None else _weight(ce, "+".join(parts))
        )
        self.settings = {name: part.settings for name, part in parts.items()} | {"ce": self.ce}
        self.pre_training = max(part.pre_training for part in parts.values())
        self.length = max(part.length for part in parts.values())
        try:
            self.tapped()
        except ValueError as error:
            raise SettingError(f"{'+'.join(parts)}: {error}") from None

    def tapped(self) -> Needs:
        """The union of what the parts need."""
        union = Needs()
        for part in self.methods.values():
            union = union | part.tapped()
        return union

    def taught(self, early: bool) -> bool:
        """Whether a part needs the teacher, of those that take part in the stage."""
        return any(
            part.taught(early) for part in self.methods.values() if part.pre_training or not early
        )

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
        return _union({name: part(student, teacher, batch) for name, part in self.methods.items()})

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The terms of all parts that have such a stage."""
        early = {name: part for name, part in self.methods.items() if part.pre_training}
        return _union(
            {name: part.pre_train(student, teacher, batch) for name, part in early.items()}
        )

    def deployed(self) -> nn.Module | None:
        """The head of the part that has one. Raises SettingError where several have."""
        heads = {
            name: head
            for name, part in self.methods.items()
            if (head := part.deployed()) is not None
        }
        if len(heads) > 1:
            raise SettingError(
                f"{' and '.join(heads)} both replace the student's head; leave one out"
            )
        return next(iter(heads.values()), None)


class Wrapper(Method, checked=False):
    """A method that changes what another one sees; the settings, and everything else, are the other one's.

    published: settings that the wrapper's paper gives for a method, in place of that method's own defaults.
    """

    published: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A wrapper's constructor takes no settings, so none are checked."""
        super().__init_subclass__(checked=False, **kwargs)

    def __init__(self, inner: Method):
        nn.Module.__init__(self)
        self.inner = inner
        self.ce, self.settings = inner.ce, inner.settings
        self.pre_training, self.length = inner.pre_training, inner.length

    def tapped(self) -> Needs:
        """What the wrapped method needs."""
        return self.inner.tapped()

    def taught(self, early: bool) -> bool:
        """As the wrapped method."""
        return self.inner.taught(early)

    def supports(self, probe: Probe) -> str | None:
        """The wrapped method's reason."""
        return self.inner.supports(probe)

    def build(self, probe: Probe) -> None:
        """Builds the wrapped method."""
        self.inner.build(probe)


def _union(terms: Mapping[str, Terms]) -> Terms:
    union: Terms = {}
    for name, found in terms.items():
        for term, value in found.items():
            union[f"{name}.{term}" if term in union else term] = value
    return union


def _weight(ce: float, owner: str) -> float:
    value: float = Setting("ce", float, 1.0, NonNegative, None).checked(ce, owner)
    return value
