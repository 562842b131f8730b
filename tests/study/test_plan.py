"""A plan makes sense, and is read as this and earlier versions wrote it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmark.errors import InputError
from benchmark.study.plan import (
    PlannedCell,
    PlannedTeacher,
    from_dict,
    read_plan,
    to_dict,
    write_plan,
)
from tests.support.handmade import PLAN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"select": "best_test"}, "'last' or 'best_val', not 'best_test'"),
        ({"baseline": "ce"}, "baseline 'ce' is not among"),
        ({"seeds": (0, 0)}, "seeds of study 'study' has duplicates"),
        ({"pairs": ()}, "study 'study' has no pairs"),
        ({"methods": ("student", "teacher")}, "name of the teacher's row"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)


def test_a_plan_written_before_there_was_a_reference_compares_with_the_row_named_kd():
    content = to_dict(dataclasses.replace(PLAN, reference=None))
    assert from_dict(content).reference is None
    del content["reference"]
    assert from_dict(content).reference == "kd"


TEACHER = PlannedTeacher("t", "teachers/t", PLAN.pairs, "r56", 0, "abc", {"epochs": 4})
CELL = PlannedCell(
    "c", "cells/c", PLAN.pairs[0], "kd", "kd", {"temperature": 4.0}, 0, "r56", "abc", "r20"
)
FULL = dataclasses.replace(
    PLAN, datasets={PLAN.pairs[0]: "digits"}, altered=("at",), teachers=(TEACHER,), cells=(CELL,)
)


def test_a_written_plan_is_read_back(tmp_path):
    write_plan(tmp_path / "plan.json", FULL)
    assert read_plan(tmp_path / "plan.json") == FULL


def test_a_plan_for_tables_has_neither_cells_nor_teachers():
    tables = FULL.for_tables()
    assert (tables.cells, tables.teachers) == ((), ())
    assert dataclasses.replace(tables, cells=FULL.cells, teachers=FULL.teachers) == FULL


def test_a_plan_of_an_earlier_version_names_one_data_set_for_all_pairs(tmp_path):
    content = to_dict(FULL)
    del content["datasets"]
    content |= {"dataset": "digits", "key of another version": 1}

    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content))
    assert read_plan(path) == FULL
    assert read_plan(path).dataset == "digits"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"study": 3}', "[" * 100_000])
def test_a_damaged_plan_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"plan\.json: damaged; run the study again to rebuild it"):
        read_plan(path)


def test_a_plan_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    write_plan(path, FULL)
    lines = path.read_text().splitlines(keepends=True)
    assert read_plan(path) == FULL

    edited = "".join(lines).replace("4.0", "5.0")
    without_a_line = ["".join(lines[:place] + lines[place + 1 :]) for place in range(len(lines))]
    assert edited != "".join(lines)
    for content in (edited, *without_a_line):
        path.write_text(content)
        with pytest.raises(InputError, match=r"plan\.json: damaged; run the study again"):
            read_plan(path)


OUTSIDE = [
    *(("folder", path) for path in ("../other/cells/c", "cells/../../other", "/tmp/c", "")),
    *(("id", path) for path in ("../other", "a/b", "..", "")),
]
"""Keys of cells and teachers, with paths that no plan of kdbench's has."""


@pytest.mark.parametrize(("key", "path"), OUTSIDE)
@pytest.mark.parametrize("entry", ["cells", "teachers"])
def test_a_plan_whose_entries_lead_out_of_the_study_is_refused(tmp_path, entry, key, path):
    content = to_dict(FULL)
    content[entry][0][key] = path
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"plan\.json: damaged"):
        read_plan(file)


@pytest.mark.parametrize("name", ["../other", "a/b", "..", "", "/tmp"])
def test_a_plan_whose_study_has_the_name_of_a_path_is_refused(tmp_path, name):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(to_dict(FULL) | {"study": name}))
    with pytest.raises(InputError, match=r"plan\.json: damaged"):
        read_plan(path)


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json: cannot be read \(No such file"):
        read_plan(tmp_path / "plan.json")
