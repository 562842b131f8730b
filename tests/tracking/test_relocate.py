"""A local store that is moved, copied or linked keeps the files of its runs."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest

from benchmark.errors import TrackingError
from benchmark.records.layout import Workspace
from benchmark.tracking import relocate
from benchmark.tracking.store import Store, open_store
from benchmark.tracking.sync import sync
from benchmark.tracking.sync_search import sync_search
from tests.support.journalled import (
    Study,
    counts,
    find_run,
    mlflow_client,
    output_of,
    start_python,
    store_from,
)
from tests.support.searched import Search, find_runs

pytestmark = pytest.mark.mlflow

OPEN = """
import sys
from pathlib import Path

from benchmark.tracking.store import open_store

open_store(Path(sys.argv[1]), None)
"""


@pytest.fixture
def old(tmp_path: Path, template: Path) -> Path:
    """A workspace with a study and a search in its MLflow store."""
    workspace = tmp_path / "old place"
    workspace.mkdir()
    store = store_from(template, workspace)
    study = Study(workspace).finish()
    search = Search(study.files.search.path).finish()
    sync(study.folder, store)
    sync_search(search.folder, store)
    return workspace


def addresses(workspace: Path) -> set[str]:
    """Return all addresses of files in a store's tables."""
    with contextlib.closing(sqlite3.connect(Workspace(workspace).database)) as database:
        rows = database.execute(
            "select artifact_location from experiments where experiment_id != 0 "
            "union select artifact_uri from runs"
        )
        return {address for (address,) in rows}


def check(workspace: Path, store: Store) -> None:
    """The files of runs can be read, and lie in the workspace."""
    root = Workspace(workspace.resolve()).artifacts.as_uri()
    assert all(
        address.startswith(f"{root}/") or address == root for address in addresses(workspace)
    )

    client = mlflow_client(store)
    for run, name in (
        (find_run(store, "kd"), "config.json"),
        (find_runs(store, "report")[0], "search.json"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(client.download_artifacts(run.info.run_id, name, folder))
            assert file.stat().st_size > 0


def test_a_moved_workspace_goes_on_and_its_old_place_stays_empty(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "runs"
    new.parent.mkdir()
    old.rename(new)

    store = open_store(new, None)
    check(new, store)

    assert counts(sync(new / "small", store)) == (0, 0, 3)
    assert {result.updated for result in sync_search(new / "small/search", store).values()} == {0}
    assert not old.exists()


def test_a_copy_is_complete_and_leaves_the_original_alone(old: Path, tmp_path: Path) -> None:
    before = Workspace(old).database.read_bytes()
    new = tmp_path / "copy"
    shutil.copytree(old, new)

    store = open_store(new, None)
    check(new, store)
    sync(new / "small", store)  # the copy says that it has these runs as well
    assert counts(sync(new / "small", store)) == (0, 0, 3)

    assert Workspace(old).database.read_bytes() == before
    check(old, open_store(old, None))


def test_a_link_to_a_workspace_changes_no_address(old: Path, tmp_path: Path) -> None:
    before = addresses(old)
    link = tmp_path / "link"
    link.symlink_to(old)

    store = open_store(link, None)
    check(link, store)
    assert addresses(old) == before
    assert counts(sync(link / "small", store)) == (0, 0, 3)


def test_a_store_elsewhere_has_its_files_beside_it_after_a_move(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "elsewhere"
    new.mkdir()
    for name in ("mlflow.db", "artifacts"):
        (old / name).rename(new / name)

    check(new, open_store(old, f"sqlite:///{new}/mlflow.db"))


def test_files_written_to_the_old_place_after_the_move_are_brought_along(
    old: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    store = open_store(old, None)
    run = find_run(store, "kd")
    (lost,) = new.glob(f"artifacts/{run.info.run_id}/artifacts/config.json")
    content = lost.read_bytes()
    lost.unlink()

    open_store(new, None)
    assert lost.read_bytes() == content


def test_a_database_that_is_copied_alone_stays_alone(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(Workspace(old).database, new)

    open_store(new, None)
    assert [path.name for path in new.iterdir()] == ["mlflow.db"]
    root = Workspace(new).artifacts.as_uri()
    assert all(address.startswith(root) for address in addresses(new))


def test_addresses_of_other_places_are_kept(old: Path, tmp_path: Path) -> None:
    client = mlflow_client(open_store(old, None))
    client.create_experiment("by hand", artifact_location="file:///data/elsewhere")
    beside = Workspace(old).artifacts.as_uri() + "2"
    client.create_experiment("beside", artifact_location=beside)
    new = tmp_path / "new"
    old.rename(new)

    open_store(new, None)
    assert {"file:///data/elsewhere", beside} <= addresses(new)


def test_a_kill_before_the_end_changes_nothing_and_the_next_opening_completes_it(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"
    old.rename(new)
    before = addresses(new)

    monkeypatch.setenv("KDBENCH_FAILPOINT", "relocate.before_commit")
    killed = start_python(OPEN, new)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert addresses(new) == before

    monkeypatch.delenv("KDBENCH_FAILPOINT")
    check(new, open_store(new, None))


def test_processes_that_open_a_moved_store_together_agree(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    old.rename(new)

    together = [start_python(OPEN, new) for _ in range(3)]
    assert [output_of(process) for process in together] == ["", "", ""]
    check(new, open_store(new, None))


def test_a_store_that_stays_locked_is_reported_in_one_line(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relocate, "_PATIENCE", 0.1)
    new = tmp_path / "new"
    old.rename(new)

    with contextlib.closing(sqlite3.connect(new / "mlflow.db")) as other:
        other.execute("begin immediate")
        with pytest.raises(TrackingError, match=r"was moved.*try again"):
            open_store(new, None)

    check(new, open_store(new, None))
