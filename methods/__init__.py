"""Distillation methods: losses checked against reference values, for any training loop.

Example:
    from methods import Batch, Output, create

    kd = create("kd", temperature=4)
    terms = kd(Output(student_logits), Output(teacher_logits), Batch(labels, index))
    loss = kd.ce * cross_entropy + sum(weight * value for weight, value in terms.values())
"""

from methods._contract import (
    Batch,
    Method,
    NotBuiltError,
    Paper,
    Probe,
    Side,
    Terms,
    UnsupportedPairError,
)
from methods._discovery import Tappable, discover
from methods._dot import Dot
from methods._registration import (
    RegistrationError,
    register,
    scoped_registrations,
    unregister,
)
from methods._registry import (
    UnknownMethodError,
    baseline,
    create,
    description,
    get,
    module,
    names,
    origin,
    parts,
    reference,
    schema,
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
    "suggest",
    "tap",
    "unregister",
]
