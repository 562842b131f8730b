"""What MLflow shows of a study beside its runs: a report, a description and saved views."""

from __future__ import annotations

import re

import pytest

from benchmark.leaderboard import table
from benchmark.report import files as report_files
from benchmark.report import markdown
from benchmark.tracking import report_run, views
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.runs import fetch, plan, runs
from benchmark.tracking.sync import sync
from benchmark.tracking.tags import LONGEST_TAG, NOTE, REPORT_RUN
from tests.support.journalled import Study, file_names, find_runs, mlflow_client

pytestmark = pytest.mark.mlflow


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "runs", rows=("student", "kd", "kd+at"), seeds=(0, 1, 2)).finish()


def publish(study, store, folder, longest=LONGEST_TAG):
    """Do what `kdbench leaderboard` does; return the warnings."""
    sync(study.folder, store)
    recorded_plan = plan("kd/small", store)
    recorded_runs = runs("kd/small", store)
    board = table.leaderboard(recorded_runs, recorded_plan)
    costs = table.costs(recorded_runs, recorded_plan)

    files = report_files.write(board, costs, recorded_plan, folder)
    note = markdown.to_note(board, recorded_plan, longest)
    warnings = []
    report_run.publish("kd/small", store, recorded_plan, note, files, warnings.append)
    return warnings


def find_reports(store):
    return find_runs(store, "tags.`kdbench.kind` = 'report'")


def find_report(store):
    (run,) = find_reports(store)
    return run


def kind(store, run):
    return mlflow_client(store).get_run(run.info.run_id).data.tags["kdbench.kind"]


def experiment_tags(store):
    return mlflow_client(store).get_experiment_by_name("kd/small").tags


def test_one_report_holds_the_files_of_the_leaderboard_and_is_named_by_a_tag(
    tmp_path, store, study
):
    assert publish(study, store, tmp_path / "results") == []

    run = find_report(store)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "report")
    assert experiment_tags(store)[REPORT_RUN] == run.info.run_id

    contents = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert file_names(store, run) == set(contents)
    for name, content in contents.items():
        copy = fetch(f"runs:/{run.info.run_id}/{name}", store, tmp_path)
        assert copy.read_bytes() == content


def test_publishing_again_writes_nothing(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    before = store.database.read_bytes()
    publish(study, store, tmp_path / "results")
    assert store.database.read_bytes() == before


def test_a_new_result_updates_the_same_report(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    before = find_report(store).info.run_id

    study.change_plan(question="And now?")
    publish(study, store, tmp_path / "results")
    assert find_report(store).info.run_id == before
    page = fetch(f"runs:/{before}/leaderboard.md", store, tmp_path)
    assert "And now?" in page.read_text()


def test_a_second_report_is_superseded_and_disturbs_nothing(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    run = find_report(store)
    other = mlflow_client(store).create_run(
        run.info.experiment_id, tags={"kdbench.kind": "report", "study": "small"}
    )

    assert publish(study, store, tmp_path / "results") == []
    assert find_report(store).info.run_id == run.info.run_id
    assert kind(store, other) == "superseded"

    synced = sync(study.folder, store)
    assert (synced.created, synced.updated) == (0, 0)


def test_a_report_has_no_file_that_the_leaderboard_no_longer_has(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    old = find_report(store)
    recorded = plan("kd/small", store)
    files = sorted((tmp_path / "results").iterdir())

    report_run.publish("kd/small", store, recorded, "Result.", files[1:], pytest.fail)
    new = find_report(store)
    assert file_names(store, new) == {file.name for file in files[1:]}
    assert kind(store, old) == "superseded"
    assert experiment_tags(store)[REPORT_RUN] == new.info.run_id

    report_run.publish("kd/small", store, recorded, "Result.", files, pytest.fail)
    assert find_report(store).info.run_id == new.info.run_id


def test_the_description_is_the_result_in_one_sentence_and_then_the_table(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    first, blank, *rest = experiment_tags(store)[NOTE].splitlines()
    assert first.startswith("kd+at has the highest mean: 94.0")
    assert blank == ""
    assert rest[0] == "**a-b, digits**"

    rows = [line.replace("&emsp;", "") for line in rest]
    assert rows[2].startswith("| Method | n | Top-1 (%) |")
    best = "| kd+at | 3 | 94.00 ± 1.00 | +3.00 [3.00, 3.00] |"
    assert any(row.startswith(best) for row in rows)
    linked = re.sub(r" \[Report\]\(.*?\)", "", experiment_tags(store)[NOTE])
    assert find_report(store).data.tags[NOTE] == linked


def test_the_columns_of_a_description_are_a_wide_space_apart_as_mlflow_leaves_none(
    tmp_path, store, study
):
    publish(study, store, tmp_path / "results")
    lines = experiment_tags(store)[NOTE].splitlines()
    head, rule, *rows = [line for line in lines if line.startswith("|")]
    for line in (head, *rows):
        assert line.count(" | &emsp;") == rule.count("|") - 2


def test_a_description_that_is_too_long_loses_whole_rows_and_says_so(tmp_path, store, study):
    publish(study, store, tmp_path / "results", longest=400)
    text = experiment_tags(store)[NOTE]
    assert len(re.sub(r" \[Report\]\(.*?\)", "", text)) <= 400
    assert text.rstrip().endswith("more rows are in the report.")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.endswith("|") for row in rows)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ("log_artifact", "its report"),
        ("set_experiment_tag", "its report"),
        ("search_runs", "its report and views"),
    ],
)
def test_what_cannot_be_written_is_one_warning_and_is_written_next_time(
    tmp_path, store, study, monkeypatch, call, part
):
    sync(study.folder, store)
    recorded = plan("kd/small", store)
    file = tmp_path / "leaderboard.csv"
    file.write_text("pair\n")
    warnings = []

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, call, fail)
        report_run.publish("kd/small", store, recorded, "Result.", [file], warnings.append)
    (warning,) = warnings
    assert warning.startswith(f"kd/small: could not write {part} to MLflow (")
    assert "disk full" in warning
    assert "RUNNING" not in {report.info.status for report in find_reports(store)}

    report_run.publish("kd/small", store, recorded, "Result.", [file], warnings.append)
    assert len(warnings) == 1
    assert [report.info.status for report in find_reports(store)] == ["FINISHED"]
    assert experiment_tags(store)[NOTE] == "Result."


def test_a_view_that_cannot_be_packed_leaves_report_and_description(
    tmp_path, store, study, monkeypatch
):
    monkeypatch.setattr(views, "pack", lambda *_: 1 / 0)
    assert publish(study, store, tmp_path / "results") == [
        "kd/small: could not write its saved views to MLflow (division by zero)"
    ]
    assert len(find_reports(store)) == 1
    assert NOTE in experiment_tags(store)


def test_addresses_are_those_of_the_saved_views(tmp_path, store, study):
    identity = sync(study.folder, store).experiment_id
    base = "http://me:secret@host:1/"
    start = f"http://host:1/#/experiments/{identity}/runs?workflowType=machine_learning"
    assert report_run.addresses(base, store) == {"kd/small": {"runs": start}}

    publish(study, store, tmp_path / "results")
    assert report_run.addresses(base, store) == {
        "kd/small": {
            "leaderboard": f"{start}&viewStateShareKey=leaderboard",
            "runs": f"{start}&viewStateShareKey=runs",
            "curves": f"{start}&compareRunsMode=CHART&viewStateShareKey=curves",
            "report": f"http://host:1/{report_address(store)}",
        }
    }


def report_address(store):
    """The address of the report's page, relative to that of the server."""
    run = find_report(store)
    return (
        f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        "/artifacts/leaderboard.html?workflowType=machine_learning"
    )


def test_the_first_line_of_the_description_links_to_the_report(tmp_path, store, study):
    publish(study, store, tmp_path / "results")
    first, *_ = experiment_tags(store)[NOTE].splitlines()
    run = find_report(store)
    assert first == f"{run.data.tags['result']} [Report]({report_address(store)})"
    assert run.data.tags["result"] == run.data.tags[NOTE].splitlines()[0]


def test_without_a_page_there_is_no_link(store, study):
    sync(study.folder, store)
    report_run.publish("kd/small", store, plan("kd/small", store), "Result.", [], pytest.fail)
    assert experiment_tags(store)[NOTE] == "Result."
