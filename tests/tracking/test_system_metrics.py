"""The machine's load during training, in MLflow's system metrics."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import psutil
import pytest

from benchmark.errors import InputError
from benchmark.tracking import system_metrics
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.sync import follow, sync
from benchmark.tracking.system_metrics import SystemMonitor, require_psutil
from tests.support.journalled import START, find_run, history, snapshot

pytestmark = pytest.mark.mlflow

LOAD = {"cpu_utilization_percentage": 40.0, "system_memory_usage_megabytes": 2048.0}


@pytest.fixture
def training(small):
    """The study while one cell is trained, one has finished and one has not begun."""
    small.train("teacher")
    small.train("student")
    small.start("kd")
    return small


@pytest.fixture
def _running(monkeypatch):
    """A process is training the study."""
    monkeypatch.setattr("benchmark.locks.running", lambda _: True)


@pytest.mark.usefixtures("_running")
def test_only_runs_in_training_get_samples(store, training):
    sync(training.folder, store)
    SystemMonitor(training.folder, store, lambda: LOAD)()

    run = find_run(store, "kd")
    for name, value in LOAD.items():
        ((step, time, logged),) = history(store, run, f"system/{name}")
        assert logged == value
        assert step == (time - START) // 1000
    finished = find_run(store, "student").data.metrics
    assert not any(key.startswith("system/") for key in finished)


@pytest.mark.usefixtures("_running")
def test_a_sample_is_taken_once_per_interval(store, training, monkeypatch):
    sync(training.folder, store)
    clock = [100.0]
    monkeypatch.setattr(
        system_metrics,
        "time",
        SimpleNamespace(
            monotonic=lambda: clock[0], time_ns=lambda: int((START / 1000 + clock[0]) * 1e9)
        ),
    )
    monitor = SystemMonitor(training.folder, store, lambda: LOAD)
    for now in (100.0, 105.0, 109.9, 110.0, 111.0):
        clock[0] = now
        monitor()

    points = history(store, find_run(store, "kd"), "system/cpu_utilization_percentage")
    assert [step for step, _, _ in points] == [100, 110]


@pytest.mark.usefixtures("_running")
def test_samples_change_nothing_that_a_sync_writes(store, training):
    sync(training.folder, store)
    SystemMonitor(training.folder, store, lambda: LOAD)()
    training.epoch("kd", 0)
    training.epoch("kd", 1)
    training.final("kd")
    sync(training.folder, store)

    run = find_run(store, "kd")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/acc1"] == 92.0
    before = snapshot(store)
    sync(training.folder, store)
    assert snapshot(store) == before


def test_before_the_first_sync_there_is_no_run_to_write_to(store, training):
    SystemMonitor(training.folder, store, lambda: LOAD)()
    sync(training.folder, store)
    assert not any(key.startswith("system/") for key in find_run(store, "kd").data.metrics)


@pytest.mark.usefixtures("_running")
def test_a_store_that_fails_does_not_end_the_monitor(store, training, monkeypatch):
    sync(training.folder, store)

    def fail(*_, **__):
        raise OSError("disk full")

    monitor = SystemMonitor(training.folder, store, lambda: LOAD)
    with monkeypatch.context() as patch:
        patch.setattr(import_mlflow().MlflowClient, "log_batch", fail)
        monitor()
    assert history(store, find_run(store, "kd"), "system/cpu_utilization_percentage") == []


def test_following_observes_until_training_is_over(store, training):
    observed = []
    follow(
        training.folder,
        store,
        lambda: len(observed) == 3,
        warn=pytest.fail,
        every=0.01,
        observe=lambda: observed.append(1),
    )
    assert observed == [1, 1, 1]


def test_this_machine_is_sampled_with_mlflows_names(store, training, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_percent", lambda: 12.5)
    sample = system_metrics._machine()
    values = sample()
    assert values["cpu_utilization_percentage"] == 12.5
    assert 0 < values["system_memory_usage_percentage"] < 100
    assert values["system_memory_usage_megabytes"] > 0

    monkeypatch.setattr(psutil, "cpu_percent", lambda: 50.0)
    assert sample()["cpu_utilization_percentage"] == 50.0


def test_without_psutil_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"--system-metrics: .*`pip install 'kdbench\[system\]'`"):
        require_psutil()
