"""A workspace of an older version: journals, MLflow store and search still open and resume.

`data/old-workspace.tar.xz` was made by 0.1.0 before the code was divided into packages: a study of
8 cells that was killed after 4, and a search that was killed before its last trials had ended.
`expected.json` and `expected.csv` in it are what that version made of both in the end.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sqlite3
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.commandline import Ended, in_mlflow, kdbench
from tests.support.studies import folders, plan

pytestmark = pytest.mark.subprocess

ARCHIVE = Path(__file__).parent / "data" / "old-workspace.tar.xz"


@dataclass(frozen=True)
class Old:
    """The workspace, its study file, and what the old version made of both."""

    workspace: Path
    study: Path
    expected: dict[str, Any]
    expected_csv: str
    trials: dict[str, list[dict[str, Any]]]

    def call(self, *words: Any) -> Ended:
        """Runs a command in the workspace."""
        return kdbench("--workspace", self.workspace, *words)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    """The archive, unpacked elsewhere than it was made, so that addresses in MLflow are wrong."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    workspace = folder / "workspace" / "runs"
    expected = json.loads((folder / "expected.json").read_text())
    study = folder / "workspace" / "old.yaml"
    records = (workspace / "old" / "search").glob("*.json")
    trials = {file.stem: json.loads(file.read_text()).get("trials", []) for file in records}
    return Old(workspace, study, expected, (folder / "expected.csv").read_text(), trials)


@pytest.fixture(scope="module")
def before(old: Old) -> list[dict[str, Any]]:
    """MLflow's runs as the old version left them."""
    return in_mlflow(old.workspace)


@pytest.fixture(scope="module")
def finished(old: Old, before: list[dict[str, Any]]) -> Ended:
    """The study, which this version trains to its end."""
    return old.call("run", old.study, "--device", "cpu")


@pytest.fixture(scope="module")
def tuned(old: Old, finished: Ended) -> Ended:
    """The search, which this version makes to its end."""
    return old.call("tune", old.study, "--device", "cpu")


def test_an_old_study_shows_its_progress(old: Old) -> None:
    head, *_ = old.call("status", "old").out.splitlines()
    assert head == "old: 4 of 8 cells done, not running"


def test_an_old_study_verifies_before_anything_is_trained(old: Old) -> None:
    found = old.call("verify", "old")
    assert (found.code, found.out) == (0, "")
    assert "checked 24 cells and 1 teacher\n" in found.err
    assert "not completely in MLflow: 9 journals; `kdbench sync old` adds the rest" in found.err


def test_an_old_study_trains_only_what_it_lacks(finished: Ended) -> None:
    assert (finished.code, "Traceback" in finished.err) == (0, False)
    assert "4 cells trained, 4 already done, 0 failed\n" in finished.err


def test_old_cells_keep_their_identities_and_those_that_were_finished_their_bits(
    old: Old, finished: Ended
) -> None:
    cells = {f"{cell['row']}/{cell['seed']}": cell for cell in plan(old.workspace, "old")["cells"]}
    assert cells.keys() == old.expected["cells"].keys()
    for name, expected in old.expected["cells"].items():
        assert cells[name]["id"] == expected["id"]
        done = json.loads((folders(old.workspace, "old")[name] / "done.json").read_text())
        if name.endswith("/0"):
            assert done["sha256"] == expected["sha256"]
            assert done["metrics"]["test/acc1"] == expected["test/acc1"]


def test_an_old_store_has_every_run_once(
    old: Old, before: list[dict[str, Any]], finished: Ended
) -> None:
    runs = [run for run in in_mlflow(old.workspace) if run["study"] == "old" and "trial" not in run]
    assert len(runs) == 9
    assert {run["status"] for run in runs} == {"FINISHED"}
    assert "superseded" not in {run["kdbench.kind"] for run in runs}
    old_cells = {run["cell"] for run in before if run["study"] == "old" and "trial" not in run}
    assert old_cells <= {run["cell"] for run in runs}


def test_an_old_study_verifies_but_its_old_journals_are_not_chained(
    old: Old, finished: Ended
) -> None:
    found = old.call("verify", "old")
    assert (found.code, found.out) == (0, "")
    _, unchained, *_, last = found.err.splitlines()
    assert unchained.startswith("not chained: 25 journals of an earlier version")
    assert last == "everything is as it was written"


def test_an_old_store_that_was_moved_has_its_files_in_the_new_place(
    old: Old, finished: Ended
) -> None:
    with contextlib.closing(sqlite3.connect(old.workspace / "mlflow.db")) as database:
        rows = database.execute(
            "select artifact_uri from runs join tags using (run_uuid) "
            "where key = 'kdbench.kind' and value = 'run'"
        ).fetchall()

    folders_of_runs = {address.removeprefix("file://") for (address,) in rows}
    assert len(folders_of_runs) == 8
    for folder in map(Path, folders_of_runs):
        assert folder.is_relative_to(old.workspace)
        assert (folder / "config.json").exists()


def test_an_old_store_makes_a_table_with_the_rows_of_the_old_version(
    old: Old, finished: Ended, tmp_path: Path
) -> None:
    assert old.call("leaderboard", old.study, "--results", tmp_path).code == 0
    lines = rows_of((tmp_path / "old" / "leaderboard.csv").read_text())
    expected = rows_of(old.expected_csv)
    assert {(line["method"], line["n"]) for line in lines} == {
        (line["method"], line["n"]) for line in expected
    }
    assert lines[0].keys() >= expected[0].keys()


def rows_of(text: str) -> list[dict[str, Any]]:
    """Return the rows of a leaderboard."""
    return list(csv.DictReader(text.splitlines()))


def test_an_old_search_goes_on_to_the_same_trials(old: Old, tuned: Ended) -> None:
    assert (tuned.code, "Traceback" in tuned.err) == (0, False)
    for key, trials in old.expected["searches"].items():
        record = json.loads((old.workspace / "old" / "search" / f"{key}.json").read_text())
        assert [trial["state"] for trial in record["trials"]] == [t["state"] for t in trials]
        for trial, expected in zip(record["trials"], trials, strict=True):
            if expected in old.trials.get(key, []):  # the old version had finished it
                assert trial["value"] == expected["value"]
                assert trial["params"] == pytest.approx(expected["params"], rel=1e-9)


def test_an_old_search_ends_in_the_same_settings(old: Old, tuned: Ended) -> None:
    settings = yaml.safe_load((old.study.parent / "tuned" / "old.yaml").read_text())
    keys = [(entry["row"], entry["search"]) for entry in settings["searches"]]
    assert keys == [(e["row"], e["search"]) for e in old.expected["tuned"]["searches"]]
