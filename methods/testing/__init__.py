"""Conformance tests: the requirements on every method, as a pytest class.

A test file for your own methods:

    from methods.testing import MethodConformance, Subject
    from my_methods import MyMethod

    class TestMyMethods(MethodConformance):
        subjects = [Subject.of_class(MyMethod)]

Methods get inputs in the form in which the engine passes them: float32, and only the taps that they
request.
"""

import pytest

pytest.register_assert_rewrite(
    "methods.testing._minimum",
    "methods.testing._state",
    "methods.testing._taps",
    "methods.testing._terms",
)

from methods.testing._cases import Conformance, Subject  # noqa: E402
from methods.testing._minimum import MinimumConformance  # noqa: E402
from methods.testing._state import StateConformance  # noqa: E402
from methods.testing._taps import TapConformance  # noqa: E402
from methods.testing._terms import TermConformance  # noqa: E402

__all__ = [
    "Conformance",
    "MethodConformance",
    "MinimumConformance",
    "StateConformance",
    "Subject",
    "TapConformance",
    "TermConformance",
]


class MethodConformance(TermConformance, MinimumConformance, StateConformance, TapConformance):
    """All conformance tests. Subclass it and set `subjects`."""
