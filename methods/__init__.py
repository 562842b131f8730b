"""Distillation methods: losses checked against reference values, for any training loop.

Example:
    from kdbench.methods import Batch, Probe, create, tap

    student, teacher = tap(student, images), tap(teacher, images)
    crd = create("crd").build(Probe.of(student, teacher, images, labels=all_labels))
    terms = crd(student(images), teacher(images), Batch(labels, index))
    loss = crd.ce * cross_entropy + sum(weight * value for weight, value in terms.values())

docs/library.md shows a whole loop, and how to add methods from elsewhere with `register`.
"""

from methods._contract import (
    Batch,
    Method,
    Paper,
    Probe,
    Side,
    Terms,
    starts_at_zero,
)
from methods._discovery import Tappable, discover
from methods._dot import Dot
from methods._hooks import NotBuiltError, UnsupportedPairError
from methods._loading import BrokenMethodError, UnknownMethodError
from methods._registration import (
    RegistrationError,
    register,
    scoped_registrations,
    unregister,
)
from methods._registry import (
    baseline,
    broken,
    create,
    description,
    get,
    module,
    names,
    origin,
    parts,
    reference,
    schema,
    usable,
)
from methods._settings import (
    Bound,
    Choice,
    LogUniform,
    NonNegative,
    Positive,
    Setting,
    SettingError,
    Uniform,
    suggest,
)
from methods._tapping import Tapped, paired, tap
from methods._taps import TAPS, Classifier, Companion, Needs, Output, Shapes, Tap

__all__ = [
    "TAPS",
    "Batch",
    "Bound",
    "BrokenMethodError",
    "Choice",
    "Classifier",
    "Companion",
    "Dot",
    "LogUniform",
    "Method",
    "Needs",
    "NonNegative",
    "NotBuiltError",
    "Output",
    "Paper",
    "Positive",
    "Probe",
    "RegistrationError",
    "Setting",
    "SettingError",
    "Shapes",
    "Side",
    "Tap",
    "Tappable",
    "Tapped",
    "Terms",
    "Uniform",
    "UnknownMethodError",
    "UnsupportedPairError",
    "baseline",
    "broken",
    "create",
    "description",
    "discover",
    "get",
    "module",
    "names",
    "origin",
    "paired",
    "parts",
    "reference",
    "register",
    "schema",
    "scoped_registrations",
    "starts_at_zero",
    "suggest",
    "tap",
    "unregister",
    "usable",
]
