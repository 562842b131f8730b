"""Every file of the folder, a composition and a wrapped method keep what every method promises."""

from __future__ import annotations

import pytest

import methods
from methods.testing import MethodConformance, Subject

pytestmark = pytest.mark.broad


class TestMethods(MethodConformance):
    subjects = tuple(Subject.named(name) for name in (*methods.names(), "kd+fitnet", "ls(dkd)"))
