"""Makes `python -m pytest --pyargs methods.testing --methods FILE.py` know its option.

pytest imports this file in every session of an environment that kdbench is installed in, so it lies
outside of `methods`, which imports PyTorch, and does nothing unless `methods.testing` is asked for.
"""

from __future__ import annotations

import pytest

SUITE = "methods.testing"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Load the conformance tests' own plugin before the command line is read."""
    packages = {argument.partition("::")[0] for argument in args}
    if SUITE in packages:
        early_config.pluginmanager.import_plugin(f"{SUITE}._plugin")
