"""Cohorts for several workers: all are busy, and passes of the teacher are shared if possible."""

from __future__ import annotations

import itertools
import random
from itertools import chain

import pytest

from benchmark.execution.balance import balanced, makespan
from benchmark.execution.estimate import cohorts_for, estimate
from tests.execution.helpers import pairs, prepared
from tests.support.studies import tiny

TEACHER, STUDENT = 2.0, 3.0


def cost(cohort: list[str]) -> float:
    """Return the cost of a cohort that passes its teacher once."""
    return TEACHER + STUDENT * len(cohort)


def test_one_worker_gets_the_groups_as_they_are() -> None:
    groups = [["a"], ["b", "c"]]
    assert balanced(groups, 1, cost) == groups


def test_a_group_is_divided_among_workers_that_would_be_idle() -> None:
    assert balanced([["a", "b", "c", "d"]], 2, cost) == [["a", "b"], ["c", "d"]]
    assert balanced([["a", "b", "c"]], 2, cost) == [["b", "c"], ["a"]]
    assert balanced([["a"]], 3, cost) == [["a"]]


def test_groups_that_keep_all_workers_busy_stay_whole() -> None:
    groups = [["a", "b"], ["c", "d"]]
    assert balanced(groups, 2, cost) == groups


def test_a_group_stays_whole_if_further_passes_cost_more_than_they_save() -> None:
    def dear(cohort: list[str]) -> float:
        return 100 + len(cohort)

    assert balanced([["a", "b"], ["c", "d"], ["e", "f"]], 2, dear) == [
        ["a", "b"],
        ["c", "d"],
        ["e", "f"],
    ]


def test_no_groups_make_no_cohorts() -> None:
    assert balanced([], 4, cost) == []
    assert makespan([], 4) == 0


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_each_cell_is_in_one_cohort_and_no_division_is_slower_than_none(workers: int) -> None:
    draw = random.Random(workers)
    for _ in range(50):
        numbers = itertools.count()
        groups = [
            [str(next(numbers)) for _ in range(draw.randint(1, 13))]
            for _ in range(draw.randint(1, 6))
        ]
        found = balanced(groups, workers, cost)
        assert sorted(chain(*found)) == sorted(chain(*groups))

        whole = sorted(((cost(group), group) for group in groups), reverse=True)
        divided = makespan([(cost(cohort), cohort) for cohort in found], workers)
        assert divided <= makespan(whole, workers)
        assert divided >= sum(cost(cohort) for cohort in found) / workers


def test_a_worker_begins_the_next_cohort_when_it_is_free() -> None:
    times = [(5.0, "a"), (3.0, "b"), (2.0, "c"), (4.0, "d")]
    assert makespan(times, 1) == 14
    assert makespan(times, 2) == 9
    assert makespan(times, 4) == 5


def test_cohorts_of_a_study_share_a_seed_and_a_teacher_however_many_workers_there_are() -> None:
    study = prepared(tiny(["student", "kd", "at"], pairs=pairs(one={}, two={"seed": 1})))
    for workers in (1, 2, 3, 4):
        cohorts = cohorts_for(study, study.cells, None, workers)
        assert sorted(str(cell) for cohort in cohorts for cell in cohort) == sorted(
            map(str, study.cells)
        )
        assert all(len({study.stream_of(cell) for cell in cohort}) == 1 for cohort in cohorts)

    seeds = prepared(tiny(["student", "kd", "at"], seeds=[0, 1]))
    assert [len(cohort) for cohort in cohorts_for(seeds, seeds.cells, None, 2)] == [3, 3]
    assert [len(cohort) for cohort in cohorts_for(seeds, seeds.cells, 2, 8)] == [2, 1, 2, 1]


def test_the_estimate_of_two_workers_takes_less_time_and_more_compute() -> None:
    study = prepared(tiny(["student", "kd", "at", "dkd"]))
    one = estimate(study, cohorts_for(study, study.cells, None, 1), [], workers=1)
    two = estimate(study, cohorts_for(study, study.cells, None, 2), [], workers=2)
    assert two.tmac > one.tmac
    assert two.alone == one.alone
    assert two.seconds < one.seconds
