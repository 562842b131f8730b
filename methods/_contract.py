"""What a distillation method is: a loss over two outputs and a batch, never a trainer.

A method's file holds a pure function (the paper's formula) and a thin `Method` around it, which holds the settings and
the adapters. The engine reads what the method `needs`, asks `supports`, calls `build` once with probed shapes, and then
calls it once per batch; cross-entropy with the weight `ce` is added by the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from methods._settings import Setting, checked_constructor, settings_of

Terms = dict[str, tuple[float, Tensor]]
"""Name of a loss term -> (its weight, its raw scalar value). The loss is the weighted sum."""


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    title: str
    authors: str
    venue: str
    year: int
    link: str

    def __str__(self) -> str:
        title = self.title if self.title.endswith(("?", "!")) else f"{self.title}."
        return f"{self.authors.rstrip('.')}. {title} {self.venue} {self.year}. {self.link}"


@dataclass(frozen=True)
class Needs:
    """What the engine must tap for a method; whatever is not asked for is None or empty in its `Output`.

    logits: the teacher's logits (the student's are always there). embedding: both pooled penultimate features.
    maps: both networks' stage maps, aligned from the deepest stage on.
    """

    logits: bool = False
    embedding: bool = False
    maps: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(self.logits or other.logits, self.embedding or other.embedding, self.maps or other.maps)

    @property
    def teacher(self) -> bool:
        """Whether a teacher is needed at all."""
        return self.logits or self.embedding or self.maps


@dataclass(frozen=True)
class Output:
    """What one network gave for one batch.

    logits: [N, classes], before the softmax. embedding: [N, D], the input of the classifier. maps: one [N, C, H, W] per
    stage, shallow to deep; teacher and student have equally many, paired stage by stage from the deep end.
    The teacher's output for a method that needs nothing of it has empty logits, [0].
    """

    logits: Tensor
    embedding: Tensor | None = None
    maps: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a method may know of a batch besides the outputs.

    labels: [N] int64; of the larger part where mixup or CutMix mixed two images. index: [N] int64, each sample's fixed
    place in the training set, 0 to samples-1.
    epoch: counted from 0. epochs: how many there will be.
    """

    labels: Tensor
    index: Tensor
    epoch: int = 0
    epochs: int = 1


@dataclass(frozen=True)
class Shapes:
    """Shapes of one network's taps without the batch axis; empty where it cannot be tapped."""

    logits: tuple[int, ...]
    embedding: tuple[int, ...] = ()
    maps: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Probe:
    """What the engine measured of a pair before training: all that a method's adapters may be built from."""

    student: Shapes
    teacher: Shapes
    samples: int
    batch_size: int
    notes: dict[str, str] = field(default_factory=dict)


class Method(nn.Module):
    """Base class of all methods. Adapters and memory banks are submodules and buffers, so they train and are saved.

    The constructor's signature is the schema of the settings, with published values as defaults. Every constructor has
    `ce`, the weight of cross-entropy. Nothing of the constructor's arguments is checked by hand: see `_settings.py`.
    """

    paper: ClassVar[Paper | None] = None
    formula: ClassVar[str]
    """The loss in one line, in words or symbols, as the card and the table of methods show it."""
    needs: ClassVar[Needs] = Needs()
    small: ClassVar[dict[str, Any]] = {}
    """Settings that make a test quick, where the defaults are heavy."""
    baseline: ClassVar[bool] = False
    """Whether this is the student alone, which all others are measured against and teachers are trained with."""
    minimum: ClassVar[float | None] = None
    """Value of every raw term when student and teacher give the same output; None where adapters stand between."""

    settings: dict[str, Any]
    ce: float = 1.0

    def __init_subclass__(cls, checked: bool = True, **kwargs: Any) -> None:
        """Makes the subclass's constructor check its arguments; `checked=False` where they are not settings."""
        super().__init_subclass__(**kwargs)
        if checked and "__init__" in cls.__dict__:
            cls.__init__ = checked_constructor(cls.__init__)  # type: ignore[method-assign]

    @classmethod
    def schema(cls) -> dict[str, Setting]:
        """The settings by name."""
        return settings_of(cls.__init__)

    def tapped(self) -> Needs:
        """What this instance needs: the class's declaration, unless its settings decide."""
        return self.needs

    def supports(self, probe: Probe) -> str | None:
        """Why this method cannot run on a pair, in a few words; None if it can."""
        needs = self.tapped()
        for side, shapes in (("student", probe.student), ("teacher", probe.teacher)):
            for what in ("embedding", "maps"):
                if getattr(needs, what) and not getattr(shapes, what):
                    why = probe.notes.get(f"{side}.{what}", "cannot be tapped")
                    return f"{what} of the {side}: {why}"
        return None

    def build(self, probe: Probe) -> None:
        """Makes adapters and memory banks. Random numbers come from torch's global stream, which the engine seeds."""

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The loss terms of one batch, computed in float32 whatever the precision of the networks."""
        raise NotImplementedError
