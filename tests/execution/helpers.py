"""Prepares small studies, and listens to their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmark.execution import environment, prepare
from benchmark.execution.executors import Executor
from benchmark.execution.identities import identify_all
from benchmark.execution.prepare import Prepared
from benchmark.execution.session import Session
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.study import study
from benchmark.training.progress import Progress
from tests.support.networks import STUDENT
from tests.support.studies import tiny

SHA256 = "ab" * 32
"""A digest that a teacher might have."""


def prepared(content: dict[str, Any], workspace: Path = Path("nowhere")) -> Prepared:
    """Prepare a study on the CPU, without a file."""
    checked = study.Study.model_validate(content)
    device, files = torch.device("cpu"), Workspace(workspace)
    return prepare.prepare(checked, "text", "study.yaml", device, files, print)


def session(workspace: Path, executor: Executor | None = None) -> Session:
    """Return a session on the CPU, with the default executor unless there is another."""
    device = torch.device("cpu")
    known = environment.environment(device)
    plain = Session(Workspace(workspace), "study.yaml", device, known)
    return plain if executor is None else replace(plain, executor=executor)


def pairs(**teachers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return pairs by name, each with changes to one teacher.

    Every pair has a student of its own, because pairs must differ.
    """
    (pair,) = tiny()["pairs"]
    students = (STUDENT, "test_efficientnet", "test_resnet")
    return [
        {"name": name, "teacher": {**pair["teacher"], **changes}, "student": student}
        for (name, changes), student in zip(teachers.items(), students, strict=False)
    ]


def of_timm(methods: Sequence[Any] = ("student", "kd")) -> dict[str, Any]:
    """Return the tiny study with the networks of timm that it had when hashes were written down."""
    content = tiny(methods)
    (pair,) = content["pairs"]
    pair["student"], pair["teacher"]["model"] = "test_byobnet", "test_resnet"
    return content


def ids(content: dict[str, Any], sha256: str = SHA256) -> dict[str, str]:
    """Return the identities of all cells of a study whose teachers have a digest."""
    checked = prepared(content)
    hashes = {teacher.key: sha256 for teacher in checked.teachers}
    cells = identify_all(checked, hashes, StudyFolder(Path("nowhere")))
    return {name: cell.id for name, cell in cells.items()}


class Remembering(Progress):
    """Remembers which cells were planned, and which trainings started, teachers included."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.trained: list[str] = []

    def planned(self, cells: Mapping[str, int]) -> None:
        self.cells += cells

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        self.trained.append(cell)
