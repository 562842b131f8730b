"""A run trains what is missing, once, and reports the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError
from benchmark.execution.executors import CohortSpec, Resources
from benchmark.execution.executors.inline import InlineExecutor
from benchmark.execution.run import Summary
from benchmark.models import create
from benchmark.study.schema import Network
from benchmark.training.progress import Progress
from methods import _discovery
from tests.execution.helpers import Remembering, pairs, prepared
from tests.support.studies import folders, plan, run, tiny

pytestmark = pytest.mark.trains

ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from benchmark.locks import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def every_file(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Return all files below a folder: content and time of the last change."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_a_run_hands_the_cohorts_of_the_plan_to_its_executor(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohorts: list[tuple[int, list[str]]] = []
    inline_run = InlineExecutor.run

    def remembering(
        self: InlineExecutor, specs: Iterable[CohortSpec], resources: Resources, progress: Progress
    ) -> None:
        specs = list(specs)
        students = [spec for spec in specs if spec.teacher is not None]
        cohorts.extend((spec.seed, [cell.label for cell in spec.cells]) for spec in students)
        inline_run(self, specs, resources, progress)

    monkeypatch.setattr(InlineExecutor, "run", remembering)
    content = tiny(["student", "kd", "at"], seeds=[1, 0], recipe={"epochs": 1})
    summary = run(workspace, content, cohort_size=2)

    assert summary.trained == 6
    assert cohorts == [
        (seed, [f"pair / {row} / seed {seed}" for row in rows])
        for seed in (1, 0)
        for rows in (("student", "kd"), ("at",))
    ]


def test_a_row_that_cannot_run_is_not_applicable_and_the_others_are_trained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_stage_maps = _discovery.find_stage_maps

    def without_maps(network: Any, inputs: Any, logits: Any, notes: dict[str, str]) -> Any:
        if isinstance(network, type(flat)):
            notes["maps"] = "it has none"
            return None
        return find_stage_maps(network, inputs, logits, notes)

    flat = create.create(Network(model="test_efficientnet"), "here", (3, 32, 32), 10)
    monkeypatch.setattr(_discovery, "find_stage_maps", without_maps)
    content = tiny(["student", "at"], pairs=pairs(one={}, flat={}), recipe={"epochs": 1})
    assert run(workspace, content) == Summary(planned=3, trained=3)

    assert plan(workspace)["not_applicable"] == {"flat/at": "maps of the student: it has none"}
    assert plan(workspace)["methods"] == ["student", "at"]
    cells = [(cell["pair"], cell["row"]) for cell in plan(workspace)["cells"]]
    assert cells == [("one", "student"), ("one", "at"), ("flat", "student")]


def test_a_setting_that_no_pair_allows_is_not_applicable_with_the_methods_reason(
    workspace: Path,
) -> None:
    deep = {"name": "deep", "method": "fitnet", "settings": {"stage": 7}}
    assert run(workspace, tiny([deep])) == Summary(planned=0)
    assert plan(workspace)["not_applicable"] == {
        "pair/deep": "stage 7 is out of range; number of stages: 3"
    }


def test_a_second_run_trains_nothing_and_changes_no_byte(ran: Path) -> None:
    remembering = Remembering()
    cells, teachers = every_file(ran / "tiny" / "cells"), every_file(ran / "teachers")
    assert run(ran, tiny(), remembering) == Summary(planned=2, already_done=2)
    assert remembering.cells == remembering.trained == []
    assert every_file(ran / "tiny" / "cells") == cells
    assert every_file(ran / "teachers") == teachers


def test_a_study_that_grows_trains_only_what_is_new(ran: Path, workspace: Path) -> None:
    run(workspace, tiny())
    before, remembering = every_file(workspace / "tiny" / "cells"), Remembering()
    summary = run(workspace, tiny(["at", "kd", "student"], question="more?"), remembering)
    assert summary == Summary(planned=3, trained=1, already_done=2)
    assert remembering.cells == remembering.trained == ["pair / at / seed 0"]

    after = every_file(workspace / "tiny" / "cells")
    assert {path: after[path] for path in before} == before
    assert folders(workspace)["kd/0"].name == folders(ran)["kd/0"].name


def test_the_split_that_was_used_is_recorded(ran: Path) -> None:
    split = json.loads((ran / "tiny" / "split.json").read_text())
    data = prepared(tiny()).data
    assert split["train"] == data.train_index.tolist()
    assert split["val"] == data.val_index.tolist()
    assert (split["dataset"], split["fingerprint"]) == ("digits", data.fingerprint)


def test_a_study_that_is_running_is_refused_for_a_second_process(workspace: Path) -> None:
    folder, remembering = workspace / "tiny", Remembering()
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError) as error:
            run(workspace, tiny(), remembering)
        process.communicate("")

    assert str(error.value) == (
        f"{folder}: this study is already running (process {process.pid}); wait for it or stop it"
    )
    assert remembering.trained == []
    assert sorted(path.name for path in folder.iterdir()) == ["running.lock"]
    with locks.locked(folder):
        pass


def test_a_lock_is_free_after_an_error_and_an_unknown_owner_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[FileLock] = []  # alive, so that only a release frees them

    def kept(path: Path) -> FileLock:
        held.append(FileLock(path))
        return held[-1]

    monkeypatch.setattr(locks, "FileLock", kept)
    with pytest.raises(ZeroDivisionError), locks.locked(tmp_path):
        raise ZeroDivisionError
    with locks.locked(tmp_path):
        assert json.loads((tmp_path / "running.json").read_text())["pid"]
    assert not (tmp_path / "running.json").exists()

    with (
        FileLock(tmp_path / "running.lock", is_singleton=False),
        pytest.raises(InputError, match=r"\(process unknown\)"),
        locks.locked(tmp_path),
    ):
        pass


def test_a_cell_that_fails_is_reported_with_its_reason_and_tried_again(workspace: Path) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    for _ in range(2):
        remembering = Remembering()
        summary = run(workspace, tiny([wild]), remembering)
        assert (summary.planned, summary.trained, summary.already_done) == (1, 0, 0)
        assert summary.failed["pair / wild / seed 0"].startswith("non-finite loss")
        assert "pair / wild / seed 0" in remembering.trained
