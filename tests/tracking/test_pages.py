"""What MLflow shows of a study beside its runs: a report, a description and saved views."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from benchmark.cli import show
from benchmark.leaderboard import table
from benchmark.report import files as report_files
from benchmark.report import markdown
from benchmark.tracking import client as tracking_client
from benchmark.tracking import report_run, sync, views
from benchmark.tracking import runs as tracking_runs
from benchmark.tracking import tags as tracking_tags
from benchmark.tracking.report_run import CURVES, LEADERBOARD, NOTE, REPORT_RUN, RUNS, study_views
from tests.support.journalled import Study, client, found

ROWS = ("student", "kd", "kd+at")


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "runs", rows=ROWS, seeds=(0, 1, 2)).finish()


def publish(study, store, folder, longest=tracking_tags.LONGEST_TAG):
    """What `kdbench leaderboard` does; returns the warnings."""
    sync.sync(study.folder, store)
    plan, runs, told = (
        tracking_runs.plan("kd/small", store),
        tracking_runs.runs("kd/small", store),
        [],
    )
    board, costs = table.leaderboard(runs, plan), table.costs(runs, plan)
    files = report_files.write(board, costs, plan, folder)
    report_run.publish(
        "kd/small", store, plan, markdown.to_note(board, plan, longest), files, told.append
    )
    return told


def reports(store):
    return found(store, "tags.`kdbench.kind` = 'report'")


def tags(store):
    return client(store).get_experiment_by_name("kd/small").tags


def test_one_report_holds_the_files_of_the_leaderboard_and_is_found_by_a_tag(
    tmp_path, store, study
):
    assert publish(study, store, tmp_path / "results") == []
    (run,) = reports(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "report")
    assert tags(store)[REPORT_RUN] == run.info.run_id
    written = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert {file.path for file in client(store).list_artifacts(run.info.run_id)} == set(written)
    for name, content in written.items():
        assert (
            tracking_runs.fetch(f"runs:/{run.info.run_id}/{name}", store, tmp_path).read_bytes()
            == content
        )


def test_publishing_again_writes_nothing_and_a_new_result_updates_the_same_report(
    tmp_path, store, study
):
    publish(study, store, tmp_path / "results")
    before, (run,) = store.database.read_bytes(), reports(store)
    publish(study, store, tmp_path / "results")
    assert store.database.read_bytes() == before
    study.plan["question"] = "And now?"
    study.save()
    publish(study, store, tmp_path / "results")
    (again,) = reports(store)
    assert again.info.run_id == run.info.run_id
    page = tracking_runs.fetch(f"runs:/{run.info.run_id}/leaderboard.md", store, tmp_path)
    assert "And now?" in page.read_text()


def test_a_second_report_is_superseded_and_disturbs_nothing(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    (run,) = reports(store)
    other = client(store).create_run(
        run.info.experiment_id, tags={"kdbench.kind": "report", "study": "small"}
    )
    assert publish(study, store, tmp_path / "results") == []
    assert [one.info.run_id for one in reports(store)] == [run.info.run_id]
    assert client(store).get_run(other.info.run_id).data.tags["kdbench.kind"] == "superseded"
    done = sync.sync(study.folder, store)
    assert (done.created, done.updated) == (0, 0)


def test_a_report_has_no_file_that_the_leaderboard_no_longer_has(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    (run,) = reports(store)
    plan, files = tracking_runs.plan("kd/small", store), sorted((tmp_path / "results").iterdir())
    report_run.publish("kd/small", store, plan, "Result.", files[1:], pytest.fail)
    (new,) = reports(store)
    names = {file.path for file in client(store).list_artifacts(new.info.run_id)}
    assert names == {file.name for file in files[1:]}
    assert client(store).get_run(run.info.run_id).data.tags["kdbench.kind"] == "superseded"
    assert tags(store)[REPORT_RUN] == new.info.run_id
    report_run.publish("kd/small", store, plan, "Result.", files, pytest.fail)
    assert [one.info.run_id for one in reports(store)] == [new.info.run_id]


def test_the_description_is_the_result_in_one_sentence_and_then_the_table(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    first, blank, *rest = tags(store)[NOTE].splitlines()
    assert first.startswith("kd+at has the highest mean: 94.0")
    assert blank == ""
    assert rest[0] == "**a-b, digits**"
    rows = [line.replace("&emsp;", "") for line in rest]
    assert rows[2].startswith("| Method | n | Top-1 (%) |")
    assert any(
        line.startswith("| kd+at | 3 | 94.00 ± 1.00 | +3.00 [3.00, 3.00] |") for line in rows
    )
    assert reports(store)[0].data.tags[NOTE] == tags(store)[NOTE]


def test_the_columns_of_a_description_are_a_wide_space_apart_as_mlflow_leaves_none(
    tmp_path, store, study
):
    publish(study, store, tmp_path / "results")
    head, rule, *rows = [line for line in tags(store)[NOTE].splitlines() if line.startswith("|")]
    for line in (head, *rows):
        assert line.count(" | &emsp;") == rule.count("|") - 2


def test_a_description_that_is_too_long_loses_whole_rows_and_says_so(tmp_path, store, study):
    publish(study, store, tmp_path / "results", longest=400)
    text = tags(store)[NOTE]
    assert len(text) <= 400
    assert text.rstrip().endswith("more rows are in the report.")
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_the_views_name_metrics_and_tags_that_the_runs_have(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    states = {
        key: views.unpack(tags(store)[views.PREFIX + key])["state"]
        for key in (LEADERBOARD, RUNS, CURVES)
    }
    run = found(store, "tags.`kdbench.kind` = 'run'")[0]
    names = {f"metrics.`{key}`" for key in run.data.metrics} | {
        f"tags.`{key}`" for key in run.data.tags
    }
    for state in states.values():
        assert set(state["selectedColumns"]) - {"tags.`reason`"} <= names
        shown = {one["metricKey"] for one in state.get("compareRunCharts", [])}
        assert shown in (set(), set(run.data.metrics))
    by = [group["groupByData"] for group in states[LEADERBOARD]["groupBy"]["groupByKeys"]]
    assert by == ["method", "pair"]
    assert states[LEADERBOARD]["groupsExpanded"]["tag.method.kd,tag.pair.a-b"] is False
    assert states[RUNS]["groupBy"] is None
    assert states[RUNS]["selectedColumns"][:5] == [
        "tags.`method`", "tags.`pair`", "tags.`seed`", "metrics.`test/acc1`", "metrics.`test/f1`"
    ]  # fmt: skip
    charts = {
        key: [
            (one["type"], one["metricKey"])
            for one in states[key].get("compareRunCharts", [])
            if not one["deleted"]
        ]
        for key in states
    }
    assert charts[LEADERBOARD] == [("BAR", "test/acc1"), ("BAR", "test/f1"), ("BAR", "cost/params")]
    assert charts[CURVES] == [("LINE", "val/acc1"), ("LINE", "loss/total")]
    for key in (LEADERBOARD, RUNS):
        assert client(store).search_runs([run.info.experiment_id], states[key]["searchFilter"])


def test_where_mlflow_loads_a_part_of_the_runs_the_means_are_of_whole_methods():
    orders = [view.state["orderByKey"] for view in study_views({"test/acc1"}, [], crowded=True)]
    assert orders == ["tags.`method`", "metrics.`test/acc1`", "tags.`method`"]
    names = [view.name for view in study_views({"test/acc1"}, [], crowded=True)]
    assert [name.startswith("First 100 runs: means") for name in names] == [True, False, True]
    assert study_views({"test/acc1"}, [])[0].state["orderByKey"] == "metrics.`test/acc1`"


@pytest.mark.parametrize(
    ("method", "what"),
    [
        ("log_artifact", "its report"),
        ("set_experiment_tag", "its report"),
        ("search_runs", "its report and views"),
    ],
)
def test_what_cannot_be_written_is_one_warning_and_comes_next_time(
    tmp_path, store, study, monkeypatch, method, what
):  # fmt: skip
    sync.sync(study.folder, store)
    plan, told = tracking_runs.plan("kd/small", store), []
    file = tmp_path / "leaderboard.csv"
    file.write_text("pair\n")

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_client.mlflow().MlflowClient, method, fail)
        report_run.publish("kd/small", store, plan, "Result.", [file], told.append)
    assert len(told) == 1
    assert told[0].startswith(f"kd/small: {what} in MLflow could not be written (")
    assert "disk full" in told[0]
    report_run.publish("kd/small", store, plan, "Result.", [file], told.append)
    assert len(told) == 1
    assert len(reports(store)) == 1
    assert tags(store)[NOTE] == "Result."


def test_a_view_that_cannot_be_packed_leaves_report_and_description(
    tmp_path, store, study, monkeypatch
):
    monkeypatch.setattr(views, "pack", lambda *_: 1 / 0)
    assert publish(study, store, tmp_path / "results") == [
        "kd/small: its saved views in MLflow could not be written (division by zero)"
    ]
    assert len(reports(store)) == 1
    assert NOTE in tags(store)


def test_addresses_are_those_of_the_views_that_there_are(tmp_path, store, study):
    identity = sync.sync(study.folder, store).experiment_id
    start = f"http://host:1/#/experiments/{identity}/runs?workflowType=machine_learning"
    assert report_run.addresses("http://me:secret@host:1/", store) == {"kd/small": {"runs": start}}
    publish(study, store, tmp_path / "results")
    assert report_run.addresses("http://me:secret@host:1/", store) == {
        "kd/small": {
            "leaderboard": f"{start}&viewStateShareKey=leaderboard",
            "runs": f"{start}&viewStateShareKey=runs",
            "curves": f"{start}&compareRunsMode=CHART&viewStateShareKey=curves",
        }
    }


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([3.0], "▄"),
        ([1.0, 1.0], "▄▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 0], "█▁"),
        ([1, math.nan, 2], "▁█"),
        ([math.inf], ""),
    ],
)
def test_a_sparkline_has_a_bar_for_each_value(values, bars):
    assert show.sparkline(values) == bars


def test_a_long_sparkline_is_as_wide_as_allowed_and_keeps_its_shape():
    bars = show.sparkline([math.sqrt(place) for place in range(601)])
    assert len(bars) == 60
    assert list(bars) == sorted(bars)
    assert (bars[0], bars[-1]) == ("▁", "█")


def test_a_run_with_a_metric_that_is_no_number_is_shown_and_compared(tmp_path, store):
    study = Study(tmp_path / "runs", "small", rows=("kd", "student"))
    for row in ("kd", "student"):
        study.train(row)
    sync.sync(study.folder, store)
    runs = show.find([cell["id"] for cell in study.plan["cells"][:2]], store)
    client(store).log_metric(runs[0].run_id, "val/acc1", math.nan, step=99)
    runs = show.find([run.run_id for run in runs], store)
    console = Console(width=200, file=io.StringIO())
    console.print(show.show(runs[0], store), show.compare(runs, store))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "val/acc1 nan" in lines
    assert any(re.fullmatch(r"val/acc1 nan [\d.]+", line) for line in lines)


def test_of_two_studies_with_the_same_cell_the_newest_run_is_shown_and_the_other_told(
    tmp_path, store
):
    for name, at in (("small", 1_700_000_000_000), ("later", 1_700_000_900_000)):
        one = Study(tmp_path / "runs", name, rows=("kd",))
        one.train("kd", at=at)
        sync.sync(one.folder, store)
    cell = one.plan["cells"][0]["id"]
    (run,) = show.find([cell], store)
    assert run.experiment == "kd/later"
    (other,) = run.same
    assert other.endswith(" in kd/small")
