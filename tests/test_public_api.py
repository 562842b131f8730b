"""The public Python API, and what it costs to import it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import benchmark
import kdbench


def test_the_public_api_is_the_version_of_the_package_and_of_its_rules():
    assert benchmark.__all__ == ["RULES", "__version__"]
    assert isinstance(benchmark.RULES, int)
    assert all(part.isdigit() for part in benchmark.__version__.split("."))


def test_the_python_interface_is_a_few_functions_and_two_packages():
    assert kdbench.__all__ == [
        "InputError",
        "LoadedStudy",
        "TrackingError",
        "__version__",
        "leaderboard",
        "load_student",
        "load_study",
        "methods",
        "plugins",
        "run",
        "runs",
        "tune",
    ]
    assert all(getattr(kdbench, name) is not None for name in kdbench.__all__)
    assert kdbench.__version__ == benchmark.__version__


@pytest.mark.parametrize("package", ["benchmark", "kdbench"])
def test_importing_a_package_imports_no_heavy_library(package):
    heavy = ("torch", "mlflow", "optuna", "pandas")
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
