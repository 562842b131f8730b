"""The folder of a teacher's stored outputs: another one for all that can change their bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmark.data import Data
from benchmark.execution import output_folder
from benchmark.execution.environment import environment
from benchmark.records.layout import Workspace
from benchmark.study.schema import Network, Recipe, Split, make_dataset
from tests.support.studies import CPU

RECIPE: Mapping[str, Any] = {
    "epochs": 4,
    "batch_size": 16,
    "augmentation": {"flip": True},
    "teacher_cache": 2,
}


@dataclass
class Case:
    """What the outputs of a teacher are computed from."""

    folder: Path
    split: Split = field(default_factory=Split)
    network: Network = field(default_factory=lambda: Network(model="cifar_resnet8"))
    sha256: str = "a" * 64
    recipe: dict[str, Any] = field(default_factory=lambda: dict(RECIPE))
    seed: int = 0
    environment: dict[str, str] = field(default_factory=lambda: environment(CPU))
    fingerprint: str | None = None

    def place(self) -> Path:
        """Return the folder of the outputs."""
        data = Data(make_dataset("digits"), self.split, CPU, self.folder, lambda _: None)
        if self.fingerprint is not None:
            data.fingerprint = self.fingerprint
        return output_folder.output_folder(
            Workspace(self.folder),
            data,
            self.network,
            self.sha256,
            Recipe.model_validate(self.recipe),
            self.seed,
            self.environment,
        )


CHANGES: dict[str, Callable[[Case, pytest.MonkeyPatch], None]] = {
    "weights": lambda case, _: setattr(case, "sha256", "b" * 64),
    "network": lambda case, _: setattr(case, "network", Network(model="cifar_resnet14")),
    "options": lambda case, _: setattr(
        case, "network", Network(model="cifar_resnet8", image_size=16)
    ),
    "fingerprint": lambda case, _: setattr(case, "fingerprint", "0" * 64),
    "split": lambda case, _: setattr(case, "split", Split(seed=1)),
    "augmentation": lambda case, _: case.recipe.update(augmentation={"flip": False}),
    "precision": lambda case, _: case.recipe.update(precision="bf16"),
    "seed": lambda case, _: setattr(case, "seed", 1),
    "rules": lambda _, patch: patch.setattr(output_folder, "RULES", -1),
    "format": lambda _, patch: patch.setattr(output_folder, "FORMAT", -1),
    "batches": lambda _, patch: patch.setattr(output_folder, "BATCH_SIZE", 64),
    "code": lambda _, patch: patch.setattr(
        output_folder, "code_of_network", lambda _: {"models": "changed"}
    ),
} | {
    name: (lambda case, _, name=name: case.environment.update({name: "another"}))
    for name in output_folder._ENVIRONMENT
}


@pytest.mark.parametrize("change", CHANGES)
def test_all_that_can_change_the_bits_of_an_output_changes_the_folder(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    before = case.place()
    assert case.place() == before

    CHANGES[change](case, monkeypatch)
    assert case.place() != before


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 8},
        {"batch_size": 8},
        {"optimizer": {"lr": 0.5}},
        {"teacher_cache": 3},
        {"label_smoothing": 0.1},
    ],
)
def test_what_only_a_student_trains_with_leaves_the_folder_as_it_is(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    case = Case(tmp_path)
    before = case.place()
    case.recipe |= changes
    assert case.place() == before


def test_the_machine_is_the_only_other_part_of_the_environment(tmp_path: Path) -> None:
    case = Case(tmp_path)
    before = case.place()
    case.environment |= {"python": "another", "hostname": "another"}
    assert case.place() == before
