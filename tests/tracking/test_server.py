"""MLflow's own server over a store: what it shows, and why it does not start."""

from __future__ import annotations

import http.client
import json
import shutil
import socket

import pandas as pd
import pytest

from benchmark.errors import InputError, TrackingError
from benchmark.tracking import server
from benchmark.tracking.runs import plan, runs
from benchmark.tracking.store import open_store
from benchmark.tracking.sync import sync
from tests.support.journalled import (
    CANARY,
    Study,
    configuration,
    counts,
    file_names,
    find_models,
    find_run,
)

pytestmark = pytest.mark.mlflow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_addresses_open_the_mode_that_shows_runs_and_hold_no_password():
    assert server.addresses(f"http://me:{CANARY}@host:5000/base/", "7") == {
        "start": "http://host:5000/base/#/experiments?workflowType=machine_learning",
        "runs": "http://host:5000/base/#/experiments/7/runs?workflowType=machine_learning",
    }


def test_mlflows_server_shows_what_was_recorded_and_records_itself(tmp_path, template, monkeypatch):
    workspace = tmp_path / "with space"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    direct = Study(workspace, "direct").finish()
    shutil.copy(template, workspace / "mlflow.db")
    store = open_store(workspace, None)
    sync(direct.folder, store)

    port = free_port()
    process = server.serve(store, port=port)
    try:
        check_pages(port, find_run(store, "kd", study="direct").info.run_id)

        remote = open_store(tmp_path, f"http://127.0.0.1:{port}")
        check_remote_sync(remote, store, Study(workspace, "through").finish())

        with pytest.raises(InputError, match="is already a server"):
            server.serve(remote, port=free_port())
        in_use = f"port {port} on 127.0.0.1 cannot be used .*choose another one"
        with pytest.raises(InputError, match=in_use):
            server.serve(store, port=port)
    finally:
        server.end(process)

    with pytest.raises(ConnectionRefusedError):
        get(port, "/health")
    assert list(elsewhere.iterdir()) == []


def check_pages(port, run_id):
    """The server serves its page and the files of a run."""
    assert b"<title>MLflow</title>" in get(port, "/")

    listed = json.loads(get(port, f"/api/2.0/mlflow/artifacts/list?run_id={run_id}"))
    assert {file["path"] for file in listed["files"]} == {
        "config.json",
        "environment.json",
        "split.json",
        "study.yaml",
    }
    config = json.loads(get(port, f"/get-artifact?path=config.json&run_uuid={run_id}"))
    assert config == configuration("kd")


def check_remote_sync(remote, store, study):
    """A study that is synced through the server is in the store."""
    assert counts(sync(study.folder, remote)) == (3, 0, 0)
    assert counts(sync(study.folder, remote)) == (0, 0, 3)
    pd.testing.assert_frame_equal(runs("kd/through", remote), runs("kd/through", store))
    assert plan("kd/through", remote) == plan("kd/through", store)
    run = find_run(remote, "kd", study="through")
    assert len(file_names(remote, run)) == 4
    assert len(run.inputs.dataset_inputs) == 3

    models = find_models(remote, "through")
    assert set(models) == {"kd a-b s0", "student a-b s0", "teacher a-b s0"}
    assert models["kd a-b s0"].tags["teacher_model"] == models["teacher a-b s0"].model_id
    assert len(models["kd a-b s0"].metrics) == 4


def test_a_server_that_dies_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "Client", lambda _: None)  # it would refuse the store before
    store = open_store(tmp_path, None)
    store.database.write_text("no database at all, whatever its name says")
    message = r"exited; its last message: .*file is not a database"
    with pytest.raises(TrackingError, match=message):
        server.serve(store, port=free_port())


def test_there_is_nothing_to_serve_before_the_first_sync(tmp_path):
    with pytest.raises(InputError, match="nothing is recorded there yet"):
        server.serve(open_store(tmp_path, None))
