"""MLflow's own server over a store: what it shows, and why it does not start."""

from __future__ import annotations

import http.client
import json
import shutil
import socket

import pandas as pd
import pytest

from benchmark.errors import InputError
from benchmark.tracking import runs, server, sync
from benchmark.tracking import store as tracking_store
from tests.support.journalled import CANARY, Study, client, counts, one


def test_addresses_open_the_mode_that_shows_runs_and_hold_no_password():
    assert server.addresses(f"http://me:{CANARY}@host:5000/base/", "7") == {
        "start": "http://host:5000/base/#/experiments?workflowType=machine_learning",
        "runs": "http://host:5000/base/#/experiments/7/runs?workflowType=machine_learning",
    }


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


def test_mlflows_server_shows_what_was_recorded_and_records_itself(tmp_path, template, monkeypatch):
    workspace, elsewhere = tmp_path / "with space", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    direct = Study(workspace, "direct").finish()
    shutil.copy(template, workspace / "mlflow.db")
    store, port = tracking_store.open_store(workspace, None), free_port()
    sync.sync(direct.folder, store)
    process = server.serve(store, port=port)
    try:
        run = one(store, "kd", study="direct").info.run_id
        listed = json.loads(get(port, f"/api/2.0/mlflow/artifacts/list?run_id={run}"))["files"]
        assert {file["path"] for file in listed} == {
            "config.json",
            "environment.json",
            "split.json",
            "study.yaml",
        }
        assert json.loads(get(port, f"/get-artifact?path=config.json&run_uuid={run}")) == {
            "row": "kd"
        }
        assert b"<title>MLflow</title>" in get(port, "/")

        remote = tracking_store.open_store(tmp_path, f"http://127.0.0.1:{port}")
        through = Study(workspace, "through").finish()
        assert counts(sync.sync(through.folder, remote)) == (3, 0, 0)
        assert counts(sync.sync(through.folder, remote)) == (0, 0, 3)
        pd.testing.assert_frame_equal(
            runs.runs("kd/through", remote), runs.runs("kd/through", store)
        )
        assert runs.plan("kd/through", remote) == runs.plan("kd/through", store)
        run = one(remote, "kd", study="through").info.run_id
        assert len(client(remote).list_artifacts(run)) == 4
        with pytest.raises(InputError, match="is a server already"):
            server.serve(remote, port=free_port())
        with pytest.raises(
            InputError, match=f"port {port} on 127.0.0.1 cannot be used .*choose another one"
        ):
            server.serve(store, port=port)
    finally:
        server.end(process)
    with pytest.raises(ConnectionRefusedError):
        get(port, "/health")
    assert list(elsewhere.iterdir()) == []


def test_a_server_that_dies_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "Client", lambda _: None)  # which would have refused before
    store = tracking_store.open_store(tmp_path, None)
    store.database.write_text("no database at all, whatever its name says")
    with pytest.raises(sync.TrackingError, match=r"died; it said: .*file is not a database"):
        server.serve(store, port=free_port())


def test_there_is_nothing_to_serve_before_the_first_sync(tmp_path):
    with pytest.raises(InputError, match="nothing is recorded there yet"):
        server.serve(tracking_store.open_store(tmp_path, None))
