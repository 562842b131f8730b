"""Distillation methods: losses proved against reference values, usable in any training loop.

Example:
    from methods import Batch, Output, create

    kd = create("kd", temperature=4)
    terms = kd(Output(student_logits), Output(teacher_logits), Batch(labels, index))
    loss = kd.ce * cross_entropy + sum(weight * value for weight, value in terms.values())
"""

from methods._contract import Batch, Classifier, Method, Needs, Output, Paper, Probe, Shapes, Terms
from methods._dot import Dot
from methods._registry import (
    UnknownMethodError,
    baseline,
    create,
    get,
    module,
    names,
    parts,
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
)

__all__ = [
    "Batch",
    "Bound",
    "Choice",
    "Classifier",
    "Dot",
    "LogUniform",
    "Method",
    "Needs",
    "NonNegative",
    "Output",
    "Paper",
    "Positive",
    "Probe",
    "Setting",
    "SettingError",
    "Shapes",
    "Terms",
    "Uniform",
    "UnknownMethodError",
    "baseline",
    "create",
    "get",
    "module",
    "names",
    "parts",
    "schema",
]
