"""The template that authors copy keeps every promise of a method, but is not in the registry."""

from __future__ import annotations

import pytest
import torch

import methods
from methods import get
from methods._template import CosineMargin, margin_loss
from methods.testing import MethodConformance, Subject


class TestTemplate(MethodConformance):
    subjects = (Subject.of_class(CosineMargin),)


def test_the_template_is_not_a_method_of_the_registry():
    assert "_template" not in methods.names()
    with pytest.raises(methods.UnknownMethodError):
        get("_template")


def test_the_templates_loss_is_its_formula():
    student = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
    teacher = torch.tensor([[3.0, 0.0], [5.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    cosines = [1.0, 0.0, 0.5**0.5]
    expected = sum(max(0.0, 0.9 - cosine) for cosine in cosines) / 3
    assert margin_loss(student, teacher, 0.9).item() == pytest.approx(expected, rel=1e-12)
