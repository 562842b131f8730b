"""Another process imports the same kdbench as this one, wherever it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import benchmark
from benchmark import child_python


def test_another_process_imports_the_kdbench_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    for folder in (tmp_path / "benchmark", other / "benchmark"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "version.py").write_text("print('another package')")
    (other / "mine.py").write_text("import benchmark, sys\nprint(benchmark.__file__, sys.argv[1:])")
    monkeypatch.setenv("PYTHONPATH", str(other))

    found = subprocess.run(
        child_python.command("mine", "first", "second"),
        env=child_python.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"{benchmark.__file__} ['first', 'second']\n"


def test_variables_are_added_to_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    root = str(Path(benchmark.__file__).parents[1])
    found = child_python.environment(ADDED="2")
    assert (found["KEPT"], found["ADDED"], found["PYTHONPATH"]) == ("1", "2", root)
