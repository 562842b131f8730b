"""Every file of a workspace has its place, which no version may change."""

from __future__ import annotations

from pathlib import Path

from benchmark.records.layout import CellFiles, Workspace


def test_a_workspace_is_laid_out_as_by_earlier_versions() -> None:
    workspace = Workspace(Path("runs"))
    study = workspace.study("tiny")
    search = study.search
    paths = [
        workspace.database,
        workspace.data,
        workspace.teachers,
        workspace.run_cache,
        workspace.identity,
        study.plan,
        study.study_file,
        study.split,
        study.sync_lock,
        study.handmade,
        study.cell("ab").path,
        study.teacher("cd").path,
        search.plan,
        search.cell("ef").path,
        search.database,
        search.record("key"),
        search.figures("key"),
    ]
    assert [path.as_posix() for path in paths] == [
        "runs/mlflow.db",
        "runs/data",
        "runs/teachers",
        "runs/remembered",
        "runs/workspace.json",
        "runs/tiny/plan.json",
        "runs/tiny/study.yaml",
        "runs/tiny/split.json",
        "runs/tiny/sync.lock",
        "runs/tiny/handmade.json",
        "runs/tiny/cells/ab",
        "runs/tiny/teachers/cd",
        "runs/tiny/search/plan.json",
        "runs/tiny/search/cells/ef",
        "runs/tiny/search/optuna.db",
        "runs/tiny/search/key.json",
        "runs/tiny/search/key",
    ]


def test_the_files_of_a_cell_have_the_names_that_earlier_versions_gave_them() -> None:
    cell = CellFiles(Path("cell"))
    marker = cell.checkpoint_marker(7)
    paths = [
        cell.config,
        cell.journal,
        cell.done,
        cell.weights,
        cell.best,
        cell.best_marker,
        cell.error,
        cell.card,
        cell.checkpoint(7),
        marker,
        cell.checkpoint_tensors(marker),
    ]
    assert [path.name for path in paths] == [
        "config.json",
        "journal.jsonl",
        "done.json",
        "student.safetensors",
        "best.safetensors",
        "best.json",
        "error.txt",
        "card.json",
        "checkpoint-00007.safetensors",
        "checkpoint-00007.json",
        "checkpoint-00007.safetensors",
    ]


def test_the_folder_of_a_planned_cell_is_relative_to_its_study() -> None:
    study = Workspace(Path("runs")).study("tiny")
    cell = study.cell("ab")
    assert study.relative(cell) == "cells/ab"
    assert study.files("cells/ab") == cell


def test_checkpoints_are_listed_from_the_newest_to_the_oldest(tmp_path: Path) -> None:
    cell = CellFiles(tmp_path)
    for epoch in (9, 10, 100):
        cell.checkpoint(epoch).touch()
        cell.checkpoint_marker(epoch).touch()
    expected = [cell.checkpoint_marker(epoch) for epoch in (100, 10, 9)]
    assert cell.checkpoint_markers() == expected


def test_a_study_finds_the_journals_of_its_cells_and_teachers_and_not_of_its_search(
    tmp_path: Path,
) -> None:
    study = Workspace(tmp_path).study("tiny")
    journals = {study.cell("ab").journal, study.teacher("cd").journal}
    for journal in (*journals, study.search.cell("ef").journal):
        journal.parent.mkdir(parents=True)
        journal.touch()
    assert set(study.journals()) == journals


def test_a_workspace_lists_the_studies_that_have_a_plan(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("second", "first"):
        workspace.study(name).path.mkdir()
        workspace.study(name).plan.touch()
    (tmp_path / "teachers").mkdir()
    assert workspace.studies() == ["first", "second"]
