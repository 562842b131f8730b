"""What a reader must know to read one table."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from benchmark.leaderboard.footnotes import GUIDE, footnotes
from tests.support.handmade import (
    AT,
    EIGHT,
    KD,
    PLAN,
    SIX,
    STUDENT,
    TUNED_PLAN,
    UNEQUAL,
    UNEQUAL_PLAN,
    board,
    everywhere,
    full,
    lines,
    over_pairs,
    row,
    run,
    teacher,
    tuned,
)

NETWORKS = {"dataset": "cifar100", "teacher": "cifar_resnet56", "student": "cifar_resnet20"}
"""Networks with published accuracies."""


def notes(runs, plan=PLAN):
    """The notes on the table of these runs."""
    return footnotes(board(runs, plan), plan)


def text(runs, plan=PLAN):
    """All notes in one text."""
    return " ".join(notes(runs, plan))


def test_the_first_note_is_the_selection_rule():
    assert notes(full())[0] == "Selection rule: every network was tested after its last epoch."

    best = dataclasses.replace(PLAN, select="best_val")
    assert notes(full(), best)[0] == (
        "Selection rule: every network was tested at its epoch with the best validation accuracy."
    )


def test_the_legacy_protocol_is_told_beside_the_selection_rule():
    legacy = dataclasses.replace(PLAN, protocol="legacy")
    assert "Legacy protocol: networks were trained on all training" in notes(full(), legacy)[0]
    assert "Legacy" not in text(full())


def test_fixed_views_are_told_with_their_number_beside_the_selection_rule():
    assert "fixed view" not in text(full())
    plan = dataclasses.replace(PLAN, fixed_views=8)
    assert (
        "Every training image was shown in 8 fixed views, one per epoch in turn, instead of a new "
        "one in each epoch, and the teacher's outputs were rounded to half precision: compare "
        "only with other rows of 8 fixed views."
    ) in notes(full(), plan)[0]
    one = dataclasses.replace(PLAN, fixed_views=1)
    assert (
        "Every training image was shown in the same view in every epoch, and the teacher's outputs "
        "were rounded to half precision: compare only with other rows of 1 fixed view."
    ) in notes(full(), one)[0]


def test_a_row_with_other_fixed_views_than_the_study_is_excepted():
    plan = dataclasses.replace(PLAN, fixed_views=8)
    excepted = "in each epoch, except in rows whose own recipe says otherwise, and the teacher's"
    longer = dataclasses.replace(plan, overrides={"kd": "epochs 8 instead of 4"})
    assert excepted not in notes(full(), longer)[0]
    other = dataclasses.replace(plan, overrides={"kd": "teacher_cache 2 instead of 8"})
    assert excepted in notes(full(), other)[0]


def test_test_images_that_were_trained_on_are_counted():
    assert "training images" not in text(full())
    plan = dataclasses.replace(PLAN, trained_on=(1200, 5000))
    assert (
        "1,200 of 5,000 test images are also among the training images: networks were tested on "
        "what they were trained on."
    ) in text(full(), plan)
    one = dataclasses.replace(PLAN, trained_on=(1, 40))
    assert "1 of 40 test images is also among the training images" in text(full(), one)


def test_three_seeds_cannot_reach_significance():
    assert (
        "With fewer than 6 seeds (n = 3), no difference can reach p < 0.05 in an exact sign-flip "
        "test: the smallest possible p is 2/2^3 = 0.25."
    ) in text(full())


def test_the_limit_of_few_seeds_is_that_of_the_longest_row_and_the_teacher_counts_for_none():
    shown = text([*full()[:7], run("at", 0, 92.0), run("at", 1, 92.0)])
    assert "With fewer than 6 seeds (n = 2 to 3), no difference can reach" in shown
    assert "the smallest possible p is 2/2^3 = 0.25" in shown


def test_no_footnote_is_about_p_values_where_so_few_seeds_show_none():
    assert "p is the two-sided" not in text(full())

    plan = dataclasses.replace(SIX, methods=("student", "kd"))
    runs = [teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2)]
    assert "p is the two-sided" in text(runs, plan)


def test_six_seeds_need_no_word_about_sign_flips():
    plan = dataclasses.replace(SIX, methods=("student", "kd"))
    runs = [teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2)]
    assert "exact sign-flip test" not in text(runs, plan)


def test_the_footnote_on_p_tells_of_two_comparisons_only_where_there_are_two():
    runs = [teacher(), *row("student", STUDENT * 2), *row("kd", KD * 2), *row("at", AT * 2)]
    without_kd = dataclasses.replace(SIX, methods=("student", "at"))
    without_student = dataclasses.replace(SIX, methods=("kd", "at"), baseline=None)

    assert "Holm-corrected over both comparisons and all rows of each pair" in text(runs, SIX)
    assert "Holm-corrected over all rows of each pair" in text(runs, without_kd)
    assert "Holm-corrected over all rows of each pair" in text(runs, without_student)


def test_several_pairs_are_told_to_be_corrected_separately():
    plan = dataclasses.replace(SIX, pairs=("p", "q"), methods=("student", "kd"))
    assert "Each pair is corrected separately" in text(
        everywhere(plan, {"student": 90, "kd": 91}), plan
    )
    one = dataclasses.replace(plan, pairs=("p",))
    assert "separately" not in text(everywhere(one, {"student": 90, "kd": 91}), one)


def test_the_footnotes_name_the_rows_that_are_compared_with():
    assert (
        "paired by seed. Rows are compared with the student alone (row student); with the "
        "reference (row kd)."
    ) in text(full())

    other = dataclasses.replace(PLAN, reference="at")
    assert "with the reference (row at)." in text(full(), other)
    none = dataclasses.replace(PLAN, reference=None)
    assert "reference" not in text(full(), none)


def test_without_the_student_alone_the_footnotes_say_so():
    plan = dataclasses.replace(PLAN, methods=("kd", "at"), baseline=None)
    assert (
        "The study has no row for the student alone, so the table shows neither "
        "differences from it nor the share of the gap that a method closes."
    ) in text(full(), plan)


def test_the_footnotes_explain_tuned_rows_only_where_there_are_some():
    assert "tuned" not in text(full())

    shown = text(tuned(), TUNED_PLAN)
    assert "(row student, or student (tuned) for tuned rows)" in shown
    assert "with the reference (row kd, or kd (tuned) for tuned rows)" in shown
    assert "with the same method with published settings (tuned rows only)" in shown
    assert "Tuned rows were tuned with 20 trials each." in shown
    assert "They are ranked separately from rows with published settings" in shown


def test_the_footnotes_say_that_rows_with_unequal_budgets_have_no_rank():
    assert f"R{UNEQUAL[1:]}." in notes(tuned(), UNEQUAL_PLAN)


def test_a_row_with_few_seeds_does_not_make_the_footnotes_deny_what_whole_rows_show():
    runs = [*row("student", [90] * 8), *row("kd", [91] * 8), *row("at", [95] * 5)]
    assert ("kd", "student") in lines(runs, EIGHT, ("significant",))
    shown = text(runs, EIGHT)
    assert (
        "In rows with fewer than 6 seeds (n = 5), no difference can reach p < 0.05 in an exact "
        "sign-flip test: the smallest possible p is 2/2^5 = 0.0625."
    ) in shown
    assert shown.count("no difference") == 1


def test_the_footnotes_deny_significance_where_there_are_too_many_comparisons():
    runs = [*row("student", [90] * 6), *row("kd", [91] * 6)]
    two = dataclasses.replace(SIX, methods=("student", "kd"))
    assert "no difference" not in text(runs, two)

    runs += row("at", [99] * 6)
    assert (
        "With n = 6 and 3 tests to correct for, the smallest possible p is 3 x 2/2^6 = 0.09375, "
        "so no difference can reach p < 0.05."
    ) in text(runs, SIX)

    runs += row("dkd", [99] * 6)
    four = dataclasses.replace(SIX, methods=("student", "kd", "at", "dkd"))
    assert "With n = 6 and 5 tests to correct for" in text(runs, four)


def test_the_footnotes_deny_significance_only_to_pairs_that_have_too_many_rows():
    plan = dataclasses.replace(SIX, pairs=("p", "q"), not_applicable={"q/at": "needs maps"})
    runs = everywhere(plan, {"student": 90, "kd": 91}) + row("at", [99] * 6, "p")
    assert ("q", "kd", "student") in lines(runs, plan, ("significant",))
    assert "so no difference on a pair with so many tests can reach p < 0.05." in text(runs, plan)


@pytest.mark.parametrize(
    ("count", "flips"),
    [(16, "over all sign patterns"), (17, "over 99,999 random sign patterns")],
)
def test_the_footnotes_tell_exact_p_values_from_estimated_ones(count, flips):
    plan = dataclasses.replace(PLAN, methods=("student", "kd"), seeds=tuple(range(count)))
    runs = [*row("student", [90] * count), *row("kd", [91] * count)]
    assert flips in text(runs, plan)


def test_five_pairs_have_friedmans_test_and_a_critical_difference():
    runs, plan = over_pairs(5)
    # Rank sums 15, 8 and 7: 12 / (5 3 4) (225 + 64 + 49) - 3 5 4 = 7.6, p = exp(-3.8).
    # Critical difference: 2.3437 sqrt(12 / 30) = 1.482.
    assert (
        "Friedman test of the 3 rows over 5 pairs: chi-square 7.60, p = 0.022; mean ranks more "
        "than 1.48 apart differ at the 5 % level (Nemenyi)."
    ) in text(runs, plan)


def test_the_footnotes_claim_no_difference_of_mean_ranks_where_friedmans_test_finds_none():
    plan = dataclasses.replace(PLAN, pairs=tuple("pqrst"))
    runs = []
    for number, pair in enumerate(plan.pairs):
        for shift, name in enumerate(plan.methods):
            runs += row(name, [90 + (number + shift) % 3] * 3, pair)

    # Rank sums 11, 9 and 10: 12 / (5 3 4) (121 + 81 + 100) - 3 5 4 = 0.4, p = exp(-0.2)
    assert (
        "chi-square 0.40, p = 0.819. No mean ranks can be said to differ, not even those more "
        "than 1.48 apart (Nemenyi's critical difference at the 5 % level)."
    ) in text(runs, plan)


def test_four_pairs_have_mean_ranks_and_no_friedmans_test():
    runs, plan = over_pairs(4)
    shown = text(runs, plan)
    assert "A mean rank is a row's rank among the rows ranked on every pair" in shown
    assert "Friedman" not in shown


def test_the_sources_of_published_accuracies_are_one_note():
    runs = [
        entry | NETWORKS
        for entry in [*row("student", [69] * 3), *row("kd", [70] * 3), *row("dkd", [71] * 3)]
    ]
    plan = dataclasses.replace(PLAN, methods=("student", "kd", "dkd"))
    (note,) = (note for note in notes(runs, plan) if "published" in note)
    assert "It is never compared with the other columns" in note
    assert note.endswith("RepDistiller (last): kd, student; mdistiller (best on test): dkd.")


def test_a_row_with_several_published_sources_is_named_with_its_pair():
    plan = dataclasses.replace(PLAN, pairs=("p", "q"), methods=("dkd",), baseline=None)
    networks = {"p": NETWORKS, "q": NETWORKS | {"teacher": "cifar_resnet110"}}
    runs = [entry | networks[entry["pair"]] for entry in everywhere(plan, {"dkd": 70})]
    assert text(runs, plan).endswith(
        "logit-standardization-KD (best on test): dkd on q; mdistiller (best on test): dkd on p."
    )


BUDGETS: tuple[dict[str, int], ...] = (
    {},
    {"kd (tuned)": 20, "at (tuned)": 20},
    {"kd (tuned)": 5, "at (tuned)": 20},
)


@pytest.mark.broad
@pytest.mark.parametrize("count", [1, 5], ids=lambda count: f"{count} pairs")
@pytest.mark.parametrize(
    "seeds",
    [1, 3, 6, pytest.param(17, marks=pytest.mark.slow)],
    ids=lambda seeds: f"{seeds} seeds",
)
@pytest.mark.parametrize("trials", BUDGETS, ids=["untuned", "tuned", "unequal"])
def test_no_table_has_more_than_six_notes(trials, seeds, count):
    methods = ("student", "kd", "at", "fitnet", *trials)
    means = {method: 90 + shift for shift, method in enumerate(methods)}
    options = itertools.product(("last", "best_val"), ("validated", "legacy"), ("student", None))

    for select, protocol, baseline in options:
        plan = dataclasses.replace(
            PLAN,
            pairs=tuple(f"p{number}" for number in range(count)),
            methods=methods,
            seeds=tuple(range(seeds)),
            select=select,
            protocol=protocol,
            baseline=baseline,
            trials=trials,
        )
        runs = [entry | NETWORKS for entry in everywhere(plan, means)]
        shown = notes(runs[:-1], plan)
        assert 3 <= len(shown) <= 6
        assert all(shown)


def test_a_table_with_everything_has_six_notes():
    plan = dataclasses.replace(TUNED_PLAN, pairs=tuple("pqrst"), seeds=SIX.seeds)
    means = {method: 90 + shift for shift, method in enumerate(plan.methods)}
    runs = [entry | NETWORKS for entry in everywhere(plan, means)]
    assert len(notes(runs, plan)) == 6


def test_a_study_that_has_not_begun_has_notes():
    assert len(notes([])) == 3


def test_the_guide_is_there_and_explains_every_column():
    guide = (Path(__file__).parents[2] / GUIDE).read_text(encoding="utf-8")
    missing = [name for name in board([]).columns if f"`{name}`" not in guide]
    assert missing == []
