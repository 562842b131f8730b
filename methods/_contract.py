"""What a distillation method is: a loss over two outputs and a batch, never a trainer.

A method's file holds a pure function (the paper's formula) and a thin `Method` around it, which holds the settings and
the adapters. The engine reads what the method `needs`, asks `supports`, calls `build` once with probed shapes, and then
calls it once per batch; cross-entropy with the weight `ce` is added by the engine. What goes beyond a loss is declared:
another network as teacher (`Needs.companion`), a second view of the images (`Needs.views`), a stage before the training
(`pre_training`), a longer training (`length`), another network at inference (`deployed`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
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


Companion = Literal["", "peer", "earlier", "untrained"]


@dataclass(frozen=True)
class Needs:
    """What the engine must give to a method; whatever is not asked for is None or empty in its `Output`.

    logits: the teacher's logits (the student's are always there). embedding: both pooled penultimate features.
    maps: both networks' stage maps, aligned from the deepest stage on. preactivations: the same before each stage's
    last activation. pooled: the map whose average over positions is the embedding; None for a network that has none.
    classifier: the layer between embedding and logits. views: the logits of a second, strongly augmented view.
    companion: which network stands in for the study's teacher: a `peer` of the student's architecture that learns
    beside it, an `earlier` one that was trained alone before, or an `untrained` one of the teacher's architecture.
    """

    logits: bool = False
    embedding: bool = False
    maps: bool = False
    preactivations: bool = False
    pooled: bool = False
    classifier: bool = False
    views: bool = False
    companion: Companion = ""

    def __or__(self, other: Needs) -> Needs:
        """What two methods need together. Raises ValueError where they would learn from different networks."""
        sources = {needs.companion or "teacher" for needs in (self, other) if needs.any}
        if len(sources) > 1:
            raise ValueError(
                f"one learns from the {' and one from the '.join(sorted(sources))} network"
            )
        names = ("logits", "embedding", "maps", "preactivations", "pooled", "classifier", "views")
        either = {name: getattr(self, name) or getattr(other, name) for name in names}
        return Needs(**either, companion=self.companion or other.companion)

    @property
    def any(self) -> bool:
        """Whether anything is needed of another network."""
        return self.logits or self.embedding or self.stages or self.classifier or self.views

    @property
    def stages(self) -> bool:
        """Whether anything is needed from inside the networks."""
        return self.maps or self.preactivations or self.pooled

    @property
    def teacher(self) -> bool:
        """Whether the study's teacher is needed at all."""
        return self.any and not self.companion


@dataclass(frozen=True)
class Classifier:
    """The layer from embedding to logits.  weight: [classes, D]; bias: [classes], or None."""

    weight: Tensor
    bias: Tensor | None = None

    def __call__(self, embedding: Tensor) -> Tensor:
        """[..., D] -> logits [..., classes]."""
        return F.linear(embedding, self.weight, self.bias)


@dataclass(frozen=True)
class Output:
    """What one network gave for one batch.

    logits: [N, classes], before the softmax. embedding: [N, D], the input of the classifier. maps: one [N, C, H, W] per
    stage, shallow to deep; teacher and student have equally many, paired stage by stage from the deep end.
    preactivations: the same before each stage's last activation; the maps themselves where the network has none.
    pooled: [N, D, H, W], whose average over positions is the embedding. second: logits of the second view.
    The teacher's output for a method that needs nothing of it has empty logits, [0].
    """

    logits: Tensor
    embedding: Tensor | None = None
    maps: tuple[Tensor, ...] = ()
    preactivations: tuple[Tensor, ...] = ()
    pooled: Tensor | None = None
    classifier: Classifier | None = None
    second: Tensor | None = None


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
    """Shapes of one network's taps without the batch axis; empty where it cannot be tapped.

    classifier: whether the logits are a linear function of the embedding.
    """

    logits: tuple[int, ...]
    embedding: tuple[int, ...] = ()
    maps: tuple[tuple[int, ...], ...] = ()
    pooled: tuple[int, ...] = ()
    classifier: bool = False


@dataclass(frozen=True)
class Probe:
    """What the engine measured of a pair before training: all that a method's adapters may be built from.

    samples: in the training set. labels: int64 [samples], theirs. classifier: the teacher's. notes: why a tap such as
    "student.maps" is missing.
    """

    student: Shapes
    teacher: Shapes
    samples: int
    batch_size: int
    notes: dict[str, str] = field(default_factory=dict)
    labels: Tensor | None = None
    classifier: Classifier | None = None


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
    control: ClassVar[bool] = False
    """Whether this is a control: it says what is gained without anything that a teacher knows."""
    wraps: ClassVar[str] = ""
    """Of a wrapper: the method that it wraps where none is named."""
    assumes_batch: ClassVar[int | None] = None
    """The batch size that the published weight was found with, where the loss depends on it in no simple way."""

    taught_early: ClassVar[bool] = False
    """Whether the teacher is needed in the stage before the training alone."""

    settings: dict[str, Any]
    ce: float = 1.0
    pre_training: float = 0.0
    """Length of the stage before the training, as a share of the recipe's epochs; it is rounded up."""
    length: float = 1.0
    """Epochs of the training, as a multiple of the recipe's."""

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

    def taught(self, early: bool) -> bool:
        """Whether the study's teacher is needed in the stage before the training (`early`), or in the training."""
        return self.tapped().teacher and (early or not self.taught_early)

    def supports(self, probe: Probe) -> str | None:
        """Why this method cannot run on a pair, in a few words; None if it can."""
        needs = self.tapped()
        maps = needs.maps or needs.preactivations
        for side, shapes in (("student", probe.student), ("teacher", probe.teacher)):
            for what, wanted in (("embedding", needs.embedding), ("maps", maps)):
                if wanted and not getattr(shapes, what):
                    return lacking(probe, side, what)
        if needs.classifier and not probe.teacher.classifier:
            return lacking(probe, "teacher", "classifier")
        return None

    def build(self, probe: Probe) -> None:
        """Makes adapters and memory banks. Random numbers come from torch's global stream, which the engine seeds."""

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The loss terms of one batch, computed in float32 whatever the precision of the networks."""
        raise NotImplementedError

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """The loss terms of one batch of the stage before the training, whose whole loss they are."""
        raise NotImplementedError

    def deployed(self) -> nn.Module | None:
        """What makes the logits at inference, from the student's `Output`; None where it is the student's own head."""
        return None


def lacking(probe: Probe, side: str, what: str) -> str:
    """The reason that a network has no tap of a kind."""
    return f"{what} of the {side}: {probe.notes.get(f'{side}.{what}', 'cannot be tapped')}"
