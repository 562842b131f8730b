"""The plan of a study comes back from MLflow alone, whichever version wrote it."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from benchmark.study.plan import Plan, to_dict
from benchmark.tracking import plan_tag
from benchmark.tracking.runs import plan
from benchmark.tracking.sync import sync
from benchmark.tracking.tags import LONGEST_TAG, PLAN
from tests.support.journalled import mlflow_client

pytestmark = pytest.mark.mlflow


@pytest.mark.parametrize("size", [1, 400])
def test_the_plan_comes_back_however_long_it_is(store, small, size):
    reasons = {f"a-b/method {number}": "no maps" for number in range(size)}
    small.change_plan(not_applicable=reasons)
    sync(small.folder, store)
    recorded = plan("kd/small", store)
    assert recorded.not_applicable == reasons
    assert to_dict(recorded) == to_dict(small.plan.for_tables())


def test_the_effort_of_tuning_comes_back(store, small):
    small.change_plan(
        methods=("kd", "kd (tuned)"),
        baseline=None,
        trials={"kd (tuned)": 20},
        search_tmac={"a-b/kd (tuned)": 0.1 + 0.2},
    )
    sync(small.folder, store)

    recorded = plan("kd/small", store)
    assert recorded.trials == {"kd (tuned)": 20}
    assert recorded.search_tmac == {"a-b/kd (tuned)": 0.1 + 0.2}
    assert recorded.published("kd (tuned)") == "kd"
    assert recorded.published("kd") is None
    assert recorded.budgets == [20]


def test_rows_with_settings_of_the_author_come_back(store, small):
    small.change_plan(altered=["kd"])
    sync(small.folder, store)
    assert plan("kd/small", store).altered == ("kd",)


def test_the_tag_is_the_json_of_the_plan_for_tables(store, small):
    sync(small.folder, store)
    tags = mlflow_client(store).get_experiment_by_name("kd/small").tags
    assert json.loads(tags[PLAN]) == to_dict(small.plan.for_tables())


def test_a_long_plan_is_packed_as_plain_text():
    question = "?" * (LONGEST_TAG + 1000)
    long = Plan("s", question, ("a-b",), ("kd",), (0,), "last", None)
    packed = plan_tag.pack(long)
    assert len(packed) < 500
    assert base64.b64decode(packed)
    assert to_dict(plan_tag.unpack(packed)) == to_dict(long)


OLD = {
    "study": "old",
    "question": "Which is best?",
    "pairs": ["a-b"],
    "methods": ["student", "kd"],
    "seeds": [0],
    "select": "last",
    "baseline": "student",
    "not_applicable": {"a-b/at": "no maps"},
    "dataset": "digits",
}
"""A plan as the first version wrote it."""


@pytest.mark.parametrize("compressed", [False, True])
def test_the_tag_of_an_older_version_is_read(compressed):
    text = json.dumps(OLD)
    tag = base64.b64encode(zlib.compress(text.encode())).decode() if compressed else text
    old = plan_tag.unpack(tag)
    assert (old.study, old.question, old.select) == ("old", "Which is best?", "last")
    assert (old.pairs, old.methods, old.seeds) == (("a-b",), ("student", "kd"), (0,))
    assert (old.baseline, old.protocol) == ("student", "validated")
    assert old.not_applicable == {"a-b/at": "no maps"}
    assert old.datasets == {"a-b": "digits"}
    assert (old.trials, old.search_tmac) == ({}, {})
