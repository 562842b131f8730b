"""The public Python API, and what it costs to import it."""

from __future__ import annotations

import subprocess
import sys

import benchmark


def test_the_public_api_is_the_version_of_the_package_and_of_its_rules():
    assert benchmark.__all__ == ["RULES", "__version__"]
    assert isinstance(benchmark.RULES, int)
    assert all(part.isdigit() for part in benchmark.__version__.split("."))


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("torch", "mlflow", "optuna", "pandas")
    code = f"import sys, benchmark; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
