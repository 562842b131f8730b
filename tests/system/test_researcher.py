"""A researcher's own loss, network, data and metric, from an empty folder to a table and back.

Everything happens in a folder of its own, through the command line and the Python interface.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.tracking import report_run
from benchmark.tracking.store import open_store
from tests.support.browser import MARKS, browsed
from tests.support.commandline import NEW, ROOT, Ended, ended, in_mlflow, launched
from tests.support.studies import folders, write_study

pytestmark = [pytest.mark.subprocess, pytest.mark.trains, pytest.mark.mlflow]

LOSS = """
from typing import Annotated

from kdbench.methods import LogUniform, Method, Needs, NonNegative, register


@register("absolute")
class Absolute(Method):
    '''Absolute error of the logits.'''

    formula = "mean |z_s - z_t|"
    needs = Needs(logits=True)

    def __init__(
        self, weight: Annotated[float, NonNegative, LogUniform(0.01, 1.0)] = 0.1, ce: float = 1.0
    ):
        super().__init__()
        self.weight, self.ce = weight, ce

    def forward(self, student, teacher, batch):
        return {"absolute": (self.weight, distance(student.logits, teacher.logits))}


def distance(student, teacher):
    return (student - teacher).abs().mean()
"""

REST = """
import numpy as np
import torch.nn.functional as F
from kdbench.plugins import Arrays, data_source, metric
from timm.models import register_model
from torch import nn


class Net(nn.Module):
    def __init__(self, width, num_classes, in_chans):
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, 3, stride=2)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.head(F.relu(self.conv(images)).mean((2, 3)))


@register_model
def own_net(num_classes=10, in_chans=3, width=8, **_):
    return Net(width, num_classes, in_chans)


@data_source("stripes")
def stripes(count):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 90, (count, 12, 12)).astype(np.uint8)
    for image, label in zip(images, labels):
        image[:, 4 * label : 4 * label + 4] += 120
    return Arrays(images[:-30], labels[:-30], images[-30:], labels[-30:])


@metric("nll", title="NLL", help="Negative log-likelihood.", higher_is_better=False)
def nll(logits, labels, teacher):
    return F.cross_entropy(logits, labels)
"""

SCRIPT = """
import kdbench, torch
board = kdbench.leaderboard("study.yaml", workspace=WORKSPACE)
runs = kdbench.runs("mine", workspace=WORKSPACE)
cell = runs[runs["kind"] == "run"]["cell"].iloc[0]
student = kdbench.load_student(cell, workspace=WORKSPACE)
print(sorted(board["method"]), sorted(board.columns[board.columns == "nll"]))
print(board["nll"].notna().all(), tuple(student(torch.rand(2, 3, 12, 12)).shape))
"""


def own_study() -> dict[str, object]:
    recipe = {"epochs": 1, "batch_size": 16}
    return {
        "name": "mine",
        "plugins": ["./own_loss.py", "./own_rest.py"],
        "dataset": {"name": "stripes", "settings": {"count": 126}},
        "split": {"val": 16},
        "pairs": [
            {
                "name": "pair",
                "teacher": {"model": "own_net", "kwargs": {"width": 16}},
                "student": "own_net",
            }
        ],
        "methods": ["student", "kd", "absolute"],
        "seeds": [0, 1],
        "recipe": recipe,
        "search": {"trials": 2, "seeds": [7], "together": 2, "sampler": "random"},
    }


class Project:
    """The researcher's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.loss = folder / "own_loss.py"
        self.loss.write_text(LOSS)
        (folder / "own_rest.py").write_text(REST)
        # A project may have packages that are called like kdbench's.
        for name in ("methods", "benchmark"):
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text("OWN = True\n")
        write_study(folder / "study.yaml", own_study())

    def kdbench(self, *words: str) -> Ended:
        """Run a command in the folder."""
        # -P as for an installed program: Python does not look for modules in the current folder.
        command = [NEW[0], "-P", *NEW[1:]]
        return ended(launched(*words, command=command, cwd=self.folder))

    def python(self, code: str) -> str:
        """Run a program in the folder."""
        environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(ROOT)
        script = self.folder / "script.py"
        script.write_text(code)
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def trained(project: Project) -> Ended:
    """The study, trained and tracked."""
    return project.kdbench("run", "study.yaml", "--device", "cpu")


def test_own_things_are_trained_and_compared(project: Project, trained: Ended) -> None:
    assert (trained.code, "Traceback" in trained.err) == (0, False)
    assert "6 cells trained, 0 already done, 0 failed" in trained.err
    assert "NLL" in trained.out
    assert "absolute" in trained.out


@pytest.mark.slow
def test_the_python_interface_reads_them_beside_packages_of_the_same_names(
    project: Project, trained: Ended
) -> None:
    code = f"import methods, benchmark\nWORKSPACE = 'runs'\n{SCRIPT}"
    first, second = project.python(code).splitlines()
    assert first == "['absolute', 'kd', 'student', 'teacher'] ['nll']"
    assert second == "True (2, 3)"


@pytest.mark.slow
def test_an_edited_loss_trains_its_row_alone(project: Project, trained: Ended) -> None:
    runs = project.folder / "runs"
    before = folders(runs, "mine")
    project.loss.write_text(LOSS.replace(".abs().mean()", ".abs().sum()"))
    again = project.kdbench("run", "study.yaml", "--device", "cpu")
    after = folders(runs, "mine")

    assert "absolute: 2 finished cells are stale: own_loss has changed since" in again.err
    assert "2 cells trained, 4 already done, 0 failed" in again.err
    assert {name for name in before if before[name] != after[name]} == {"absolute/0", "absolute/1"}
    shown = [run for run in in_mlflow(runs) if run["kdbench.kind"] == "run"]
    assert sorted(run["cell"] for run in shown) == sorted(path.name for path in after.values())

    project.loss.write_text("# a comment\n" + LOSS)
    undone = project.kdbench("run", "study.yaml", "--device", "cpu")
    assert "0 cells trained, 6 already done, 0 failed" in undone.err
    assert folders(runs, "mine") == before


@pytest.mark.slow
def test_a_search_tunes_an_own_loss(project: Project, trained: Ended) -> None:
    content = own_study() | {"methods": ["kd", "absolute"]}
    write_study(project.folder / "search.yaml", content | {"name": "search"})
    done = project.kdbench("tune", "search.yaml", "--device", "cpu")
    assert done.code == 0, done.err
    assert "absolute" in done.out


@pytest.mark.slow
def test_a_new_metric_trains_nothing(project: Project, trained: Ended) -> None:
    path = project.folder / "own_rest.py"
    path.write_text(
        REST + '\n@metric("half", title="Half", help="A half.")\n'
        "def half(logits, labels, teacher):\n    return 0.5\n"
    )
    again = project.kdbench("run", "study.yaml", "--device", "cpu")
    assert "0 cells trained, 6 already done, 0 failed" in again.err
    assert "Half" in again.out

    for folder in folders(project.folder / "runs", "mine").values():
        lines = (folder / "journal.jsonl").read_text().splitlines()
        last = json.loads(lines[-1])["record"]
        assert (last["kind"], last["metrics"]["test/half"]) == ("measured", 0.5)


def test_the_store_of_teachers_finds_own_networks_and_data_through_the_study(
    project: Project, trained: Ended
) -> None:
    verified = project.kdbench("teachers", "verify", "--device", "cpu")
    assert (verified.code, verified.out.count("as stored")) == (0, 1), verified.out


@pytest.fixture(scope="module")
def moved(project: Project, trained: Ended, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another folder that the study was carried to, in which nothing else is."""
    folder = tmp_path_factory.mktemp("elsewhere")
    written = project.kdbench("export", "mine", str(folder / "mine.tar"))
    assert written.code == 0, written.err
    read = project.kdbench("--workspace", str(folder / "runs"), "import", str(folder / "mine.tar"))
    assert (read.code, "absolute" in read.out) == (0, True), read.err
    return folder / "runs"


@pytest.mark.slow
def test_a_study_that_was_carried_elsewhere_is_complete_there(
    project: Project, moved: Path
) -> None:
    again = project.kdbench("--workspace", str(moved), "run", "study.yaml", "--device", "cpu")
    assert "0 cells trained, 6 already done, 0 failed" in again.err
    first, second = project.python(f"WORKSPACE = {str(moved)!r}\n{SCRIPT}").splitlines()
    assert first.startswith("['absolute', 'kd', 'student', 'teacher']")
    assert second == "True (2, 3)"


@pytest.mark.usefixtures("trained")
class TestBrowser:
    """What the researcher sees of the carried study in MLflow."""

    pytestmark = MARKS

    def test_mlflow_shows_the_leaderboard_and_its_page(self, moved: Path) -> None:
        store = open_store(moved, None)
        with browsed(store) as (base, page):
            (addresses,) = report_run.addresses(base, store).values()
            page.goto(addresses["leaderboard"])
            for row in ("absolute", "kd", "student"):
                page.get_by_text(f"Group: {row}").first.wait_for(timeout=60_000)

            page.goto("about:blank")
            page.goto(addresses["report"])
            frame = page.frame_locator("iframe").first
            frame.get_by_text("absolute").first.wait_for(timeout=60_000)
            frame.get_by_text("NLL").first.wait_for(timeout=60_000)
