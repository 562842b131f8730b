"""The identity of a workspace: kept by a move, renewed by a copy."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.records.layout import Workspace
from benchmark.records.workspace_id import identify, recorded_identity


def test_an_identity_is_given_once_and_names_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "my lab")
    workspace = Workspace(tmp_path / "runs")
    assert recorded_identity(workspace) == ""

    first = identify(workspace)
    assert first.startswith("my-lab-")
    content = workspace.identity.read_bytes()

    assert identify(workspace) == recorded_identity(workspace) == first
    assert workspace.identity.read_bytes() == content


def test_a_moved_workspace_keeps_its_identity(tmp_path: Path) -> None:
    first = identify(Workspace(tmp_path / "runs"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert identify(Workspace(tmp_path / "moved")) == first


def test_a_link_to_a_workspace_has_its_identity(tmp_path: Path) -> None:
    first = identify(Workspace(tmp_path / "runs"))
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    assert identify(Workspace(tmp_path / "link")) == first


def test_a_copy_gets_an_identity_of_its_own_even_if_the_original_is_gone(tmp_path: Path) -> None:
    first = identify(Workspace(tmp_path / "runs"))
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    (tmp_path / "runs").rename(tmp_path / "elsewhere")

    copied = identify(Workspace(tmp_path / "copy"))
    assert copied != first
    assert identify(Workspace(tmp_path / "copy")) == copied
    assert identify(Workspace(tmp_path / "elsewhere")) == first


def test_a_folder_that_several_machines_mount_keeps_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "runs")
    first = identify(workspace)
    monkeypatch.setattr(socket, "gethostname", lambda: "another-machine")
    assert identify(workspace) == first


def test_a_damaged_identity_is_reported_with_a_remedy(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.identity.write_text(json.dumps({"id": 3}))
    with pytest.raises(InputError, match=r"workspace\.json: damaged; delete it"):
        identify(workspace)
