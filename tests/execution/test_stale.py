"""A run notices that code was edited since cells were trained, and trains only these again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.execution import cell_code
from benchmark.execution.forget import forget
from benchmark.execution.run import Summary
from benchmark.hashing import identity
from benchmark.records.layout import CellFiles, StudyFolder
from tests.support.editing import edited
from tests.support.records import make_early
from tests.support.studies import Listening, bits, folders, plan, run, tiny

pytestmark = pytest.mark.trains

CONTENT = tiny(["student", "dkd", "nkd"])
"""`dkd` and `nkd` share a module of helper functions."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the study, trained; tests work on copies."""
    workspace = tmp_path_factory.mktemp("trained")
    assert run(workspace, CONTENT) == Summary(planned=3, trained=3)
    return workspace


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the workspace."""
    yield shutil.copytree(trained, tmp_path / "copy")
    cell_code._remembered.cache_clear()


def rerun(workspace: Path, **options: Any) -> tuple[Summary, list[str]]:
    """Run the study again; return the summary and the warnings."""
    listening = Listening()
    return run(workspace, CONTENT, listening, **options), listening.warnings


def test_nothing_is_stale_if_nothing_was_edited(copy: Path) -> None:
    assert rerun(copy) == (Summary(planned=3, already_done=3), [])


def test_only_the_rows_of_an_edited_method_are_trained_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folders(copy)
    edited(monkeypatch, "methods.dkd", "return", "return 0.5 *")
    summary, warnings = rerun(copy)
    after = folders(copy)

    assert summary == Summary(planned=3, trained=1, already_done=2)
    assert warnings == [
        "dkd: 1 finished cell is stale: methods.dkd has changed since; training again "
        "(--keep-stale keeps the old results)"
    ]
    assert [name for name in before if before[name] != after[name]] == ["dkd/0"]
    assert bits(before["dkd/0"]) == bits(after["dkd/0"])  # the loaded code was not changed


def test_an_edited_helper_makes_the_rows_stale_that_use_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(monkeypatch, "methods._logits", "def of_target(", "UNUSED = 1\n\n\ndef of_target(")
    assert rerun(copy)[0].already_done == 3

    edited(monkeypatch, "methods._logits", "return", "return 0.5 *")
    summary, warnings = rerun(copy)
    assert summary == Summary(planned=3, trained=2, already_done=1)
    assert {line.partition(":")[0] for line in warnings} == {"dkd", "nkd"}
    assert all("methods._logits has changed" in line for line in warnings)


def test_an_edited_network_makes_the_rows_and_the_teacher_stale(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(monkeypatch, "benchmark.models.zoo._stages", "return", "return 1.0 *")
    summary, warnings = rerun(copy)
    assert summary == Summary(planned=3, trained=3)
    assert len(list((copy / "teachers").glob("[!.]*/card.json"))) == 2
    assert any("benchmark.models.zoo._stages has changed" in line for line in warnings)


def test_an_edited_comment_or_docstring_changes_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(monkeypatch, "methods.dkd", '"""Decoupled', '"""A better text. Decoupled')
    edited(monkeypatch, "methods.nkd", "\n\n\n", "\n\n\n# a comment\n")
    assert rerun(copy) == (Summary(planned=3, already_done=3), [])


def test_an_edit_that_is_undone_finds_the_old_results_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folders(copy)
    with monkeypatch.context() as patch:
        edited(patch, "methods.dkd", "return", "return 0.5 *")
        assert rerun(copy)[0].trained == 1
    cell_code._remembered.cache_clear()

    assert rerun(copy)[0] == Summary(planned=3, already_done=3)
    assert folders(copy) == before


def test_stale_cells_can_be_kept_and_the_plan_marks_their_row(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folders(copy)
    edited(monkeypatch, "methods.dkd", "return", "return 0.5 *")
    summary, warnings = rerun(copy, keep_stale=True)

    assert summary == Summary(planned=3, already_done=3)
    assert warnings == [
        "dkd: 1 finished cell is stale: methods.dkd has changed since; the leaderboard marks the "
        "row"
    ]
    assert folders(copy) == before
    assert plan(copy)["stale"] == {"pair/dkd": "methods.dkd"}

    assert rerun(copy)[0].trained == 1
    assert plan(copy)["stale"] == {}


def test_a_workspace_that_recorded_no_code_keeps_its_cells_until_code_is_edited(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_code(copy)
    before = {path.name for path in (copy / "tiny" / "cells").iterdir()}
    summary, warnings = rerun(copy)
    assert summary == Summary(planned=3, already_done=3)
    assert warnings == [
        "cells from a version of kdbench that did not record code: 3; from now on, they count as "
        "trained with the present code"
    ]
    assert {path.name for path in folders(copy).values()} == before
    assert rerun(copy)[1] == []

    edited(monkeypatch, "methods.dkd", "return", "return 0.5 *")
    summary, (warning,) = rerun(copy)
    assert summary == Summary(planned=3, trained=1, already_done=2)
    assert "methods.dkd has changed" in warning


def test_retraining_sets_finished_cells_aside_and_gets_the_same_bits(copy: Path) -> None:
    before = {name: bits(folder) for name, folder in folders(copy).items()}
    assert rerun(copy, retrain=True)[0] == Summary(planned=3, trained=3)

    after = folders(copy)
    assert {name: bits(folder) for name, folder in after.items()} == before
    aside = sorted(path.name for path in (copy / "tiny" / "forgotten").iterdir())
    assert aside == sorted(f"{folder.name}-1" for folder in after.values())


def test_only_the_chosen_cells_are_forgotten(copy: Path) -> None:
    study = StudyFolder(copy / "tiny")
    (cell,) = forget(study, row="dkd")
    assert (cell.row, cell.seed) == ("dkd", 0)
    assert (study.forgotten / f"{cell.id}-1" / "student.safetensors").exists()
    assert rerun(copy)[0] == Summary(planned=3, trained=1, already_done=2)

    (again,) = forget(study, row="dkd", pair="pair", seed=0)
    assert again == cell
    assert (study.forgotten / f"{cell.id}-2").exists()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"row": "dkdd"}, "--row: the study has no row 'dkdd'; did you mean 'dkd'?"),
        ({"pair": "x"}, "--pair: the study has no pair 'x'; choose from pair"),
        ({"seed": 7}, "--seed: the study has no seed 7; choose from 0"),
    ],
)
def test_a_row_that_does_not_exist_cannot_be_forgotten(
    trained: Path, chosen: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as error:
        forget(StudyFolder(trained / "tiny"), **chosen)  # type: ignore[arg-type]
    assert str(error.value) == message


def _forget_code(workspace: Path) -> None:
    """Turn the records of a workspace into those of a version that recorded no code."""
    for folder in [*folders(workspace).values(), *workspace.glob("teachers/[!.]*/")]:
        path = folder / "config.json"
        configuration = json.loads(path.read_text())
        del configuration["code"]
        path.write_text(json.dumps(configuration))
        new = folder.with_name(identity(configuration))
        folder.rename(new)
        make_early(CellFiles(new))

        card = new / "card.json"
        if card.exists():
            entries = json.loads(card.read_text().replace(folder.name, new.name))
            del entries["digest"]
            card.write_text(json.dumps(entries))
