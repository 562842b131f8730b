"""Saved views in MLflow's own format."""

from __future__ import annotations

import pytest

from benchmark.tracking import views

pytestmark = pytest.mark.mlflow


def test_a_view_keeps_its_tag_until_it_changes():
    view = views.table_view(
        "board",
        "Leaderboard",
        "",
        [views.metric("test/acc1")],
        views.metric("test/acc1"),
        group_by=["method"],
    )
    assert view.tag == "mlflow.sharedViewState.board"
    first = views.pack(view, None, 1)
    assert views.pack(view, first, 2) == first

    changed = views.with_charts(view, {"Scores": [views.bar("test/acc1")], "None": []})
    second = views.unpack(views.pack(changed, first, 3))
    assert (second["createdAt"], second["updatedAt"], second["name"]) == (1, 3, "Leaderboard")
    assert second["state"]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "method"}]
    sections = second["state"]["compareRunSections"]
    assert [section["name"] for section in sections] == ["Scores"]


@pytest.mark.parametrize(
    "tag",
    ["", "[]", "{}", '{"state": 3}', '{"state": "deflate;####"}', '{"state": "deflate;AAAA"}'],
)
def test_a_tag_in_another_format_is_written_anew(tag):
    assert views.unpack(tag) == {}
    view = views.table_view("board", "Leaderboard", "", [], views.metric("x"))
    assert views.unpack(views.pack(view, tag, 5))["createdAt"] == 5


def test_an_address_carries_mode_and_view_after_the_hash_and_no_password():
    base = "http://me:secret@host:5000/"
    start = "http://host:5000/#/experiments/7/runs?workflowType=machine_learning"
    table = views.address(base, "7", "board", charts=False)
    assert table == f"{start}&viewStateShareKey=board"
    charts = views.address(base, "7", "board", charts=True)
    assert charts == f"{start}&compareRunsMode=CHART&viewStateShareKey=board"
