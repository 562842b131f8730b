"""Methods made of methods: sums of terms for one student, `kd+at`, and wrappers, `ls(dkd)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from methods._contract import Batch, Method, Probe, Terms
from methods._settings import NonNegative, Setting, SettingError
from methods._taps import Needs, Output


class Composition(Method, checked=False):
    """The terms of several methods together.

    Each part keeps its own weights: `kd+at` is 1 CE + 0.9 KD + 1000 AT, because AT was published
    with full cross-entropy. Cross-entropy counts once, with the largest of the parts' weights
    unless `ce` is given. The training, and likewise the stage before it, lasts as long as the
    longest that any part requires. `settings` contains the settings of each part under that part's
    name, and `ce`.
    """

    built = True  # each part checks for itself

    def __init__(self, parts: Mapping[str, Method], ce: float | None = None):
        """Combine methods.

        Args:
            parts: The methods by name.
            ce: Weight of cross-entropy; None for the largest of the parts' weights.

        Raises:
            SettingError: If `ce` is invalid, or if the parts learn from different networks.
        """
        nn.Module.__init__(self)
        name = "+".join(parts)
        self.parts = nn.ModuleDict(parts)
        self.methods: dict[str, Method] = dict(parts)

        if ce is None:
            self.ce = max(part.ce for part in parts.values())
        else:
            self.ce = Setting("ce", float, 1.0, NonNegative, None).checked(ce, name)
        self.settings = {key: part.settings for key, part in parts.items()} | {"ce": self.ce}
        self.pre_training = max(part.pre_training for part in parts.values())
        self.length = max(part.length for part in parts.values())
        self.changes_by_epoch = any(part.changes_by_epoch for part in parts.values())
        self.capturable = all(part.capturable for part in parts.values())

        try:
            self.tapped()
        except ValueError as error:
            raise SettingError(f"{name}: {error}") from None

    def tapped(self) -> Needs:
        """Return the needs of all parts together."""
        union = Needs()
        for part in self.methods.values():
            union = union | part.tapped()
        return union

    def taught(self, early: bool) -> bool:
        """Return whether any part that is active in the stage needs the teacher."""
        parts = self._early_parts() if early else self.methods
        return any(part.taught(early) for part in parts.values())

    def supports(self, probe: Probe) -> str | None:
        """Return the first reason why a part cannot run, prefixed with the part's name."""
        for name, part in self.methods.items():
            if reason := part.supports(probe):
                return f"{name}: {reason}"
        return None

    def caution(self, probe: Probe) -> str | None:
        """Return the first warning of a part, prefixed with the part's name."""
        for name, part in self.methods.items():
            if warning := part.caution(probe):
                return f"{name}: {warning}"
        return None

    def build(self, probe: Probe) -> None:
        """Build each part."""
        for part in self.methods.values():
            part.build(probe)

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return all terms; a term whose name is taken is prefixed with its part's name."""
        return _union({name: part(student, teacher, batch) for name, part in self.methods.items()})

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return the terms of all parts that have a stage before the training."""
        parts = self._early_parts()
        return _union(
            {name: part.pre_train(student, teacher, batch) for name, part in parts.items()}
        )

    def deployed(self) -> nn.Module | None:
        """Return the head that one of the parts deploys in place of the student's own, if any.

        Raises:
            SettingError: If several parts replace the student's head.
        """
        heads = {name: part.deployed() for name, part in self.methods.items()}
        replaced = {name: head for name, head in heads.items() if head is not None}

        if len(replaced) > 1:
            names = " and ".join(replaced)
            raise SettingError(f"{names} both replace the student's head; leave one out")
        return next(iter(replaced.values()), None)

    def _early_parts(self) -> dict[str, Method]:
        return {name: part for name, part in self.methods.items() if part.pre_training}


class Wrapper(Method, checked=False):
    """A method that changes the inputs of another method and otherwise behaves like it.

    Attributes:
        published: Settings that the wrapper's paper gives for a method, by the method's name. They
            replace the method's own defaults.
    """

    published: ClassVar[dict[str, dict[str, Any]]] = {}
    built = True  # the wrapped method checks for itself

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Leave the constructor unchecked: its argument is a method, not a setting."""
        super().__init_subclass__(checked=False, **kwargs)

    def __init__(self, inner: Method):
        nn.Module.__init__(self)
        self.inner = inner
        self.ce = inner.ce
        self.settings = inner.settings
        self.pre_training = inner.pre_training
        self.length = inner.length
        self.minimum = inner.minimum
        self.has_terms = inner.has_terms
        self.adversarial = inner.adversarial
        self.changes_by_epoch = inner.changes_by_epoch
        self.capturable = inner.capturable

    def tapped(self) -> Needs:
        """Return what the wrapped method needs."""
        return self.inner.tapped()

    def taught(self, early: bool) -> bool:
        """Return whether the wrapped method needs the teacher."""
        return self.inner.taught(early)

    def supports(self, probe: Probe) -> str | None:
        """Return why the wrapped method cannot run on a pair; None if it can."""
        return self.inner.supports(probe)

    def build(self, probe: Probe) -> None:
        """Build the wrapped method."""
        self.inner.build(probe)

    def deployed(self) -> nn.Module | None:
        """Return the head that the wrapped method deploys."""
        return self.inner.deployed()


def _union(terms: Mapping[str, Terms]) -> Terms:
    union: Terms = {}
    for part, part_terms in terms.items():
        for name, term in part_terms.items():
            key = f"{part}.{name}" if name in union else name
            union[key] = term
    return union
