"""The result of a table in one sentence."""

from __future__ import annotations

import dataclasses

from benchmark.leaderboard.headline import headline, student_label
from tests.support.handmade import (
    AT,
    KD,
    PAIR,
    PLAN,
    STUDENT,
    TUNED_PLAN,
    UNEQUAL,
    UNEQUAL_PLAN,
    board,
    everywhere,
    row,
    run,
    teacher,
    tuned,
)


def result(runs, plan=PLAN):
    """The headline of these runs."""
    return headline(board(runs, plan), plan)


def test_the_headline_of_one_pair_gives_mean_spread_and_paired_gain():
    runs = [
        teacher(),
        *row("student", (93.0, 93.1, 93.5)),
        *row("kd", (95.0, 95.2, 95.7)),
        *row("at", (94.0,) * 3),
    ]
    # differences 2.0, 2.1, 2.2: mean 2.1, sd 0.1, half width 4.3027 * 0.1 / sqrt(3) = 0.248
    assert result(runs) == (
        "kd has the highest mean: 95.3 ± 0.4 (n = 3), +2.1 [1.9, 2.3] over the student alone."
    )


def test_the_headline_says_when_the_interval_includes_zero_and_when_rows_have_no_rank():
    runs = [teacher(), *row("student", STUDENT), *row("at", AT)]
    assert result(runs) == (
        "at has the highest mean: 92.0 ± 1.0 (n = 3), +1.0 [-1.5, 3.5] over the student alone, "
        "with an interval that includes zero; 1 of 3 rows has no rank."
    )


def test_an_interval_that_ends_at_zero_includes_it():
    runs = [*row("student", [90] * 3), *row("kd", [90] * 3), *row("at", [89] * 3)]
    expected = (
        "kd 90.0 ± 0.0 (n = 3), +0.0 [0.0, 0.0] against the student alone, with an interval "
        "that includes zero"
    )
    assert expected in result(runs)


def test_the_headline_says_when_nothing_beats_the_student_alone():
    runs = [teacher(), *row("student", STUDENT), *row("kd", (89.0,) * 3), *row("at", (88.0,) * 3)]
    assert result(runs) == (
        "The student alone has the highest mean: 91.0 ± 1.0 (n = 3); no ranked method has a "
        "higher mean."
    )


def test_the_headline_says_when_nothing_is_ranked():
    expected = (
        "No method is ranked: a row is ranked only when all its planned cells, and at least 3 "
        "seeds, have finished."
    )
    assert result([]) == expected
    assert result([teacher(), *row("student", STUDENT), run("kd", 0, 99.0)]) == expected


def test_the_headline_names_all_that_share_the_best_mean():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    runs = [*row("kd", (92.0, 93.0, 94.0)), *row("at", (93.0, 93.0, 93.0))]
    assert result(runs, plan) == (
        "kd and at share the highest mean: kd 93.0 ± 1.0 (n = 3), at 93.0 ± 0.0 (n = 3)."
    )


def test_the_headline_of_several_pairs_counts_them():
    plan = dataclasses.replace(PLAN, pairs=("a", "b", "c", "d"), methods=("student", "kd"))
    runs = everywhere(plan, {"student": 90.0})
    for pair, mean in {"a": 92.0, "b": 91.0, "c": 89.0}.items():
        runs += row("kd", (mean,) * 3, pair)

    assert result(runs, plan) == (
        "kd has the highest mean on 2 of 4 pairs (+1.0 to +2.0 over the student alone); the "
        "student alone has the highest mean on 1; no method is ranked on 1; 1 of 8 rows has no "
        "rank."
    )


def test_the_headline_of_a_tie_on_several_pairs_counts_pairs_and_compares_nothing_with_itself():
    plan = dataclasses.replace(PLAN, pairs=("a", "b"))
    runs = everywhere(plan, {"student": 91.0})
    for pair in plan.pairs:
        runs += row("kd", (90.0, 91.0, 93.0), pair)
        runs += row("at", (90.0, 91.0, 93.0), pair)
    assert result(runs, plan) == (
        "kd and at share the highest mean on 2 of 2 pairs (+0.3 over the student alone, "
        "with an interval that includes zero on 2 of 2 pairs)."
    )

    tied = []
    for pair in plan.pairs:
        tied += row("student", (91.0, 92.0, 93.0), pair)
        tied += row("kd", (91.0, 92.0, 93.0), pair)
    assert result(tied, plan).startswith(
        "The student alone and kd share the highest mean on 2 of 2 pairs (+0.0 against the "
        "student alone, with an interval that includes zero on 2 of 2 pairs)"
    )


def test_rows_that_are_not_applicable_do_not_count_as_unranked_in_the_headline():
    plan = dataclasses.replace(PLAN, not_applicable={f"{PAIR}/at": "needs two maps"})
    assert "no rank" not in result([*row("student", STUDENT), *row("kd", KD)], plan)


def test_the_headline_tells_the_best_of_published_and_of_tuned_rows_apart():
    # at (tuned) is 3.5 above the tuned student alone, with every seed
    assert result(tuned(), TUNED_PLAN) == (
        "With published settings, kd has the highest mean: 92.8 ± 1.0 (n = 3), +1.8 [1.1, 2.6] "
        "over the student alone. Tuned with 20 trials, at (tuned) has the highest mean: 95.0 ± "
        "1.0 (n = 3), +3.5 [3.5, 3.5] over the tuned student alone."
    )


def test_the_headline_says_when_tuned_rows_cannot_be_ranked():
    text = result(tuned(), UNEQUAL_PLAN)
    assert text.startswith("With published settings, kd has the highest mean")
    assert text.endswith(f"over the student alone. R{UNEQUAL[1:]}.")


def test_the_headline_of_tuned_rows_says_when_nothing_beats_the_tuned_student_alone():
    runs = [*tuned()[:-6], *row("kd (tuned)", (89.0,) * 3), *row("at (tuned)", (88.0,) * 3)]
    text = result(runs, TUNED_PLAN)
    assert "Tuned with 20 trials, student (tuned) has the highest mean" in text
    assert text.endswith("; no ranked method has a higher mean.")


def test_a_study_of_tuned_rows_alone_has_a_headline_of_tuned_rows_alone():
    plan = dataclasses.replace(
        PLAN, methods=("kd (tuned)",), baseline=None, trials={"kd (tuned)": 4}
    )
    assert result(tuned(), plan).startswith("Tuned with 4 trials, kd (tuned) has the highest mean")


def test_the_label_of_the_student_alone_says_which_rows_meet_the_tuned_one():
    assert student_label(("kd", "at"), TUNED_PLAN) == "the student alone"
    assert student_label(("kd (tuned)",), TUNED_PLAN) == "the tuned student alone"
    assert student_label(TUNED_PLAN.methods, TUNED_PLAN) == (
        "the student alone (for tuned rows, the tuned student alone)"
    )
