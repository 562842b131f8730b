"""`kdbench export` and `kdbench import`: a study is carried to another workspace."""

from __future__ import annotations

import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.locks import locked
from benchmark.records.archive import unpack_archive, write_archive
from benchmark.records.layout import INTACT, StudyFolder, Workspace
from benchmark.tracking.store import Store, open_store
from benchmark.tracking.sync import sync
from benchmark.tracking.sync_search import sync_search
from benchmark.tracking.tags import NOTE
from tests.support.commandline import Ended, kdbench, leaderboard
from tests.support.journalled import (
    START,
    Study,
    counts,
    file_names,
    find_run,
    mlflow_client,
    store_from,
)
from tests.support.searched import Search, find_runs
from tests.support.studies import Tracked

pytestmark = pytest.mark.mlflow

LATER = START + 3_600_000


@pytest.fixture
def source(tmp_path: Path, template: Path) -> Study:
    """A study with a search, recorded in the MLflow store of its workspace."""
    workspace = tmp_path / "source"
    workspace.mkdir()
    store = store_from(template, workspace)
    study = Study(workspace).finish()
    study.cell_files("kd").weights.write_bytes(b"weights of kd")
    teacher = Workspace(workspace).teachers / study.plan.teachers[0].id
    teacher.mkdir(parents=True)
    (teacher / "card.json").write_text("{}")
    (teacher / "student.safetensors").write_bytes(b"weights of the teacher")
    search = Search(study.files.search.path).finish()
    sync(study.folder, store)
    sync_search(search.folder, store)
    return study


@pytest.fixture
def archive(tmp_path: Path, source: Study) -> Path:
    """The archive of the study."""
    path = tmp_path / "small.tar"
    assert in_workspace(source.folder.parent, "export", "small", path).code == 0
    return path


@pytest.fixture
def target(tmp_path: Path, template: Path) -> Path:
    """A workspace with an empty store."""
    folder = tmp_path / "target"
    folder.mkdir()
    store_from(template, folder)
    return folder


def in_workspace(workspace: Path, *words: object) -> Ended:
    """Run a command in a workspace."""
    return kdbench("--workspace", workspace, *words)


def refused(pattern: str, *words: object) -> None:
    """Run a command that must end with code 2 and one line."""
    done = kdbench(*words)
    assert re.fullmatch(f"kdbench: .*{pattern}.*\n", done.err)
    assert (done.code, done.out) == (2, "")


def import_(workspace: Path, archive: Path) -> str:
    """Import an archive without MLflow; return the messages."""
    done = in_workspace(workspace, "import", archive, "--no-track")
    assert done.code == 0, done.err
    return done.err


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, without those that describe it on this machine."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != INTACT
    }


@pytest.mark.trains
def test_a_carried_study_has_the_same_students_leaderboard_and_artifacts(
    tracked: Tracked, tmp_path: Path, no_figures: None
) -> None:
    archive, workspace = tmp_path / "tiny.tar", tmp_path / "elsewhere"
    assert in_workspace(tracked.workspace, "export", tracked.study, archive).code == 0
    done = in_workspace(workspace, "import", archive)
    assert done.code == 0, done.err
    assert "9 cells added" in done.err
    assert "data sets and plug-ins are not in an archive" in done.err

    here, there = tracked.workspace / "tiny", workspace / "tiny"
    assert contents(here) == contents(there)
    (teacher,) = (workspace / "teachers").glob("*/student.safetensors")
    original = tracked.workspace / teacher.relative_to(workspace)
    assert teacher.read_bytes() == original.read_bytes()

    assert leaderboard(workspace, tracked.study, tmp_path / "results") == tracked.files
    store = open_store(workspace, None)
    for kind in ("run", "teacher"):
        (experiment,) = [store_experiment(store)]
        for run in mlflow_client(store).search_runs(
            [experiment], f"tags.`kdbench.kind` = '{kind}'"
        ):
            assert {"config.json", "environment.json"} <= file_names(store, run)

    rerun = in_workspace(workspace, "run", tracked.study, "--no-track", "--device", "cpu")
    assert "0 cells trained, 9 already done" in rerun.err


def store_experiment(store: Store) -> str:
    """Return the id of the experiment of the tiny study."""
    return str(mlflow_client(store).get_experiment_by_name("kd/tiny").experiment_id)


def test_an_export_is_the_same_each_time(source: Study, archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    assert in_workspace(source.folder.parent, "export", "small", again).code == 0
    assert again.read_bytes() == archive.read_bytes()


def test_searches_teachers_and_what_was_written_by_hand_are_carried(
    source: Study, target: Path, tmp_path: Path, no_figures: None
) -> None:
    here = open_store(source.folder.parent, None)
    client = mlflow_client(here)
    client.set_tag(find_run(here, "kd").info.run_id, NOTE, "Looks **odd** after epoch 1.")
    client.set_tag(find_run(here, "kd").info.run_id, "figure", "3b")
    client.set_tag(find_runs(here, "trial")[1].info.run_id, "figure", "4")
    archive = tmp_path / "marked.tar"
    assert in_workspace(source.folder.parent, "export", "small", archive).code == 0

    done = in_workspace(target, "import", archive)
    assert done.code == 0, done.err

    there = open_store(target, None)
    tags = find_run(there, "kd").data.tags
    assert (tags[NOTE], tags["figure"]) == ("Looks **odd** after epoch 1.", "3b")
    trials = find_runs(there, "trial")
    assert [run.data.tags.get("figure") for run in trials[:2]] == [None, "4"]
    assert "figure" not in find_run(there, "student").data.tags

    assert (target / "teachers" / ("t" * 12) / "student.safetensors").exists()
    assert not (target / "small/handmade.json").exists()
    assert counts(sync(target / "small", there)) == (0, 0, 3)


def test_finished_cells_of_the_target_are_kept_and_others_are_added(
    archive: Path, tmp_path: Path
) -> None:
    target = Study(tmp_path / "target")
    target.change_plan(question="Asked elsewhere?")
    target.train("student", at=LATER)
    target.cell_files("student").done.write_text("{}")
    before = contents(target.cell_files("student").path)
    plan = target.files.plan.read_bytes()

    lines = import_(tmp_path / "target", archive)
    assert "1 cell added" in lines
    assert "1 cell of this workspace kept, and so is its plan" in lines

    assert contents(target.cell_files("student").path) == before
    assert target.files.plan.read_bytes() == plan
    assert target.cell_files("kd").weights.read_bytes() == b"weights of kd"
    assert target.files.search.records() != []


def test_an_unfinished_cell_gives_way_to_a_finished_one_and_is_set_aside(
    source: Study, tmp_path: Path
) -> None:
    source.cell_files("kd").done.write_text("{}")
    archive = tmp_path / "done.tar"
    assert in_workspace(source.folder.parent, "export", "small", archive).code == 0
    target = Study(tmp_path / "target")
    target.start("kd", at=LATER)

    assert "2 cells added" in import_(tmp_path / "target", archive)
    assert target.cell_files("kd").done.exists()
    (aside,) = target.files.forgotten.iterdir()
    assert (aside / "journal.jsonl").read_bytes().count(b"\n") == 1


def test_searches_of_the_target_are_kept(archive: Path, tmp_path: Path) -> None:
    target = Study(tmp_path / "target")
    Search(target.files.search.path, key="0" * 12).save()
    before = contents(target.files.search.path)

    lines = import_(tmp_path / "target", archive)
    assert "searches of this workspace kept" in lines
    assert contents(target.files.search.path) == before


def test_a_second_import_adds_nothing(archive: Path, target: Path) -> None:
    import_(target, archive)
    before = contents(target / "small")
    assert "0 cells added" in import_(target, archive)
    assert contents(target / "small") == before


def test_a_study_in_training_is_neither_exported_nor_replaced(
    source: Study, archive: Path, target: Path, tmp_path: Path
) -> None:
    with locked(source.folder):
        words = ("--workspace", source.folder.parent, "export", "small", tmp_path / "new.tar")
        refused("already running", *words)
    assert not (tmp_path / "new.tar").exists()

    import_(target, archive)
    shutil.rmtree(StudyFolder(target / "small").cells)
    with locked(target / "small"):
        refused("already running", "--workspace", target, "import", archive, "--no-track")
    assert not StudyFolder(target / "small").cells.exists()


def test_an_existing_file_is_replaced_only_on_request(source: Study, archive: Path) -> None:
    archive.write_text("mine")
    words = ("--workspace", source.folder.parent, "export", "small", archive)
    refused(r"exists already; choose another name, or replace it with --force", *words)
    assert archive.read_text() == "mine"

    assert kdbench(*words, "--force").code == 0
    assert tarfile.is_tarfile(archive)


def test_an_unknown_study_is_refused_with_a_hint(source: Study, tmp_path: Path) -> None:
    words = ("--workspace", source.folder.parent, "export", "smal", tmp_path / "new.tar")
    refused("did you mean 'small'", *words)


@pytest.mark.parametrize("damage", ["cut", "bit", "foreign", "missing"])
def test_a_refused_archive_leaves_no_trace(archive: Path, tmp_path: Path, damage: str) -> None:
    content = archive.read_bytes()
    if damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif damage == "bit":
        place = content.index(b"weights of kd")
        archive.write_bytes(content[:place] + b"W" + content[place + 1 :])
    elif damage == "foreign":
        archive.write_bytes(b"no archive at all")
    else:
        archive.unlink()

    new = tmp_path / "new"
    refused("", "--workspace", new, "import", archive, "--no-track")
    assert not new.exists()


def test_folders_that_are_links_are_carried(source: Study, tmp_path: Path) -> None:
    elsewhere = tmp_path / "scratch"
    source.files.cells.rename(elsewhere)
    source.files.cells.symlink_to(elsewhere)
    archive = tmp_path / "linked.tar"
    assert in_workspace(source.folder.parent, "export", "small", archive, "--no-track").code == 0

    target = tmp_path / "target"
    import_(target, archive)
    cell = Workspace(target).study("small").cell(source.cell("kd").id)
    assert cell.weights.read_bytes() == b"weights of kd"


def test_a_study_whose_teacher_has_other_weights_is_refused(
    source: Study, archive: Path, tmp_path: Path
) -> None:
    card = Path("teachers", source.plan.teachers[0].id, "card.json")
    (source.folder.parent / card).write_text(f'{{"sha256": "{"a" * 64}"}}')
    again = tmp_path / "again.tar"
    assert in_workspace(source.folder.parent, "export", "small", again, "--no-track").code == 0

    target = tmp_path / "target"
    (target / card).parent.mkdir(parents=True)
    (target / card).write_text(f'{{"sha256": "{"b" * 64}"}}')
    before = contents(target)
    refused(
        r"again\.tar: its teacher \w+ has the weights a{12}, but that of .* has b{12}; import it "
        r"into another workspace \(--workspace\)",
        *("--workspace", target, "import", again, "--no-track"),
    )
    assert contents(target) == before


def rewritten(archive: Path, path: Path, study: str, sources: dict[str, bytes]) -> Path:
    """Write an archive with the files of another one, some of them replaced or added."""
    unpacked = path.with_suffix("")
    unpack_archive(archive, unpacked)
    for name, content in sources.items():
        (unpacked / name).write_bytes(content)
    files = {
        file.relative_to(unpacked).as_posix(): file
        for file in unpacked.rglob("*")
        if file.is_file()
    }
    write_archive(path, study, files)
    return path


def test_code_and_damaged_records_in_an_archive_are_refused(
    source: Study, archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    code = rewritten(archive, tmp_path / "code.tar", "small", {"study/own.py": b"print(1)"})
    refused(
        r"code\.tar: 'study/own\.py' is no file of a study; nothing is imported",
        *("--workspace", target, "import", code, "--no-track"),
    )

    journal = f"study/cells/{source.cell('kd').id}/journal.jsonl"
    damaged = rewritten(archive, tmp_path / "damaged.tar", "small", {journal: b"garbage\n{}\n"})
    refused(
        r"damaged\.tar: contains a damaged record of 'small'; nothing is imported; .*export it",
        *("--workspace", target, "import", damaged, "--no-track"),
    )
    assert not target.exists()


@pytest.mark.parametrize("name", ["mlflow.db", "Teachers", "workspace.json", ".hidden"])
def test_a_study_cannot_take_a_name_of_the_workspace(
    archive: Path, tmp_path: Path, name: str
) -> None:
    unpacked = tmp_path / "unpacked"
    unpack_archive(archive, unpacked)
    plan = (unpacked / "study" / "plan.json").read_bytes()
    plan = plan.replace(b'"study": "small"', b'"study": "%s"' % name.encode())
    named = rewritten(archive, tmp_path / "named.tar", name, {"study/plan.json": plan})
    refused(
        rf"named\.tar: study '{re.escape(name)}': .*; nothing is imported",
        *("--workspace", tmp_path / "target", "import", named, "--no-track"),
    )


def test_what_a_killed_import_left_is_removed_by_the_next(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / ".import-abc" / "study").mkdir(parents=True)
    import_(target, archive)
    assert not list(target.glob(".import-*"))


def test_a_copied_workspace_retires_runs_that_still_name_the_original(
    source: Study, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(source.folder.parent, copied)
    shutil.rmtree(source.folder.parent)
    cell = Workspace(copied).study("small").cell(source.cell("kd").id)
    shutil.rmtree(cell.path)

    store = open_store(copied, None)
    sync(copied / "small", store)
    kinds = {run.data.tags["method"]: run.data.tags["kdbench.kind"] for run in find_runs_of(store)}
    assert kinds == {"teacher": "teacher", "student": "run", "kd": "superseded"}


def find_runs_of(store: Store) -> list[Any]:
    """Return the runs of the study's cells and teachers."""
    client = mlflow_client(store)
    experiment = client.get_experiment_by_name("kd/small").experiment_id
    return [run for run in client.search_runs([experiment]) if "cell" in run.data.tags]
