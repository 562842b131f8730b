"""The contract of a distillation method: a loss on two outputs and a batch, not a trainer.

A method's file contains the paper's formula as a pure function, and a thin `Method` around it with
the settings and the adapters. The engine reads the method's `needs`, checks that it `supports` the
pair, calls `build` once with the probed shapes, and then calls the method once per batch.
The engine adds cross-entropy, weighted by the method's `ce`.

Anything beyond a loss is declared: a network that replaces the teacher (`Needs.companion`), a
second view of the images (`Needs.views`), a stage before the training (`pre_training`), a longer
training (`length`), another head at inference (`deployed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from methods._hooks import (
    also_on_single_samples,
    building,
    once_built,
    refuse_unsupported,
    single_sample_obstacle,
)
from methods._settings import NonNegative, Setting, checked_constructor, settings_of
from methods._tapping import stage_count, tap
from methods._taps import TAPS, Classifier, Needs, Output, Shapes

Terms = dict[str, tuple[float, Tensor]]
"""Maps the name of a loss term to (weight, raw scalar value). The loss is the weighted sum."""

Side = Literal["student", "teacher"]


@dataclass(frozen=True)
class Paper:
    """The publication that introduced a method."""

    title: str
    authors: str
    venue: str
    year: int
    link: str

    def __str__(self) -> str:
        title = self.title if self.title.endswith(("?", "!")) else f"{self.title}."
        return f"{self.authors.rstrip('.')}. {title} {self.venue} {self.year}. {self.link}"


@dataclass(frozen=True)
class Batch:
    """Data about a batch that a method may use besides the outputs.

    Attributes:
        labels: Class labels, [N] int64. For images mixed by mixup or CutMix, the label with the
            larger share.
        index: Fixed index of each sample in the training set, [N] int64, 0 to samples - 1.
        epoch: Current epoch, counted from 0.
        epochs: Total number of epochs.
    """

    labels: Tensor
    index: Tensor
    epoch: int = 0
    epochs: int = 1


@dataclass(frozen=True)
class Probe:
    """Properties of a pair that the engine determines before training; used to build adapters.

    Attributes:
        student: Shapes of the student's taps.
        teacher: Shapes of the teacher's taps.
        samples: Size of the training set.
        batch_size: Number of samples per batch.
        notes: Why taps are missing, by name, such as "student.maps".
        labels: Labels of the training set, int64 [samples].
        classifier: The teacher's classifier.
        zero_classifier: Whether the weights of the student's classifier start at zero.
    """

    student: Shapes
    teacher: Shapes
    samples: int
    batch_size: int
    notes: dict[str, str] = field(default_factory=dict)
    labels: Tensor | None = None
    classifier: Classifier | None = None
    zero_classifier: bool = False

    @classmethod
    def of(
        cls,
        student: nn.Module,
        teacher: nn.Module,
        example: Tensor,
        *,
        samples: int | None = None,
        batch_size: int | None = None,
        labels: Tensor | None = None,
    ) -> Probe:
        """Probe two networks: find out what can be tapped in them, and in which shapes.

        Args:
            student: The student, tapped or not; see `tap` for the networks that can be tapped.
            teacher: The teacher, tapped or not.
            example: A batch of the networks' inputs, [N, ...].
            samples: Size of the training set. If not given, it is the number of labels, or, without
                labels, unknown (0): methods with memory banks refuse that.
            batch_size: Number of samples per batch; that of the example if not given.
            labels: Labels of the training set, int64 [samples].

        Raises:
            TypeError: If a network returns neither logits nor an `Output`.
            ValueError: If the number of labels is not `samples`, or a network's `Output` is wrong.
        """
        known = 0 if labels is None else len(labels)
        if labels is not None and samples not in (None, known):
            raise ValueError(
                f"there are {known} labels, but {samples} samples; give one per sample"
            )

        own, other = tap(student, example), tap(teacher, example)
        depth = stage_count(len(own.shapes.maps), len(other.shapes.maps))
        notes = {f"student.{name}": reason for name, reason in own.notes.items()}
        notes |= {f"teacher.{name}": reason for name, reason in other.notes.items()}
        return cls(
            student=replace(own.shapes, maps=own.shapes.maps[-depth:]),
            teacher=replace(other.shapes, maps=other.shapes.maps[-depth:]),
            samples=known if samples is None else samples,
            batch_size=len(example) if batch_size is None else batch_size,
            notes=notes,
            labels=labels,
            classifier=other.classifier(),
            zero_classifier=starts_at_zero(own.classifier()),
        )


class Method(nn.Module):
    """Base class of all methods.

    Adapters and memory banks are submodules and buffers, so they are trained and saved along with
    the student. The constructor's signature is the schema of the settings, with published values as
    defaults where there are any (the file's docstring says whose they are); arguments are checked
    before the constructor runs (see `_settings.py`). Every constructor has a setting `ce`, the
    weight of cross-entropy.
    """

    paper: ClassVar[Paper | None] = None
    formula: ClassVar[str] = ""
    """The loss in one line, in words or symbols, for the card and the table of methods."""
    needs: ClassVar[Needs] = Needs()
    small: ClassVar[dict[str, Any]] = {}
    """Settings that keep tests fast if the defaults are expensive."""
    baseline: ClassVar[bool] = False
    """Whether this method trains the student alone, as a teacher is trained. Exactly one does."""
    reference: ClassVar[bool] = False
    """Whether this is the one method with which the other rows of a table are compared."""
    minimum: float | None = None
    """Value of every raw term when student and teacher agree; None if there are adapters."""
    control: ClassVar[bool] = False
    """Whether this is a control: without a trained teacher, or without its soft outputs."""
    has_terms: bool = True
    """Whether the method adds terms to the loss; False if the loss is only cross-entropy."""
    adversarial: bool = False
    """Whether the adapters are trained to increase the loss instead of decreasing it."""
    changes_by_epoch: bool = False
    """Whether numbers that Python computes for the loss, such as a weight, depend on the epoch."""
    capturable: bool = True
    """Whether a step only queues work on the device, so that it can be captured in a CUDA graph."""
    registered: ClassVar[str] = ""
    """Name under which `register` knows the class; "" for the files of this package."""
    wraps: ClassVar[str] = ""
    """The method that a wrapper wraps by default; "" if this is not a wrapper."""
    assumes_batch: ClassVar[int | None] = None
    """Batch size assumed by the published weight, if the loss depends on it nonlinearly."""
    taught_early: ClassVar[bool] = False
    """Whether the teacher is needed only in the stage before the training."""

    built: bool = True
    """Whether the method can be called: False until `build` has run, if the class overrides it."""

    settings: dict[str, Any]
    ce: float = 1.0
    pre_training: float = 0.0
    """Length of the stage before the training, as a fraction of the recipe's epochs, rounded up."""
    length: float = 1.0
    """Length of the training, as a multiple of the recipe's epochs."""

    def __init_subclass__(cls, checked: bool = True, **kwargs: Any) -> None:
        """Make the constructor check its arguments, and the other methods that `build` has run.

        Args:
            checked: False if the constructor's arguments are not settings.
            **kwargs: Passed to the parent class.
        """
        super().__init_subclass__(**kwargs)
        if checked and "__init__" in cls.__dict__:
            cls.__init__ = checked_constructor(cls.__init__)  # type: ignore[method-assign]

        own = cls.__dict__
        if "build" in own:
            setattr(cls, "build", building(own["build"]))  # noqa: B010
            cls.built = own.get("built", False)
        if "supports" in own:
            setattr(cls, "supports", also_on_single_samples(own["supports"]))  # noqa: B010
        for hook in ("forward", "pre_train", "deployed"):
            if hook in own:
                setattr(cls, hook, once_built(own[hook]))

        # A subclass is another row, so neither its name nor its flags are inherited.
        cls.registered = ""
        cls.baseline = cls.__dict__.get("baseline", False)
        cls.reference = cls.__dict__.get("reference", False)

    @checked_constructor
    def __init__(self, ce: Annotated[float, NonNegative] = 1.0):
        super().__init__()
        self.ce = ce

    @classmethod
    def schema(cls) -> dict[str, Setting]:
        """Return the settings by name."""
        return settings_of(cls.__init__)

    def tapped(self) -> Needs:
        """Return the needs of this instance, by default those that the class declares."""
        return self.needs

    def taught(self, early: bool) -> bool:
        """Return whether the study's teacher is needed.

        Args:
            early: True for the stage before the training, False for the training itself.
        """
        return self.tapped().teacher and (early or not self.taught_early)

    def supports(self, probe: Probe) -> str | None:
        """Return a short reason why this method cannot run on a pair; None if it can.

        An override need not check the batch size: where batches have one sample, a trial step shows
        whether the BatchNorm layers of the adapters can be trained.
        """
        needs = self.tapped()
        demanded = []
        if needs.embedding:
            demanded.append("embedding")
        if needs.maps or needs.preactivations:
            demanded.append("maps")

        reason = missing(probe, "student", demanded) or missing(probe, "teacher", demanded)
        if reason is None and needs.classifier:
            reason = missing(probe, "teacher", ["classifier"])
        return reason or single_sample_obstacle(self, probe)

    def caution(self, probe: Probe) -> str | None:
        """Return a warning about a pair on which this method runs, but may not learn; else None.

        Call it before `build`. It warns of students whose classifier starts at zero, if a trial
        step has gradients that are thousands of times larger than usual.
        """
        from methods import _trial

        return _trial.steep_start(self, probe)

    def build(self, probe: Probe) -> Any:
        """Create adapters and memory banks. Call this once, before the first batch.

        An override returns nothing. Random numbers come from torch's global generator, which the
        engine seeds.

        Args:
            probe: The pair, for instance from `Probe.of`.

        Returns:
            The method itself, also where a class overrides this.

        Raises:
            UnsupportedPairError: If the method does not support the pair.
        """
        refuse_unsupported(self, probe)
        return self

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return the loss terms of one batch, in float32 regardless of the networks' precision."""
        raise NotImplementedError

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """Return the loss terms of one batch in the stage before the training, its entire loss."""
        raise NotImplementedError

    def deployed(self) -> nn.Module | None:
        """Return the module that maps the student's `Output` to logits at inference.

        Return None if the student keeps its own head.
        """
        return None


def missing(probe: Probe, side: Side, shapes: Sequence[str]) -> str | None:
    """Return why a network lacks one of the given taps; None if it has all of them.

    Args:
        probe: The pair.
        side: Which of the two networks to check.
        shapes: Names of fields of `Shapes`.
    """
    for shape in shapes:
        if not getattr(getattr(probe, side), shape):
            return lacking(probe, side, shape)
    return None


def starts_at_zero(classifier: Classifier | None) -> bool:
    """Return whether all weights of a classifier are zero, as in mixer, resmlp and gmlp of timm."""
    return classifier is not None and not bool(classifier.weight.any())


def lacking(probe: Probe, side: Side, shape: str) -> str:
    """Return a message saying that a network lacks a tap, with the reason if known."""
    title = next(tap.title for tap in TAPS if tap.name == shape)
    reason = probe.notes.get(f"{side}.{shape}", "cannot be tapped")
    return f"{title} of the {side}: {reason}"
