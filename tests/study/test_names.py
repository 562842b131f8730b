"""A study cannot take the name of something that its workspace needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.archive import write_archive
from benchmark.records.carried import place_archive
from benchmark.records.layout import Workspace
from benchmark.study.names import OWN_FILES, why_not_study, why_reserved

NO_NAMES = ["", ".", "..", "../x", "a/b", "/etc", "a..b", "-x", ".hidden", "a\\b", "a?b", "<b>"]
CONTROL = ["a\nb", "a\n", "a\x1b[2K", "a\0", "\u202ea"]


def test_every_file_and_folder_of_a_workspace_is_reserved() -> None:
    workspace = Workspace(Path("runs"))
    places = {
        getattr(workspace, name)
        for name, value in vars(Workspace).items()
        if isinstance(value, property)
    }
    names = {place.name for place in places if place.parent == workspace.path}
    assert {name for name in names if not name.startswith(".")} == OWN_FILES
    assert all(why_not_study(name) for name in names)


@pytest.mark.parametrize("name", [*sorted(OWN_FILES), "Data", "MLflow.db-wal", "mlflow.db.lock"])
def test_a_name_of_the_workspace_is_refused(name: str) -> None:
    assert "choose another name" in str(why_reserved(name))


@pytest.mark.parametrize("name", ["my.yaml", "my.YML"])
def test_a_name_that_commands_take_for_a_file_is_refused(name: str) -> None:
    assert "commands take this name for a study file" in str(why_reserved(name))


@pytest.mark.parametrize("name", ["data2", "my data", "mlflow", "teachers (old)", "v1.0", "yaml"])
def test_other_names_are_accepted(name: str) -> None:
    assert why_not_study(name) is None


@pytest.mark.parametrize("name", [*NO_NAMES, *CONTROL, "x" * 81, "é", "$(x)", "a;b"])
def test_a_text_that_is_no_name_is_refused(name: str) -> None:
    assert why_not_study(name) is not None


@pytest.mark.parametrize("name", ["mlflow.db", "Teachers", "x.yaml", "a\x1b[2K"])
def test_an_archive_cannot_bring_a_study_of_such_a_name(tmp_path: Path, name: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("{}")
    write_archive(tmp_path / "x.tar", name, {"study/plan.json": plan})

    with pytest.raises(InputError, match="nothing is imported") as caught:
        place_archive(tmp_path / "x.tar", Workspace(tmp_path / "runs"))
    assert str(caught.value).isprintable()
    assert not (tmp_path / "runs").exists()
