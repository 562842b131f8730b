"""Whatever ends a process: nothing is lost or recorded twice, and the numbers are the same."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli.progress import PlainProgress
from benchmark.locks import locked
from tests.support.commandline import (
    PLAIN,
    Ended,
    alive,
    ended,
    in_mlflow,
    kdbench,
    launched,
    leaderboard,
    until,
)
from tests.support.studies import ROWS, SEEDS, Tracked, bits, folders, tiny, write_study

pytestmark = [pytest.mark.subprocess, pytest.mark.usefixtures("no_figures")]

COUNT = len(ROWS) * len(SEEDS)
CANARY = "canary-4c1d"


def words(workspace: Path, study: Path, *more: str) -> tuple[Any, ...]:
    return ("--workspace", workspace, "run", study, "--device", "cpu", *more)


def assert_equal_cells(workspace: Path, expected: Path) -> None:
    found = folders(workspace)
    assert found.keys() == folders(expected).keys()
    for name, folder in folders(expected).items():
        assert found[name].name == folder.name
        assert bits(found[name]) == bits(folder)


# Forking from a process that has imported everything makes runs cheap, so there can be many.
DYING = """
import os, sys
import sklearn.datasets, timm, torch
from benchmark.cli.main import main
from benchmark.execution import run
from tests.support.quick import quicken
quicken()
places, sys.argv = sys.argv[1].split(","), ["kdbench", *sys.argv[2:]]
for place in places:
    child = os.fork()
    if child == 0:
        os.environ["KDBENCH_FAILPOINT"] = place
        main()
    print(place, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

# Every run resumes where the one before was killed: at each of the first writes, and later.
PLACES = [
    *(f"write.before_replace:{n}" for n in range(1, 12)),
    *(
        "checkpoint.taken:1",
        "checkpoint.taken:3",
        "checkpoint.tensors:1",
        "checkpoint.tensors:3",
        "checkpoint.written:1",
        "checkpoint.written:4",
    ),
    "write.before_replace:13",
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(PLACES[1:11:5] + PLACES[11::5], id="some writes"),
        pytest.param(PLACES, id="every write", marks=pytest.mark.slow),
    ],
)
def killed(
    request: pytest.FixtureRequest, tracked: Tracked, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A workspace whose study was killed at all places in turn, and then ran to its end."""
    places: list[str] = request.param
    workspace = tmp_path_factory.mktemp("killed") / "runs"
    command = [sys.executable, "-c", DYING, ",".join(places)]
    found = ended(launched(*words(workspace, tracked.study, "--no-track"), command=command))
    assert found.out.splitlines() == [f"{place} -9" for place in places]
    done = kdbench(*words(workspace, tracked.study, "--no-track"))
    assert done.code == 0
    assert places != PLACES or "0 already done" not in done.err
    return workspace


def test_a_study_killed_while_it_writes_ends_with_the_same_bits(
    killed: Path, tracked: Tracked
) -> None:
    assert_equal_cells(killed, tracked.workspace)
    left = {path.name for folder in folders(killed).values() for path in folder.iterdir()}
    assert left == {"config.json", "journal.jsonl", "student.safetensors", "done.json"}


def test_a_study_killed_while_it_writes_has_the_same_leaderboard(
    killed: Path, tracked: Tracked, tmp_path: Path
) -> None:
    assert kdbench("--workspace", killed, "sync", "tiny").out.startswith(
        f"{COUNT + 1} runs added, 0 updated, "
    )
    assert leaderboard(killed, "tiny", tmp_path) == tracked.files


def states(workspace: Path) -> dict[str, str]:
    """MLflow's status of every run by "row/seed"; a second run has a name of its own."""
    found: dict[str, str] = {}
    for run in in_mlflow(workspace):
        name = f"{run['method']}/{run['seed']}"
        found[name + "'" * (name in found)] = run["status"]
    return found


@pytest.mark.slow
def test_a_killed_process_leaves_no_follower_and_mlflow_ends_with_every_run_once(
    tracked: Tracked, workspace: Path, tmp_path: Path
) -> None:
    # The teacher's checkpoint, and those of both epochs of three students with one seed.
    process = launched(
        *words(workspace, tracked.study), env={"KDBENCH_FAILPOINT": "checkpoint.written:8"}
    )
    assert process.stderr is not None
    assert process.wait(timeout=120) == -signal.SIGKILL
    until(lambda: not alive(workspace))
    assert ended(process).err.count("Traceback") == 0
    finished, stopped = ({f"{row}/{seed}" for row in ROWS} for seed in (0, 1))
    assert states(workspace) == dict.fromkeys({"teacher/0", *finished}, "FINISHED") | dict.fromkeys(
        stopped, "KILLED"
    )
    again = kdbench(*words(workspace, tracked.study))
    assert again.code == 0
    assert "6 cells trained, 3 already done, 0 failed\n" in again.err
    assert states(workspace) == {"teacher/0": "FINISHED"} | {
        f"{row}/{s}": "FINISHED" for row in ROWS for s in SEEDS
    }
    assert_equal_cells(workspace, tracked.workspace)
    assert leaderboard(workspace, "tiny", tmp_path) == tracked.files


@pytest.mark.parametrize(
    ("number", "more"),
    [
        (signal.SIGINT, []),
        pytest.param(signal.SIGTERM, ["--no-track"], marks=pytest.mark.slow),
    ],
)
def test_a_stopped_study_says_so_in_one_line_and_goes_on_later(
    number: signal.Signals, more: list[str], tracked: Tracked, workspace: Path
) -> None:
    process = launched(*words(workspace, tracked.study, *more), start_new_session=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("pair / student / seed 0: "):
        assert process.poll() is None
    os.killpg(process.pid, number)
    found = ended(process)
    stopped = "kdbench: stopped; run the same command again to resume"
    assert (found.code, found.out) == (128 + number, "")
    assert [line for line in found.err.splitlines() if not line.startswith("pair / ")] == [stopped]
    assert alive(workspace) == []
    if not more:
        # There is no time to import MLflow for the last records.
        assert kdbench("--workspace", workspace, "sync", "tiny").code == 0
        assert set(states(workspace).values()) <= {"FINISHED", "KILLED"}
        assert states(workspace)["teacher/0"] == "FINISHED"
    assert kdbench(*words(workspace, tracked.study, "--no-track")).code == 0
    assert_equal_cells(workspace, tracked.workspace)


STOPPED_TWICE = """
import os, signal, sys
from benchmark.cli import signals

signals.listen()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except SystemExit as ended:
    print(ended.code, flush=True)
    os.kill(os.getpid(), signal.{second})
finally:
    print("cleaned up", flush=True)
"""
STOPPED = "kdbench: stopped; run the same command again to resume\n"


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_process_at_once_without_another_message(second: str) -> None:
    code = STOPPED_TWICE.format(second=second)
    found = ended(launched(command=[sys.executable, "-c", code]))
    assert found == Ended(128 + signal.Signals[second], "143\n", STOPPED)


STOPPED_WHILE_WRITING = """
import io, os, signal, sys
from benchmark.cli import signals

class Writing(io.TextIOWrapper):
    def write(self, text):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

signals.listen()
sys.stderr = Writing(sys.stderr.buffer)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_that_interrupts_a_write_to_standard_error_stops_the_process_all_the_same() -> (
    None
):
    found = ended(launched(command=[sys.executable, "-c", STOPPED_WHILE_WRITING]))
    assert found == Ended(128 + signal.SIGTERM, "", STOPPED)


# Python cannot handle a signal during this function, which another thread can notice.
OCCUPIED = """
import hashlib, sys
from benchmark.cli import signals

signals.GRACE_SECONDS = float(sys.argv[1])
signals.listen()
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2**31 - 1)
"""


@pytest.mark.parametrize(("grace", "count"), [(0.2, 1), (1e6, 2)])
def test_a_process_that_cannot_stop_ends_after_a_while_or_at_the_second_signal(
    grace: float, count: int
) -> None:
    process = launched(command=[sys.executable, "-c", OCCUPIED, str(grace)])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in (signal.SIGTERM, signal.SIGINT)[:count]:
        time.sleep(0.5)  # until it is in that function
        process.send_signal(number)
    assert ended(process) == Ended(128 + number, "", STOPPED)


FORKED = """
import os, signal, time
from benchmark.cli import signals

signals.GRACE_SECONDS = 0.1
signals.listen()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    time.sleep(60)
time.sleep(1)
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
time.sleep(1)
print("goes on", flush=True)
"""


def test_a_signal_to_a_copy_of_a_process_is_not_taken_for_its_own() -> None:
    found = ended(launched(command=[sys.executable, "-c", FORKED]))
    assert found == Ended(0, "ready\ngoes on\n", "")


def ignored(process: subprocess.Popen[str]) -> int:
    """The signals that a process ignores, as bits."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("SigIgn:")[2].split()[0], 16)


def test_a_follower_ends_with_its_input_and_not_by_a_signal_to_all_processes(
    workspace: Path,
) -> None:
    follow = ("--workspace", workspace, "sync", "tiny", "--follow")
    process = launched(*follow, command=PLAIN, stdin=subprocess.PIPE)
    wanted = 1 << signal.SIGINT - 1 | 1 << signal.SIGTERM - 1
    until(lambda: ignored(process) & wanted == wanted)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == Ended(0, "", "")


@pytest.fixture
def followers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that feed MLflow, as they are started."""
    found: list[subprocess.Popen[str]] = []

    class Noted(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command: list[str], **options: Any):
            super().__init__(command, **options)
            if "--follow" in command:
                found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return found


def test_a_killed_follower_costs_nothing_but_a_sync(
    followers: list[subprocess.Popen[str]],
    tracked: Tracked,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = write_study(workspace / "other.yaml", tiny(name="other"))
    # MLflow cannot go on with tables that it had only begun to make.
    (workspace / "mlflow.db").write_bytes((tracked.workspace / "mlflow.db").read_bytes())
    monkeypatch.setattr(PlainProgress, "epoch", lambda *_: followers[0].kill())
    found = kdbench(*words(workspace, study))
    assert [follower.returncode for follower in followers] == [-signal.SIGKILL]
    assert (found.code, found.out) == (0, "")
    assert "2 cells trained, 0 already done, 0 failed\n" in found.err
    assert (
        f"recorded in {workspace}/other; run `kdbench sync {study}` to write it to MLflow\n"
        in found.err
    )
    synced = kdbench("--workspace", workspace, "sync", "other")
    assert synced.code == 0
    runs = [run for run in in_mlflow(workspace) if run["study"] == "other"]
    assert sorted((run["method"], run["status"]) for run in runs) == [
        ("kd", "FINISHED"), ("student", "FINISHED"), ("teacher", "FINISHED")
    ]  # fmt: skip


@pytest.fixture
def closed() -> str:
    """The address of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_a_server_that_does_not_answer_costs_a_warning_and_its_password_is_shown_nowhere(
    closed: str,
    followers: list[subprocess.Popen[str]],
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:{CANARY}@{closed}")
    study = write_study(workspace / "study.yaml", tiny())
    found = kdbench(*words(workspace, study))
    (warning,) = (line for line in found.err.splitlines() if line.startswith("warning: "))
    assert warning.startswith(f"warning: http://***@{closed}: the server cannot be reached: ")
    assert warning.endswith(
        "training continues, and `kdbench sync tiny` will record these runs later"
    )
    assert (found.code, found.out) == (0, "")
    assert "2 cells trained, 0 already done, 0 failed\n" in found.err

    others = [kdbench("--workspace", workspace, name, study) for name in ("sync", "leaderboard")]
    for other in others:
        assert (other.code, other.out) == (1, "")
        assert other.err.startswith(f"kdbench: http://***@{closed}: the server cannot be reached: ")
        assert other.err.count("\n") == 1

    (follower,) = followers
    shown = [
        *(part for one in (found, *others) for part in one[1:]),
        *capfd.readouterr(),
        *map(str, follower.args),  # type: ignore[arg-type]
    ]
    assert not [text for text in shown if CANARY in text]
    assert not [
        path
        for path in workspace.rglob("*")
        if path.is_file() and CANARY.encode() in path.read_bytes()
    ]
    assert not (workspace / "mlflow.db").exists()

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert kdbench("--workspace", workspace, "sync", study).out.startswith(
        "3 runs added, 0 updated, 0 unchanged "
    )


def test_a_second_process_is_refused_while_a_study_runs(tracked: Tracked, workspace: Path) -> None:
    with locked(workspace / "tiny"):
        found = kdbench(*words(workspace, tracked.study, "--no-track"))
    line = (
        f"kdbench: {workspace}/tiny: this study is already running "
        f"(process {os.getpid()}); wait for it or stop it\n"
    )
    assert found == Ended(2, "", line)
