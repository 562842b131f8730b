"""MLflow is kept up to date while a study is trained, and never disturbs the training."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from benchmark.errors import TrackingError
from benchmark.tracking import follower
from benchmark.tracking import sync as tracking_sync
from benchmark.tracking.client import import_mlflow
from benchmark.tracking.follower import following
from benchmark.tracking.store import open_store
from benchmark.tracking.sync import follow
from tests.support.journalled import CANARY, counts, find_run

pytestmark = pytest.mark.mlflow


def test_following_an_unreachable_server_warns_once_and_never_raises(small):
    small.start("kd")
    import_mlflow()
    store = open_store(small.folder, f"http://me:{CANARY}@127.0.0.1:9")
    warnings, looks = [], []

    def stop():
        looks.append(1)
        small.epoch("kd", len(looks) - 1)
        return len(looks) == 40

    started = time.monotonic()
    assert follow(small.folder, store, stop, warn=warnings.append, every=0.01) is False
    assert time.monotonic() - started < 10

    (line,) = warnings
    reason = "the server cannot be reached: [Errno 111] Connection refused; "
    assert line.startswith(f"http://***@127.0.0.1:9: {reason}")
    assert line.endswith("`kdbench sync small` will record these runs later")
    assert "\n" not in line


def test_following_records_during_training_and_calls_mlflow_only_after_a_change(
    store, small, monkeypatch
):
    synced, warnings, results = [], [], []
    stopped = threading.Event()
    sync = tracking_sync.sync

    def counted(*arguments, **options):
        synced.append(counts(sync(*arguments, **options)))

    def record():
        results.append(
            follow(small.folder, store, stopped.is_set, warn=warnings.append, every=0.05)
        )

    monkeypatch.setattr(tracking_sync, "sync", counted)
    small.start("kd")
    thread = threading.Thread(target=record)
    thread.start()
    wait_until(lambda: len(synced) == 1)
    time.sleep(0.5)
    assert synced == [(1, 0, 0)]

    small.epoch("kd", 0)
    wait_until(lambda: len(synced) == 2)
    small.epoch("kd", 1)
    small.final("kd")
    stopped.set()
    thread.join(30)
    assert (results, warnings) == ([True], [])
    assert find_run(store, "kd").info.status == "FINISHED"


def test_following_recovers_once_the_store_answers(store, small, monkeypatch):
    small.train("kd")
    attempts, warnings = [], []
    sync = tracking_sync.sync

    def down_twice(*arguments, **options):
        attempts.append(1)
        if len(attempts) < 3:
            raise TrackingError("down")
        return sync(*arguments, **options)

    def stop():
        return len(attempts) > 2

    monkeypatch.setattr(tracking_sync, "sync", down_twice)
    assert follow(small.folder, store, stop, warn=warnings.append, every=0.01)
    assert len(warnings) == 1
    assert find_run(store, "kd").info.status == "FINISHED"


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SLOW = "import sys, time; sys.stdin.read(); time.sleep({seconds})"
"""A process that does not end with its input, as while it imports MLflow."""


@pytest.fixture
def slow(monkeypatch):
    """Start other processes in place of those that feed MLflow; returns them, once started."""
    started = []

    def start(seconds):
        class Other(subprocess.Popen):
            def __init__(self, _, **options):
                super().__init__([sys.executable, "-c", SLOW.format(seconds=seconds)], **options)
                started.append(self)

        monkeypatch.setattr(subprocess, "Popen", Other)
        return started

    return start


@pytest.mark.parametrize("stop", [SystemExit(143), KeyboardInterrupt()])
def test_a_signal_does_not_wait_for_a_follower_that_is_still_importing_mlflow(
    stop, store, small, slow, monkeypatch
):
    monkeypatch.setattr(follower, "LAST_SYNC_SECONDS", 0.2)
    started = slow(seconds=600)
    with pytest.raises(type(stop)), following(small.folder, store, print) as is_recorded:
        raise stop
    assert [process.returncode for process in started] == [-9]
    assert not is_recorded()


def test_the_end_of_training_waits_for_the_last_sync(store, small, slow, monkeypatch):
    monkeypatch.setattr(follower, "LAST_SYNC_SECONDS", 0.0)
    started = slow(seconds=0.5)
    with following(small.folder, store, print) as is_recorded:
        pass
    assert [process.returncode for process in started] == [0]
    assert is_recorded()


def test_following_ends_its_pause_with_the_training(store, small, monkeypatch):
    monkeypatch.setattr(tracking_sync, "sync", lambda *_, **__: None)
    over = threading.Event()
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        over.set()

    assert follow(small.folder, store, over.is_set, warn=print, every=60.0, pause=pause)
    assert pauses == [60.0]
