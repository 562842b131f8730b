"""The sentences about a table: headline, footnotes, provenance."""

from __future__ import annotations

import dataclasses

import pandas as pd

from benchmark.leaderboard.footnotes import footnotes
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.provenance import provenance
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
    full,
    row,
    run,
    teacher,
    tuned,
)


def test_the_headline_of_one_pair_gives_mean_spread_and_paired_gain():
    runs = [
        teacher(),
        *row("student", (93.0, 93.1, 93.5)),
        *row("kd", (95.0, 95.2, 95.7)),
        *row("at", (94.0,) * 3),
    ]
    # differences 2.0, 2.1, 2.2: mean 2.1, sd 0.1, half width 4.3027 * 0.1 / sqrt(3) = 0.248
    expected = (
        "kd has the highest mean: 95.3 ± 0.4 (n = 3), +2.1 [1.9, 2.3] over the student alone."
    )
    assert headline(board(runs), PLAN) == expected


def test_the_headline_says_when_the_interval_includes_zero_and_when_rows_have_no_rank():
    runs = [teacher(), *row("student", STUDENT), *row("at", AT)]
    expected = (
        "at has the highest mean: 92.0 ± 1.0 (n = 3), +1.0 [-1.5, 3.5] over the student alone, an "
        "interval that includes zero; 1 of 3 rows has no rank."
    )
    assert headline(board(runs), PLAN) == expected


def test_the_headline_says_when_nothing_beats_the_student_alone():
    runs = [teacher(), *row("student", STUDENT), *row("kd", (89.0,) * 3), *row("at", (88.0,) * 3)]
    expected = "The student alone has the highest mean: 91.0 ± 1.0 (n = 3); no ranked method has a higher mean."
    assert headline(board(runs), PLAN) == expected


def test_the_headline_says_when_nothing_is_ranked():
    expected = (
        "No method is ranked: a rank needs 3 finished seeds and every planned cell of the row."
    )
    assert headline(board([]), PLAN) == expected
    assert (
        headline(board([teacher(), *row("student", STUDENT), run("kd", 0, 99.0)]), PLAN) == expected
    )


def test_the_headline_names_all_that_share_the_best_mean():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    text = headline(
        board([*row("kd", (92.0, 93.0, 94.0)), *row("at", (93.0, 93.0, 93.0))], plan), plan
    )
    assert text == "kd and at share the highest mean: kd 93.0 ± 1.0 (n = 3), at 93.0 ± 0.0 (n = 3)."


def test_provenance_counts_the_finished_networks_of_each_environment():
    places = ("here", "here", "there", "here")
    made = zip([teacher(), *row("kd", KD)], places, strict=True)
    entries = [{**entry, "environment": place} for entry, place in made]
    entries.append({**entries[-1], "status": "FAILED", "environment": "nowhere"})
    assert provenance(pd.DataFrame(entries)) == ["2 students, 1 teacher: here", "1 student: there"]
    assert provenance(pd.DataFrame()) == []
    assert provenance(pd.DataFrame([{**entry, "environment": ""} for entry in full()[:1]])) == [
        "1 teacher: not recorded"
    ]


def test_the_headline_of_several_pairs_counts_them():
    plan = dataclasses.replace(PLAN, pairs=("a", "b", "c", "d"), methods=("student", "kd"))
    means = {"a": 92.0, "b": 91.0, "c": 89.0}
    runs = [entry for pair, mean in means.items() for entry in row("kd", (mean,) * 3, pair)]
    runs += [entry for pair in "abcd" for entry in row("student", (90.0,) * 3, pair)]
    expected = (
        "kd has the highest mean on 2 of 4 pairs (+1.0 to +2.0 over the student alone); the student alone has the "
        "highest mean on 1; no method is ranked on 1; 1 of 8 rows has no rank."
    )
    assert headline(board(runs, plan), plan) == expected


def test_the_headline_of_a_tie_on_several_pairs_counts_pairs_and_compares_nothing_with_itself():
    plan = dataclasses.replace(PLAN, pairs=("a", "b"))
    runs = [
        entry
        for pair in "ab"
        for name in ("kd", "at")
        for entry in row(name, (90.0, 91.0, 93.0), pair)
    ]
    runs += [entry for pair in "ab" for entry in row("student", (91.0,) * 3, pair)]
    assert headline(board(runs, plan), plan) == (
        "kd and at share the highest mean on 2 of 2 pairs (+0.3 over the student alone, an interval includes zero on 2 "
        "of 2)."
    )
    tied = [
        entry
        for pair in "ab"
        for name in ("student", "kd")
        for entry in row(name, (91.0, 92.0, 93.0), pair)
    ]
    assert headline(board(tied, plan), plan).startswith(
        "The student alone and kd share the highest mean on 2 of 2 pairs (+0.0 against the student alone, an interval "
        "includes zero on 2 of 2)"
    )


def test_rows_that_are_not_applicable_do_not_count_as_unranked_in_the_headline():
    plan = dataclasses.replace(PLAN, not_applicable={f"{PAIR}/at": "needs two maps"})
    assert "no rank" not in headline(board([*row("student", STUDENT), *row("kd", KD)], plan), plan)


def test_the_footnotes_tell_the_selection_rule_and_the_limit_of_three_seeds():
    notes = footnotes(board(full()), PLAN)
    assert (
        notes[0] == "Selection rule: the network after the last epoch is the one that was tested."
    )
    power = (
        "n = 3: with fewer than 6 seeds no paired difference can reach p < 0.05 in an exact sign-flip test (smallest "
        "possible p = 2/2^3 = 0.25)."
    )
    assert power in notes
    best_val = dataclasses.replace(PLAN, select="best_val")
    assert "best validation accuracy" in footnotes(board(full(), best_val), best_val)[0]


def test_the_limit_of_few_seeds_is_that_of_the_longest_row_and_the_teacher_counts_for_none():
    notes = footnotes(board([*full()[:7], run("at", 0, 92.0), run("at", 1, 92.0)]), PLAN)
    (limit,) = [note for note in notes if "sign-flip" in note]
    assert limit.startswith("n = 2 to 3: with fewer than 6 seeds no paired difference can reach")
    assert "(smallest possible p = 2/2^3 = 0.25)" in limit


def test_no_footnote_is_about_p_values_where_so_few_seeds_show_none():
    assert not any(note.startswith("p is") for note in footnotes(board(full()), PLAN))
    plan = dataclasses.replace(PLAN, seeds=tuple(range(6)), methods=("student", "kd"))
    table = board([teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2)], plan)
    assert any(note.startswith("p is") for note in footnotes(table, plan))


def test_six_seeds_need_no_word_about_sign_flips():
    plan = dataclasses.replace(PLAN, seeds=tuple(range(6)), methods=("student", "kd"))
    table = board([teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2)], plan)
    assert not any("sign-flip" in note for note in footnotes(table, plan))


def test_the_footnote_on_p_tells_of_two_comparisons_only_where_there_are_two():
    def told(methods, baseline):
        plan = dataclasses.replace(PLAN, seeds=tuple(range(6)), methods=methods, baseline=baseline)
        runs = [teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2), *row("at", AT * 2)]
        return next(note for note in footnotes(board(runs, plan), plan) if note.startswith("p is"))

    assert "Holm over both comparisons and all rows" in told(("student", "kd", "at"), "student")
    assert "Holm over all rows" in told(("student", "at"), "student")
    assert "Holm over all rows" in told(("kd", "at"), None)


def test_without_the_student_alone_the_footnotes_say_so():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    notes = footnotes(board(full(), plan), plan)
    assert (
        "The study has no row for the student alone, so it shows no differences to it and no closed gap."
        in notes
    )


def test_the_headline_tells_the_best_of_published_and_of_tuned_rows_apart():
    # at (tuned) is 3.5 above the tuned student alone, with every seed
    expected = (
        "With published settings, kd has the highest mean: 92.8 ± 1.0 (n = 3), +1.8 [1.1, 2.6] over "
        "the student alone. Tuned with 20 trials, at (tuned) has the highest mean: 95.0 ± 1.0 (n = 3), "
        "+3.5 [3.5, 3.5] over the tuned student alone."
    )
    assert headline(board(tuned(), TUNED_PLAN), TUNED_PLAN) == expected


def test_the_headline_says_when_tuned_rows_cannot_be_ranked():
    text = headline(board(tuned(), UNEQUAL_PLAN), UNEQUAL_PLAN)
    assert text.startswith("With published settings, kd has the highest mean")
    assert text.endswith(f"over the student alone. R{UNEQUAL[1:]}.")


def test_the_headline_of_tuned_rows_says_when_nothing_beats_the_tuned_student_alone():
    runs = [*tuned()[:-6], *row("kd (tuned)", (89.0,) * 3), *row("at (tuned)", (88.0,) * 3)]
    text = headline(board(runs, TUNED_PLAN), TUNED_PLAN)
    assert "Tuned with 20 trials, student (tuned) has the highest mean" in text
    assert text.endswith("; no ranked method has a higher mean.")


def test_a_study_of_tuned_rows_alone_has_a_headline_of_tuned_rows_alone():
    plan = dataclasses.replace(
        PLAN, methods=("kd (tuned)",), baseline=None, trials={"kd (tuned)": 4}
    )
    assert headline(board(tuned(), plan), plan).startswith(
        "Tuned with 4 trials, kd (tuned) has the highest mean"
    )


def test_the_footnotes_explain_tuned_rows_only_where_there_are_some():
    assert not any("tuned" in note for note in footnotes(board(full()), PLAN))
    notes = footnotes(board(tuned(), TUNED_PLAN), TUNED_PLAN)
    assert any("(row student, for tuned rows row student (tuned))" in note for note in notes)
    assert any(
        "plain distillation, of tuned rows to its tuned row, in percentage points" in note
        for note in notes
    )
    assert any(
        "ranked apart" in note and "tuned rows took 20 trials each" in note for note in notes
    )
    assert any(note.startswith("Differences to untuned rows") for note in notes)
    assert any(
        "tuned rows have no rank" in note
        for note in footnotes(board(tuned(), UNEQUAL_PLAN), UNEQUAL_PLAN)
    )
