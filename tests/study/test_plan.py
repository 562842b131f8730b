"""What a study cannot have set out to compare."""

from __future__ import annotations

import dataclasses

import pytest

from benchmark.study.plan import from_dict, to_dict
from tests.support.handmade import PLAN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"select": "best_test"}, "'last' or 'best_val', not 'best_test'"),
        ({"baseline": "ce"}, "baseline 'ce' is not among"),
        ({"seeds": (0, 0)}, "seeds of study 'study' holds a value twice"),
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
