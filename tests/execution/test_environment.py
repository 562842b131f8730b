"""The environment names the files that took part and differ from the commit, with digests."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmark.execution import changed_files, environment

CPU = torch.device("cpu")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Git checkout with a few files, which kdbench takes for its own."""
    for name in ("benchmark/__init__.py", "benchmark/engine.py", "methods/kd.py", "methods/at.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)

    monkeypatch.setattr(changed_files, "PROJECT", tmp_path)
    monkeypatch.setattr(changed_files, "_loaded", lambda: {tmp_path / "benchmark/engine.py"})
    changed_files.commit.cache_clear()
    yield tmp_path
    changed_files.commit.cache_clear()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def test_an_unchanged_checkout_is_named_by_its_commit(checkout: Path) -> None:
    known = environment.environment(CPU)
    assert len(known["git_commit"]) == 40
    assert "changes" not in known


def test_changed_and_untracked_files_that_take_part_are_listed_with_digests(checkout: Path) -> None:
    used, new = checkout / "methods/kd.py", checkout / "methods/mine.py"
    for path in (used, new, checkout / "methods/at.py", checkout / "benchmark/engine.py"):
        path.write_text("x = 2\n")
    (checkout / "benchmark" / "notes.txt").write_text("no code")

    known = environment.environment(CPU, {"methods.kd": used, "methods.mine": new})
    two = digest(used)
    assert known["git_commit"].endswith("+changes")
    assert known["changes"] == (
        f"benchmark/engine.py {two}, methods/kd.py {two}, methods/mine.py {two}"
    )


def test_a_file_that_takes_no_part_does_not_change_the_commit(checkout: Path) -> None:
    (checkout / "methods/at.py").write_text("x = 2\n")
    (checkout / "methods/new.py").write_text("x = 2\n")
    known = environment.environment(CPU, {"methods.kd": checkout / "methods/kd.py"})
    assert not known["git_commit"].endswith("+changes")


def test_a_plug_in_is_listed_with_its_digest(checkout: Path, tmp_path: Path) -> None:
    own = tmp_path / "my_methods.py"
    own.write_text("x = 1\n")
    known = environment.environment(CPU, {"my_methods": own})
    assert known["plugins"] == f"my_methods.py {digest(own)}"


def test_a_package_without_a_checkout_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_files, "PROJECT", tmp_path)
    changed_files.commit.cache_clear()
    try:
        known = environment.environment(CPU)
    finally:
        changed_files.commit.cache_clear()
    assert known["git_commit"] == ""
    assert "changes" not in known
