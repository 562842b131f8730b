"""A new method is one new file: without any other edit it is listed, tested, and trained."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import methods
from tests.support.records import read_journal
from tests.support.studies import folders, tiny, write_study

pytestmark = pytest.mark.subprocess

ROOT = Path(__file__).parents[2]
NAME = "cosine_margin"
SOURCE = (ROOT / "methods" / "_template.py").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with a copy of the template as one more method."""
    folder = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("benchmark", "docs", "methods", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")

    method = folder / "methods" / f"{NAME}.py"
    assert not method.exists()
    method.write_text(SOURCE)
    return folder


def python(checkout: Path, *arguments: str) -> str:
    """Run a module in the copy, importing nothing of the original, and return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["COLUMNS"] = "200"
    command = [sys.executable, "-m", *arguments]
    process = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def pytest_in(checkout: Path, *arguments: str) -> str:
    """Run tests in the copy."""
    return python(checkout, "pytest", *arguments, "-p", "no:cacheprovider", "--no-header")


def test_a_new_method_is_listed_and_has_a_card(checkout: Path) -> None:
    listing = python(checkout, "benchmark", "methods")
    (line,) = (line for line in listing.splitlines() if line.startswith(f"{NAME} "))
    assert "Cosine margin" in line
    assert "VENUE 2030" in line

    card = python(checkout, "benchmark", "methods", NAME)
    for text in ("Title of the Paper", "mean over the batch", "0.9", "log-uniform"):
        assert text in card


def test_a_new_method_is_held_to_what_every_method_promises(checkout: Path) -> None:
    report = pytest_in(checkout, "tests/methods/test_conformance.py", "-k", NAME)
    (passed,) = re.findall(r"(\d+) passed", report)
    assert int(passed) > 10
    assert "failed" not in report


def test_a_method_that_breaks_a_promise_is_reported(checkout: Path) -> None:
    attached = "own, target = embeddings(student, teacher)"
    leaking = "own, target = student.embedding, teacher.embedding"
    assert attached in SOURCE
    broken = checkout / "methods" / "margin_leaking.py"
    broken.write_text(SOURCE.replace(attached, leaking).replace("teacher.detach()", "teacher"))
    try:
        with pytest.raises(AssertionError, match="1 failed"):
            pytest_in(
                checkout,
                "tests/methods/test_conformance.py",
                "-k",
                "margin_leaking and nothing_of and alike",
                "-x",
            )
    finally:
        broken.unlink()


def test_a_new_method_leaves_the_tests_of_the_registry_and_of_the_committed_page_green(
    checkout: Path,
) -> None:
    report = pytest_in(
        checkout,
        "tests/methods/test_registry.py",
        "tests/cli/test_applicability.py",
        "-m",
        "not slow",
    )
    assert NAME not in (checkout / "docs" / "methods.md").read_text()
    assert "failed" not in report


def test_a_star_in_a_study_stands_for_a_new_method_beside_the_others(
    checkout: Path, workspace: Path
) -> None:
    study = write_study(workspace / "study.yaml", tiny(["*"], recipe={"epochs": 1}))
    run = ["--workspace", str(workspace), "run", str(study), "--device", "cpu", "--dry-run"]
    plan = [line.split() for line in python(checkout, "benchmark", *run).splitlines()]
    rows = {words[1] for words in plan if words[0] == "pair"}
    assert {*methods.names(), NAME} <= rows


def test_a_new_method_is_trained(checkout: Path, workspace: Path) -> None:
    study = write_study(workspace / "study.yaml", tiny([NAME], recipe={"epochs": 1}))
    run = ["--workspace", str(workspace), "run", str(study), "--no-track", "--device", "cpu"]
    python(checkout, "tests.support.brief", *run)

    cell = folders(workspace)[f"{NAME}/0"]
    records = read_journal(cell / "journal.jsonl")
    (metrics,) = (record["metrics"] for record in records if record["kind"] == "epoch")
    assert metrics[f"loss/{NAME}"] > 0
    assert metrics[f"weight/{NAME}"] == 1.0
    total = metrics["loss/ce"] + metrics[f"loss/{NAME}"]
    assert metrics["loss/total"] == pytest.approx(total, rel=1e-4)
    done = json.loads((cell / "done.json").read_text())
    assert "test/agreement" in done["metrics"]
