"""Rows with a recipe of their own are shown, but neither ranked, compared nor tested."""

from __future__ import annotations

import dataclasses
import json
import math

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.study.plan import from_dict, to_dict
from tests.support.handmade import AT, KD, PLAN, SIX, STUDENT, board, full, line, ranks, row

DIFFERENCE = "epochs 24 instead of 12"
OWN = dataclasses.replace(
    PLAN, methods=("student", "kd", "at", "kd-long"), overrides={"kd-long": DIFFERENCE}
)
RUNS = [*full(), *row("kd-long", (99.0, 99.0, 98.0))]


def test_a_row_with_its_own_recipe_is_shown_without_a_rank_and_says_why():
    table = board(RUNS, OWN)
    assert ranks(table) == {"teacher": None, "kd-long": None, "kd": 1, "at": 2, "student": 3}
    own = line(RUNS, "kd-long", OWN)
    assert (own["n"], own["rank"]) == (3, None)
    assert own["note"] == f"no rank with a recipe of its own: {DIFFERENCE}"


def test_a_row_with_its_own_recipe_is_compared_with_no_other():
    own = line(RUNS, "kd-long", OWN)
    columns = ("vs_student", "vs_kd", "gap_closed", "p_student", "p_kd")
    assert all(math.isnan(own[column]) for column in columns)
    assert own["significant"] == ""
    assert OWN.rival("kd-long", "student") is None
    assert OWN.rival("at", "kd") == "kd"


def test_the_other_rows_have_the_numbers_that_they_have_without_it():
    plain = dataclasses.replace(SIX, methods=("student", "kd", "at"))
    own = dataclasses.replace(OWN, seeds=SIX.seeds)
    runs = [
        *row("student", STUDENT * 2),
        *row("kd", KD * 2),
        *row("at", AT * 2),
    ]
    longer = [*runs, *row("kd-long", (99.0,) * 6)]
    for method in plain.methods:
        assert str(line(longer, method, own)) == str(line(runs, method, plain))


def test_a_tuned_row_with_its_own_recipe_is_compared_with_its_untuned_row_alone():
    names = ("student", "kd", "kd-long", "student (tuned)", "kd (tuned)", "kd-long (tuned)")
    plan = dataclasses.replace(
        PLAN,
        methods=names,
        trials={name: 20 for name in names if "tuned" in name},
        overrides={"kd-long": DIFFERENCE, "kd-long (tuned)": DIFFERENCE},
    )
    runs = [entry for name in names for entry in row(name, KD)]
    tuned = line(runs, "kd-long (tuned)", plan)
    assert tuned["rank"] is None
    assert math.isnan(tuned["vs_student"])
    assert tuned["vs_untuned"] == 0.0


def test_a_footnote_names_the_rows_and_what_differs():
    notes = " ".join(footnotes(board(RUNS, OWN), OWN))
    assert (
        "Rows with a recipe of their own are neither ranked nor compared with other rows, because "
        f"the training differs as well as the method (kd-long: {DIFFERENCE})."
    ) in notes
    assert "recipe of their own" not in " ".join(footnotes(board(full()), PLAN))


def test_the_headline_counts_the_row_among_those_without_a_rank():
    assert headline(board(RUNS, OWN), OWN).endswith("; 1 of 4 rows has no rank.")


def test_a_part_of_the_test_images_is_told_beside_the_selection_rule():
    smoke = dataclasses.replace(PLAN, test_images=(200, 10000))
    first, *_ = footnotes(board(full(), smoke), smoke)
    assert first.endswith("Smoke test: networks were tested on 200 of 10,000 test images.")
    assert "Smoke test" not in footnotes(board(full()), PLAN)[0]


def test_a_plan_keeps_both_and_an_older_plan_has_neither():
    plan = dataclasses.replace(OWN, test_images=(200, 450))
    content = json.loads(json.dumps(to_dict(plan)))
    assert from_dict(content) == plan

    del content["overrides"]
    del content["test_images"]
    older = from_dict(content)
    assert (older.overrides, older.test_images) == ({}, None)
