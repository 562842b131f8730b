"""A new method is one new file: without any other edit it is listed, tested, and trained."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import methods
from tests.support.records import read_journal
from tests.support.studies import folders, tiny, write_study

pytestmark = pytest.mark.subprocess

ROOT = Path(__file__).parents[2]
NAME, TERM = "dropped_in", "cosine_margin"
"""Name of the new file, which no author would choose, and the term of the template's loss."""

PLAN_AND_RUN = """
import sys

from tests.support.commandline import kdbench
from tests.support.quick import quicken

quicken()

workspace, every, study = sys.argv[1:]
common = ("--workspace", workspace, "run", "--device", "cpu")
for words in ((every, "--dry-run"), (study, "--no-track")):
    found = kdbench(*common, *words)
    print(found.out)
    assert found.code == 0, found.err
"""
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
    """Run Python in the copy, importing nothing of the original, and return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["COLUMNS"] = "200"
    command = [sys.executable, *arguments]
    process = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def pytest_in(checkout: Path, *arguments: str) -> str:
    """Run tests in the copy."""
    return python(checkout, "-m", "pytest", *arguments, "-p", "no:cacheprovider", "--no-header")


def test_a_new_method_has_a_card_keeps_what_every_method_promises_and_breaks_no_test(
    checkout: Path,
) -> None:
    every = ("test_registry", "test_applicability", "test_the_list_of_methods")
    report = pytest_in(
        checkout,
        *("tests/methods/test_conformance.py", "tests/methods/test_registry.py"),
        *("tests/cli/test_methods.py", "tests/cli/test_applicability.py"),
        *("-m", "not slow", "-k", " or ".join((NAME, *every)), "--junit-xml=report.xml"),
    )
    assert "failed" not in report
    names = [
        case.attrib["name"] for case in ElementTree.parse(checkout / "report.xml").iter("testcase")
    ]
    assert len([name for name in names if NAME in name]) > 10
    for test in ("test_a_methods_card", "test_the_list_of_methods", "test_the_texts_of_the_page"):
        assert [name for name in names if name.startswith(test)]
    assert NAME not in (checkout / "docs" / "methods.md").read_text()


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_new_method_is_in_the_star_of_a_study_and_is_trained(
    checkout: Path, workspace: Path
) -> None:
    every = write_study(workspace / "every.yaml", tiny(["*"]))
    study = write_study(workspace / "study.yaml", tiny([NAME], recipe={"epochs": 1}))
    printed = python(checkout, "-c", PLAN_AND_RUN, str(workspace), str(every), str(study))
    plan = [line.split() for line in printed.splitlines()]
    rows = {words[1] for words in plan if words[:1] == ["pair"]}
    assert {*methods.names(), NAME} <= rows

    cell = folders(workspace)[f"{NAME}/0"]
    records = read_journal(cell / "journal.jsonl")
    (metrics,) = (record["metrics"] for record in records if record["kind"] == "epoch")
    assert metrics[f"loss/{TERM}"] > 0
    assert metrics[f"weight/{TERM}"] == 1.0
    total = metrics["loss/ce"] + metrics[f"loss/{TERM}"]
    assert metrics["loss/total"] == pytest.approx(total, rel=1e-4)
    done = json.loads((cell / "done.json").read_text())
    assert "test/agreement" in done["metrics"]
