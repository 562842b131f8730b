"""The taps of a network, and how a method requests them.

The fields of `Needs` are the only list of taps; `TAPS`, `Output.only` and `Shapes.available` are
derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

Companion = Literal["", "peer", "earlier", "untrained"]


@dataclass(frozen=True)
class Tap:
    """A kind of output that a method can request.

    Attributes:
        name: Field of `Needs` that requests the tap.
        title: Name in tables and messages.
        output: Field of `Output` that contains the tap.
        shape: Field of `Shapes` that shows whether a network has the tap; "" if every one has.
        internal: Whether the tap is taken from inside the network.
    """

    name: str
    title: str
    output: str
    shape: str
    internal: bool = False


def _tap(**details: Any) -> Any:
    """Declare a field of `Needs` that requests a tap, with details that differ from the name."""
    return field(default=False, metadata={"tap": details})


@dataclass(frozen=True)
class Needs:
    """Outputs that a method requests. All others are None or empty in its `Output`.

    Attributes:
        logits: The teacher's logits. The student's are always given.
        embedding: Pooled penultimate features of both networks.
        maps: Stage maps of both networks, paired from the deepest stage on.
        preactivations: Stage maps before each stage's last activation.
        pooled: The map whose average over positions is the embedding; None if a network has no such
            map.
        classifier: The layer from embedding to logits.
        views: Logits of a second, strongly augmented view of the images.
        companion: Network that takes the place of the study's teacher: a `peer` of the student's
            architecture that learns alongside the student, an `earlier` network of that
            architecture that was trained alone beforehand, or an `untrained` network of the
            teacher's architecture.
    """

    logits: bool = _tap()
    embedding: bool = _tap()
    maps: bool = _tap(internal=True)
    preactivations: bool = _tap(title="maps before the activation", shape="maps", internal=True)
    pooled: bool = _tap(title="pooled map", internal=True)
    classifier: bool = _tap()
    views: bool = _tap(title="two views", output="second", shape="")
    companion: Companion = ""

    def __or__(self, other: Needs) -> Needs:
        """Combine the needs of two methods.

        Raises:
            ValueError: If they learn from different networks.
        """
        sources = {needs.companion or "teacher" for needs in (self, other) if needs.any}
        if len(sources) > 1:
            networks = " and ".join(sorted(sources))
            raise ValueError(f"the methods learn from different networks: {networks}")

        union = Needs.of(*(tap.name for tap in (*self.taps, *other.taps)))
        return replace(union, companion=self.companion or other.companion)

    @classmethod
    def of(cls, *taps: str) -> Needs:
        """Request taps by name."""
        asked: dict[str, Any] = dict.fromkeys(taps, True)
        return cls(**asked)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """The requested taps."""
        return tuple(tap for tap in TAPS if getattr(self, tap.name))

    @property
    def any(self) -> bool:
        """Whether anything is needed from another network."""
        return bool(self.taps)

    @property
    def stages(self) -> bool:
        """Whether anything is needed from inside the networks."""
        return any(tap.internal for tap in self.taps)

    @property
    def teacher(self) -> bool:
        """Whether the study's teacher is needed."""
        return self.any and not self.companion


def _all_taps() -> Iterator[Tap]:
    for definition in fields(Needs):
        if "tap" in definition.metadata:
            name = definition.name
            details = {"title": name, "output": name, "shape": name, **definition.metadata["tap"]}
            yield Tap(name, **details)


TAPS = tuple(_all_taps())
"""Everything that can be tapped, in the order of the fields of `Needs`."""


@dataclass(frozen=True)
class Classifier:
    """The linear layer from embedding to logits.

    Attributes:
        weight: Weights [classes, D].
        bias: Biases [classes], or None.
    """

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, embedding: Tensor) -> Tensor:
        """Map embeddings [..., D] to logits [..., classes]."""
        return F.linear(embedding, self.weight, self.bias)


@dataclass(frozen=True)
class Output:
    """Output of one network for one batch.

    Attributes:
        logits: Logits [N, classes]; empty, [0], if they are a teacher's and not needed.
        embedding: Input of the classifier, [N, D].
        maps: One map [N, C, H, W] per stage, shallow to deep. Teacher and student have equally many
            maps, paired from the deepest stage on.
        preactivations: Like `maps`, before each stage's last activation; the maps themselves where
            the network has no such activation.
        pooled: Map [N, D, H, W] whose average over positions is the embedding.
        classifier: The layer from embedding to logits.
        second: Logits of the second view, [N, classes].
    """

    logits: Tensor
    embedding: Tensor | None = None
    maps: tuple[Tensor, ...] = ()
    preactivations: tuple[Tensor, ...] = ()
    pooled: Tensor | None = None
    classifier: Classifier | None = None
    second: Tensor | None = None

    def only(self, needs: Needs) -> Output:
        """Drop every tap that was not requested, including the logits."""
        kept = {tap.output: getattr(self, tap.output) for tap in needs.taps}
        if not needs.logits:
            kept["logits"] = self.logits.new_empty(0)
        return Output(**kept)

    def map(self, function: Callable[[Tensor], Tensor]) -> Output:
        """Apply a function to every tensor, including those of the classifier."""

        def mapped(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            if isinstance(value, tuple):
                return tuple(mapped(tensor) for tensor in value)
            if isinstance(value, Classifier):
                return Classifier(mapped(value.weight), mapped(value.bias))
            return value

        return Output(*(mapped(getattr(self, tap.name)) for tap in fields(self)))


@dataclass(frozen=True)
class Shapes:
    """Shapes of one network's taps without the batch axis; empty for a tap that the network lacks.

    Attributes:
        logits: (classes,).
        embedding: (D,).
        maps: (C, H, W) of each stage.
        pooled: (D, H, W).
        classifier: Whether the logits are a linear function of the embedding.
    """

    logits: tuple[int, ...]
    embedding: tuple[int, ...] = ()
    maps: tuple[tuple[int, ...], ...] = ()
    pooled: tuple[int, ...] = ()
    classifier: bool = False

    @property
    def available(self) -> Needs:
        """All taps that one forward pass of a network with these shapes can provide."""
        return Needs.of(*(tap.name for tap in TAPS if tap.shape and getattr(self, tap.shape)))
