"""The list of measures is whole: what a run logs is described, and no name stands for two."""

from __future__ import annotations

import pytest

from benchmark.measures import ACCURACY, BY_COLUMN, BY_KEY, MEASURES, in_groups

HEAD = "pair method rank n planned acc1 sd ci_low ci_high vs_student vs_student_low"


def test_keys_columns_and_titles_are_unique():
    assert len(BY_KEY) == len(BY_COLUMN) == len(MEASURES)
    assert len({measure.title for measure in MEASURES}) == len(MEASURES)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.column)
def test_a_measure_says_what_it_is_in_a_sentence(measure):
    assert measure.title[0].isupper()
    assert measure.help[0].isupper()
    assert measure.help.endswith(".")


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.column)
def test_what_a_machine_measured_is_a_median_and_nothing_else_is(measure):
    assert (measure.group == "measured") == (measure.average == "median")


def test_the_groups_hold_every_measure_once():
    groups = ("quality", "size", "compute", "measured", "diagnostic")
    measures = [measure for group in groups for measure in in_groups(group)]
    assert sorted(measures, key=MEASURES.index) == list(MEASURES)
    assert in_groups(*groups) == MEASURES


def test_rows_are_ranked_by_top_1_accuracy():
    assert (ACCURACY.key, ACCURACY.group, ACCURACY.higher_is_better) == (
        "test/acc1",
        "quality",
        True,
    )


def test_the_columns_of_the_csv_files_stay_as_they_are():
    from benchmark.leaderboard.table import COLUMNS, COST_COLUMNS

    assert " ".join(COLUMNS) == (
        f"{HEAD} vs_student_high gap_closed vs_untuned vs_untuned_low vs_untuned_high vs_kd "
        "vs_kd_low vs_kd_high p_student p_kd significant mean_rank mean_rank_low mean_rank_high "
        "acc5 f1 ece agreement params macs compute_tmac compute_factor trials search_tmac "
        "best_minus_last published published_source published_rule note"
    )
    assert " ".join(COST_COLUMNS) == (
        "pair method latency_ms latency_batch64_ms train_seconds teacher_seconds peak_memory_mb "
        "params compute_tmac compute_factor trials search_tmac"
    )
