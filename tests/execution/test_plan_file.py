"""The plan names every cell by an identity, which changes with whatever decides its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.execution import plan_file
from benchmark.execution.identities import identify_all, plain_configuration
from benchmark.hashing import identity
from benchmark.records.layout import StudyFolder
from tests.execution.helpers import SHA256, ids, of_timm, pairs, prepared
from tests.support.networks import STUDENT, TEACHER
from tests.support.studies import folders, plan, tiny


def test_a_plan_names_every_cell_with_what_decides_it(ran: Path) -> None:
    content = plan(ran)
    (teacher,) = content["teachers"]
    cell = next(cell for cell in content["cells"] if cell["row"] == "kd")
    sha256 = json.loads((ran / "teachers" / teacher["id"] / "card.json").read_text())["sha256"]

    assert content["baseline"] == "student"
    assert content["methods"] == ["student", "kd"]
    assert content["seeds"] == [0]
    assert teacher["model"] == TEACHER
    assert teacher["pairs"] == ["pair"]
    assert teacher["teacher_id"] == sha256[:12]

    assert cell["folder"] == f"cells/{cell['id']}"
    assert (cell["student"], cell["teacher"]) == (STUDENT, TEACHER)
    assert cell["teacher_id"] == sha256[:12]
    assert cell["settings"] == {"temperature": 4.0, "weight": 0.9, "ce": 0.1}
    assert cell["recipe"]["epochs"] == 2

    configuration = json.loads((folders(ran)["kd/0"] / "config.json").read_text())
    assert identity(configuration) == cell["id"]
    assert configuration["teacher"]["sha256"] == sha256


def test_a_plan_names_the_trials_of_tuned_rows_and_the_settings_found_for_each_pair(
    tmp_path: Path,
) -> None:
    tuned = {
        "name": "kd (tuned)",
        "method": "kd",
        "settings": {"temperature": 3.0},
        "found": {"pair": {"settings": {"temperature": 2.5}, "lr": 0.125}},
        "trials": 20,
        "search_tmac": {"pair": 1.5},
    }
    study = prepared(tiny(["student", "kd", tuned]))
    hashes = {study.teachers[0].key: SHA256}
    folder = StudyFolder(tmp_path)
    plan_file.write_plan(study, folder, hashes, identify_all(study, hashes, folder))

    content = json.loads((tmp_path / "plan.json").read_text())["plan"]
    assert content["trials"] == {"kd (tuned)": 20}
    assert content["search_tmac"] == {"pair/kd (tuned)": 1.5}
    cells = {cell["row"]: cell for cell in content["cells"]}
    assert cells["kd (tuned)"]["settings"] == {"temperature": 2.5, "weight": 0.9, "ce": 0.1}
    assert cells["kd"]["settings"]["temperature"] == 4.0
    assert cells["kd (tuned)"]["recipe"]["lr"] == 0.125 != cells["kd"]["recipe"]["lr"]


def test_a_plan_says_how_the_recipes_of_rows_differ_and_how_long_they_train(
    tmp_path: Path,
) -> None:
    long = {"epochs": 5, "optimizer": {"lr": 0.1}}
    rows = [
        {"name": "kd-long", "method": "kd", "recipe": long},
        "kd",
        {"name": "same", "method": "at", "recipe": {"epochs": 2}},
        "student",
    ]
    study = prepared(tiny(rows))
    hashes = {study.teachers[0].key: SHA256}
    folder = StudyFolder(tmp_path)
    plan_file.write_plan(study, folder, hashes, identify_all(study, hashes, folder))

    content = json.loads((tmp_path / "plan.json").read_text())["plan"]
    assert content["overrides"] == {
        "kd-long": "epochs 5 instead of 2, optimizer.lr 0.1 instead of 0.05"
    }
    assert content["reference"] == "kd"
    assert content["altered"] == ["kd-long", "same"]
    cells = {cell["row"]: cell for cell in content["cells"]}
    assert cells["kd-long"]["length"] == {"early": 0, "epochs": 5}
    assert (cells["kd-long"]["recipe"]["epochs"], cells["kd-long"]["recipe"]["lr"]) == (5, 0.1)
    assert cells["kd"]["length"] == {"early": 0, "epochs": 2}


@pytest.mark.parametrize(
    ("rows", "baseline", "reference"),
    [
        (["kd", "student"], "student", "kd"),
        ([{"name": "long", "method": "kd", "recipe": {"epochs": 5}}], None, None),
        (["at"], None, None),
        (
            ["at", {"name": "warm", "method": "kd", "settings": {"temperature": 8.0}}],
            None,
            "warm",
        ),
    ],
)
def test_a_plan_names_the_rows_that_others_are_compared_with(
    rows: list[Any], baseline: str | None, reference: str | None, tmp_path: Path
) -> None:
    plan_file.write_plan(prepared(tiny(rows)), StudyFolder(tmp_path), {}, {})
    content = json.loads((tmp_path / "plan.json").read_text())["plan"]
    assert (content["baseline"], content["reference"]) == (baseline, reference)


def test_apart_from_code_identities_are_as_they_always_were() -> None:
    # Other ones would train every finished cell of an older workspace again.
    study = prepared(of_timm(["student", "kd", "kd+at"]))
    hashes = {teacher.key: SHA256 for teacher in study.teachers}
    plain = {str(cell): plain_configuration(study, cell, hashes)[0] for cell in study.cells}
    assert {name: identity(configuration) for name, configuration in plain.items()} == {
        "pair / student / seed 0": "9849e2b447a7",
        "pair / kd / seed 0": "cef83827beb3",
        "pair / kd+at / seed 0": "dda81c157156",
    }


@pytest.mark.parametrize(
    "content",
    [
        {**tiny(), "name": "other", "question": "why?", "tracking": {"experiment": "mine"}},
        tiny(["at", {"name": "warm", "method": "kd", "settings": {"temperature": 8.0}}, "kd"]),
        tiny([{"name": "renamed", "method": "kd", "settings": {"weight": 0.9}}]),
        tiny(seeds=[4, 0]),
        tiny(pairs=[{**tiny()["pairs"][0], "name": "renamed"}]),
        tiny(pairs=pairs(other={"seed": 3}, pair={})[:1] + tiny()["pairs"]),
        tiny(pairs=pairs(pair={"min_accuracy": 5.0})),
    ],
)
def test_an_identity_does_not_depend_on_names_questions_gates_or_neighbours(
    content: dict[str, Any],
) -> None:
    assert ids(tiny(["kd"]))["pair / kd / seed 0"] in ids(content).values()


def test_an_identity_changes_with_whatever_decides_the_numbers() -> None:
    changes = [
        tiny(["kd"]),
        tiny(["kd"], seeds=[1]),
        tiny(["kd"], recipe={"epochs": 3}),
        tiny(["kd"], recipe={"optimizer": {"lr": 0.06}}),
        tiny(["kd"], select="best_val"),
        tiny(["kd"], split={"val": 41, "train_samples": 48}),
        tiny([{"name": "kd", "method": "kd", "settings": {"temperature": 2.0}}]),
        tiny(["kd"], pairs=[{**tiny()["pairs"][0], "student": "test_efficientnet"}]),
        tiny(["kd"], pairs=pairs(pair={"model": STUDENT})),
    ]
    every = [identity for content in changes for identity in ids(content).values()]
    every += ids(tiny(["kd"]), sha256="cd" * 32).values()
    assert len(set(every)) == len(every) == len(changes) + 1


def test_cells_whose_teacher_is_not_known_yet_have_no_identity() -> None:
    study = prepared(tiny(["kd"], pairs=pairs(one={}, two={"seed": 1})))
    hashes = {study.teachers[1].key: SHA256}
    known = identify_all(study, hashes, StudyFolder(Path("nowhere")))
    assert set(known) == {"two / kd / seed 0"}
