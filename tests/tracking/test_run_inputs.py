"""The data sets that MLflow shows for a run."""

from __future__ import annotations

import json

import pytest

from benchmark.tracking.run_inputs import used_data, write_inputs
from benchmark.tracking.sync import sync
from tests.support.journalled import (
    FINGERPRINT,
    configuration,
    counts,
    find_run,
    find_runs,
    mlflow_client,
)

pytestmark = pytest.mark.mlflow


def inputs(run):
    """Name, digest and context of each input."""
    return {
        (entry.dataset.name, entry.dataset.digest, entry.tags[0].value)
        for entry in run.inputs.dataset_inputs
    }


def test_runs_of_cells_and_teachers_name_their_data(store, small):
    small.finish()
    sync(small.folder, store)

    expected = {("digits train", "train"), ("digits val", "val"), ("digits test", "test")}
    for row, kind in (("kd", "run"), ("student", "run"), ("teacher", "teacher")):
        run = find_run(store, row, kind)
        assert {(name, context) for name, _, context in inputs(run)} == expected
        data = {entry.dataset.name: entry.dataset for entry in run.inputs.dataset_inputs}
        assert json.loads(data["digits test"].source) == {"name": "digits"}
        assert json.loads(data["digits test"].profile) == {"fingerprint": FINGERPRINT}
        train = json.loads(data["digits train"].profile)
        assert train == {"fingerprint": FINGERPRINT, "val": 0.2, "seed": 0}


@pytest.mark.parametrize(
    ("key", "value", "changed"),
    [
        ("val", 0.3, {"train", "val"}),
        ("seed", 1, {"train", "val"}),
        ("test_samples", 10, {"train", "val", "test"}),
    ],
)
def test_the_digest_of_a_part_tells_which_samples_it_has(key, value, changed):
    before, after = configuration("kd"), configuration("kd")
    after["data"]["split"][key] = value
    pairs = zip(used_data(before), used_data(after), strict=True)
    assert {old.context for old, new in pairs if old.digest != new.digest} == changed


def test_another_data_set_gives_every_part_another_digest():
    before, after = configuration("kd"), configuration("kd")
    after["data"]["fingerprint"] = "0" * 64
    old, new = used_data(before), used_data(after)
    assert not {data.digest for data in old} & {data.digest for data in new}


def test_a_network_that_was_only_measured_used_only_test_data():
    measured = configuration("teacher")
    del measured["recipe"]
    assert [data.context for data in used_data(measured)] == ["test"]


def test_without_validation_data_there_is_no_input_for_it():
    legacy = configuration("kd")
    legacy["data"]["split"]["val"] = 0
    assert [data.context for data in used_data(legacy)] == ["train", "test"]


def test_a_configuration_without_data_gives_no_inputs():
    assert used_data({"row": "kd"}) == []


def test_a_run_of_an_older_version_gets_its_data_at_the_next_sync(store, small, monkeypatch):
    small.train("kd")
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.tracking.cell_run.write_inputs", lambda *_: False)
        sync(small.folder, store)
    (run,) = find_runs(store)
    assert inputs(run) == set()

    assert counts(sync(small.folder, store)) == (0, 1, 0)
    assert len(inputs(find_run(store, "kd"))) == 3
    assert counts(sync(small.folder, store)) == (0, 0, 1)


def test_inputs_that_exist_are_not_written_again(store, small):
    small.train("kd")
    sync(small.folder, store)
    run = find_run(store, "kd")

    written = []
    client = mlflow_client(store)
    client.log_inputs = lambda *_, datasets: written.extend(datasets)
    assert write_inputs(client, run, used_data(configuration("kd"))) is False
    assert written == []
