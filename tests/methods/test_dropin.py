"""A new method is one new file: nothing else is edited, and it is listed, held to the promises, and trained."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.records.journal import read_journal
from tests.support.studies import folders, tiny, write_study

ROOT = Path(__file__).parents[2]

SOURCE = '''"""Regression of logits. Ba & Caruana, NeurIPS 2014, arXiv:1312.6184, eq. 1.

Reduction: half the squared difference summed over classes, mean over the batch.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

from methods._contract import Batch, Method, Needs, Output, Paper, Terms
from methods._settings import LogUniform, NonNegative


def logit_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the squared difference, mean over the batch.  logits [N, classes] -> scalar. None reaches the teacher."""
    return (student - teacher.detach()).pow(2).sum(dim=1).mean() / 2


class LogitRegression(Method):
    """The student's logits are the teacher's."""

    paper = Paper("Do Deep Nets Really Need to be Deep?", "Ba & Caruana", "NeurIPS", 2014, "arXiv:1312.6184")
    formula = "1/2 * |z_student - z_teacher|^2"
    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative, LogUniform(1e-3, 1.0)] = 0.125,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight, self.ce = weight, ce

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        """One term, `mse`."""
        return {"mse": (self.weight, logit_loss(student.logits, teacher.logits))}
'''


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with one more file."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("benchmark", "methods", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    assert not (folder / "methods" / "mse_logits.py").exists()
    (folder / "methods" / "mse_logits.py").write_text(SOURCE)
    return folder


def python(checkout: Path, *arguments: str) -> str:
    """What a command prints, run in the copy and importing nothing of the original."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "COLUMNS": "200"
    }
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=checkout, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_method_is_listed_and_has_a_card(checkout: Path) -> None:
    listed = python(checkout, "benchmark", "methods")
    (line,) = [line for line in listed.splitlines() if line.startswith("mse_logits ")]
    assert "Regression of logits" in line
    assert "NeurIPS 2014" in line
    card = python(checkout, "benchmark", "methods", "mse_logits")
    for what in (
        "Do Deep Nets Really Need to be Deep?",
        "half the squared difference",
        "0.125",
        "log-uniform",
    ):
        assert what in card


def test_a_new_method_is_held_to_what_every_method_promises(checkout: Path) -> None:
    said = python(
        checkout,
        "pytest",
        "tests/test_conformance.py",
        "-k",
        "mse_logits",
        "-p",
        "no:cacheprovider",
        "--no-header",
    )
    (passed,) = re.findall(r"(\d+) passed", said)
    assert int(passed) > 10
    assert "failed" not in said


def test_a_method_that_breaks_a_promise_is_found_out(checkout: Path) -> None:
    broken = checkout / "methods" / "mse_leaking.py"
    broken.write_text(SOURCE.replace("teacher.detach()", "teacher"))
    try:
        with pytest.raises(AssertionError, match="1 failed"):
            python(
                checkout,
                "pytest",
                "tests/test_conformance.py",
                "-k",
                "mse_leaking and nothing_of and alike",
                "-x",
            )
    finally:
        broken.unlink()


def test_a_star_in_a_study_trains_a_new_method_beside_the_others(
    checkout: Path, workspace: Path
) -> None:
    study = write_study(workspace / "study.yaml", tiny(["*"], recipe={"epochs": 1}))
    run = ["--workspace", str(workspace), "run", str(study), "--no-track", "--device", "cpu"]
    python(checkout, "benchmark", *run)
    cells = folders(workspace)
    assert {"student/0", "kd/0", "mse_logits/0"} <= set(cells)
    (epoch,) = (
        r["metrics"]
        for r in read_journal(cells["mse_logits/0"] / "journal.jsonl")
        if r["kind"] == "epoch"
    )
    assert epoch["loss/mse"] > 0
    assert epoch["weight/mse"] == 0.125
    assert epoch["loss/total"] == pytest.approx(
        epoch["loss/ce"] + 0.125 * epoch["loss/mse"], rel=1e-4
    )
    assert (
        "test/agreement" in json.loads((cells["mse_logits/0"] / "done.json").read_text())["metrics"]
    )
