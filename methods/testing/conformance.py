"""All conformance tests on the methods that the option `--methods` names."""

from __future__ import annotations

import pytest

from methods.testing import MethodConformance
from methods.testing._plugin import SUBJECTS


class TestMethods(MethodConformance):
    """Tests of methods from elsewhere."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize the tests by the methods of this session."""
        type(self).subjects = metafunc.config.stash[SUBJECTS]
        super().pytest_generate_tests(metafunc)
