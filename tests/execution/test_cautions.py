"""A run says which methods a pair cannot have, and which may derail its student."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commandline import kdbench
from tests.support.studies import tiny, write_study

STUDENTS = ("mixer_s32_224", "resmlp_12_224", "gmlp_ti16_224")


@pytest.mark.slow
def test_students_whose_classifier_starts_at_zero_are_named_with_the_methods(
    workspace: Path,
) -> None:
    teacher = {"model": "cifar_resnet8"}
    students = [{"model": model, "image_size": 224} for model in STUDENTS]
    pairs = [
        {"name": student["model"], "teacher": teacher, "student": student} for student in students
    ]
    pairs.append({"name": "usual", "teacher": teacher, "student": teacher})
    content = {**tiny(["student", "kd", "ls", "dist", "at+ls(dkd)"]), "pairs": pairs}
    study = write_study(workspace / "study.yaml", content)

    found = kdbench("--workspace", str(workspace), "run", str(study), "--dry-run", "--device=cpu")
    assert found.code == 0, found.err
    lines = [line for line in (found.out + found.err).splitlines() if "starts at zero" in line]
    assert len(lines) == 3 * len(STUDENTS)
    for model in STUDENTS:
        warned = [line.split(": ")[1] for line in lines if f"{model}: " in line]
        assert sorted(warned) == ["at+ls(dkd)", "dist", "ls"]


def test_methods_with_batch_norm_on_vectors_do_not_apply_to_batches_of_one(
    workspace: Path,
) -> None:
    content = tiny(["student", "kd", "srd"])
    content["recipe"] = {**content["recipe"], "batch_size": 1}
    study = write_study(workspace / "study.yaml", content)
    found = kdbench("--workspace", str(workspace), "run", str(study), "--dry-run", "--device=cpu")
    assert found.code == 0, found.err
    text = " ".join((found.out + found.err).split())
    assert "BatchNorm layers cannot be trained on batches of 1 sample" in text
    assert "Traceback" not in text
