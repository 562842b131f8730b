"""Distillation methods: losses checked against reference values, for any training loop.

Example:
    from methods import Batch, Output, create

    kd = create("kd", temperature=4)
    terms = kd(Output(student_logits), Output(teacher_logits), Batch(labels, index))
    loss = kd.ce * cross_entropy + sum(weight * value for weight, value in terms.values())
"""

from methods._contract import Batch, Method, Paper, Probe, Side, Terms
from methods._dot import Dot
from methods._registry import (
    RegistrationError,
    UnknownMethodError,
    baseline,
    create,
    get,
    module,
    names,
    origin,
    parts,
    reference,
    register,
    schema,
    unregister,
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
    "Terms",
    "Uniform",
    "UnknownMethodError",
    "baseline",
    "create",
    "get",
    "module",
    "names",
    "origin",
    "parts",
    "reference",
    "register",
    "schema",
    "suggest",
    "unregister",
]
