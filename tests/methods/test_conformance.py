"""Every file of the folder, a composition and a wrapped method keep what every method promises."""

from __future__ import annotations

import pytest

import methods
from methods.testing import MethodConformance, Subject

pytestmark = pytest.mark.broad


COMBINED = ("kd+fitnet", "ls(dkd)", "ls(ctkd)", "ls(nkd)")


class TestMethods(MethodConformance):
    subjects = tuple(Subject.named(name) for name in (*methods.usable(), *COMBINED))


def test_every_method_is_usable_and_none_is_broken() -> None:
    assert methods.broken() == {}
