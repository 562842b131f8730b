"""Stored outputs of a teacher: computed once, and the same numbers whoever computes and reads."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import Tensor

from benchmark.data import Loaded
from benchmark.errors import InputError
from benchmark.execution import output_space
from benchmark.records import heartbeat
from benchmark.records.heartbeat import Heartbeat
from benchmark.training import stored_taps, teacher_outputs
from benchmark.training.teacher import Teacher
from benchmark.training.teacher_outputs import StoredOutputs
from benchmark.training.teacher_taps import output_of, tensors_of
from methods import Output
from tests.search.helpers import searched, searching, trials
from tests.support.commandline import ROOT
from tests.support.studies import (
    Interrupt,
    Listening,
    bits,
    folders,
    metrics,
    plan,
    run,
    tiny,
    write_study,
)
from tests.training.rows import row
from tests.training.test_inside_epoch import run_in_pieces

pytestmark = pytest.mark.trains

ROWS = ("student", "kd", "fitnet", "srrl", "crld", "ab", "dml")
"""Rows that read no tap, logits, maps, an embedding, two views, and an early stage's maps."""

VIEWS, EPOCHS = 2, 4


class Heard(Listening):
    """Stores all warnings, and which views a teacher has passed, counted from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[int] = []

    def busy(self, cell: str, activity: str) -> None:
        """Store the number of a view."""
        assert cell.startswith(("pair /", "teacher"))
        if activity.startswith("running the teacher on view "):
            assert activity.endswith(f" of {VIEWS}")
            self.views.append(int(activity.split()[5]))


def content(rows: Sequence[str] = ROWS, **changes: Any) -> dict[str, Any]:
    """Return a study whose epochs show two fixed views."""
    recipe = {"epochs": EPOCHS, "teacher_cache": VIEWS, **changes.pop("recipe", {})}
    return tiny([row(name) for name in rows], recipe=recipe, **changes)


class Passes:
    """Counts the batches that a teacher passes."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.count = 0
        output = Teacher.output

        def counted(teacher: Teacher, *args: Any) -> Output:
            self.count += 1
            return output(teacher, *args)

        patch.setattr(Teacher, "output", counted)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """The passes of a test."""
    return Passes(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All rows in one cohort."""
    workspace = tmp_path_factory.mktemp("whole")
    assert not run(workspace, content()).failed
    return workspace


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    """A workspace with the data and the teacher of `whole`, but without its study."""
    for name in ("data", "teachers"):
        shutil.copytree(whole / name, tmp_path / name)
    return tmp_path


def values(workspace: Path, tap: str = "*", view: int = 0) -> list[Path]:
    """Return the files of a stored view, sorted by tap."""
    return sorted((workspace / "data/teacher-outputs").glob(f"*/view-{view:03d}/{tap}/values"))


def assert_equal_cells(workspace: Path, whole: Path, rows: Sequence[str] = ROWS) -> None:
    for name in rows:
        found, expected = (folders(place)[f"{name}/0"] for place in (workspace, whole))
        assert found.name == expected.name
        assert bits(found) == bits(expected)


def test_a_cell_equals_itself_alone_and_resumed_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    assert not run(tmp_path / "alone", content(), cohort_size=1).failed
    assert_equal_cells(tmp_path / "alone", whole)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", content(), Interrupt(len(ROWS) + 2))
    assert not run(tmp_path / "stopped", content()).failed
    assert_equal_cells(tmp_path / "stopped", whole)


def test_a_cell_that_stops_inside_epochs_ends_with_the_same_bits(
    whole: Path, tmp_path: Path
) -> None:
    rows = ("kd", "crld")
    run_in_pieces(tmp_path, content(rows), every=3)
    assert_equal_cells(tmp_path, whole, rows)


def in_memory(outputs: StoredOutputs, loaded: Loaded, step: int) -> Output:
    """Compute the output for a batch from a pass that keeps everything in memory."""
    conditions = outputs._conditions
    assert conditions.teacher is not None

    def rounded(second: bool) -> dict[str, Tensor]:
        assert conditions.teacher is not None
        passed = [
            tensors_of(conditions.teacher.output(batch))
            for batch in conditions.data.fixed_view(
                conditions.seed, outputs._view, conditions.recipe, 128, second=second
            )
        ]
        return {
            name: torch.cat([tensors[name] for tensors in passed])[loaded.index].half().float()
            for name in passed[0]
        }

    tensors = rounded(second=False)
    if loaded.second is not None:
        tensors["second"] = rounded(second=True)["logits"]
    return output_of(tensors, conditions.teacher.model.classifier(), loaded.inputs.device)


def test_stored_outputs_give_the_bits_of_rounded_outputs_that_are_kept_in_memory(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoredOutputs, "of", in_memory)
    assert not run(tmp_path, content()).failed
    assert not (tmp_path / "data").exists()
    assert_equal_cells(tmp_path, whole)


def test_stored_outputs_are_those_of_a_teacher_that_passes_each_batch(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = StoredOutputs.of
    compared = 0

    def compare(outputs: StoredOutputs, loaded: Loaded, step: int) -> Output:
        nonlocal compared
        stored = of(outputs, loaded, step)
        teacher = outputs._conditions.teacher
        assert teacher is not None
        live = teacher.output(loaded)

        pairs = list(zip(stored.maps, live.maps, strict=True))
        for own, other in ((stored.logits, live.logits), (stored.second, live.second)):
            assert own is not None
            assert other is not None
            pairs.append((own, other))
        for own, other in pairs:
            assert own.dtype == torch.float32
            assert own.stride() == other.stride()
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
            compared += 1
        return stored

    monkeypatch.setattr(StoredOutputs, "of", compare)
    assert not run(copied, content(["fitnet", "crld"], name="other")).failed
    steps = EPOCHS * 3
    assert compared == steps * (3 + 2)


def test_the_teacher_passes_each_view_once_for_all_members_and_epochs(
    tmp_path: Path, passes: Passes
) -> None:
    heard = Heard()
    run(tmp_path, content(["student", "kd", "fitnet", "ab"]), heard)
    assert passes.count == VIEWS
    assert heard.views == [2, 1]  # the early stage of ab comes before the other rows begin
    assert heard.warnings == []
    maps = ["maps-0", "maps-1", "maps-2"]
    early = ["preactivations-0", "preactivations-1", "preactivations-2"]
    assert [path.parent.name for path in values(tmp_path, view=0)] == ["logits", *maps]
    assert [path.parent.name for path in values(tmp_path, view=1)] == ["logits", *maps, *early]


def test_a_second_study_takes_no_pass_of_the_teacher(copied: Path, passes: Passes) -> None:
    heard = Heard()
    rows = ("kd", "crld")
    other = content(rows, name="other", recipe={"batch_size": 12})
    assert run(copied, other, heard, cohort_size=1).trained == len(rows)
    assert passes.count == 0
    assert heard.views == []
    assert heard.warnings == []

    # Another seed shows other views. Of those of the same seed, one lacks the tap of ofd.
    run(copied, content(rows, name="other", seeds=[1], recipe={"batch_size": 12}))
    assert passes.count == 2 * VIEWS
    run(copied, content(["ofd"], name="another"))
    assert passes.count == 2 * VIEWS + 1


def test_a_later_member_with_other_needs_changes_no_result(
    whole: Path, tmp_path: Path, passes: Passes
) -> None:
    run(tmp_path, content(["kd"]))
    first = {path: path.read_bytes() for path in values(tmp_path)}
    run(tmp_path, content(["kd", "fitnet", "crld"]))
    assert passes.count == VIEWS + 2 * VIEWS
    assert {path: path.read_bytes() for path in first} == first
    assert_equal_cells(tmp_path, whole, ["kd", "fitnet", "crld"])


def test_a_search_pays_for_its_teacher_in_the_first_round_only(
    tmp_path: Path, passes: Passes
) -> None:
    study = searched(["kd"], search={"trials": 3, "together": 1, "seeds": [100]})
    study["recipe"]["teacher_cache"] = VIEWS
    found = searching(tmp_path / "rounds", study)
    assert passes.count == VIEWS

    study["search"]["together"] = 3
    together = searching(tmp_path / "together", study)
    assert found.tmac == pytest.approx(together.tmac)
    assert found.alone == pytest.approx(together.alone)
    states = [trial[1] for trial in trials(tmp_path / "rounds")["kd"]]
    assert states == ["COMPLETE"] * 3


def test_the_compute_of_a_cell_counts_one_pass_of_the_teacher_per_view(whole: Path) -> None:
    (entry,) = plan(whole)["teachers"]
    (teacher,) = metrics(whole / "tiny" / entry["folder"], "final")
    (final,) = metrics(folders(whole)["kd/0"], "final")

    per_image = 3 * EPOCHS * final["cost/macs"] + VIEWS * teacher["cost/macs"]
    assert final["cost/compute_tmac"] == pytest.approx(48 * per_image / 1e12)


def test_the_process_shows_that_it_is_alive_with_every_batch_of_a_pass(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[str] = []

    def note(_: Heartbeat, activity: str, *__: Any) -> None:
        beats.append(activity)

    shutil.copytree(whole / "teachers", tmp_path / "teachers")
    monkeypatch.setattr(Heartbeat, "beat", note)
    run(tmp_path, content(["kd"]))
    before = beats.count(heartbeat.BATCH)

    shutil.rmtree(tmp_path / "data")
    beats.clear()
    monkeypatch.setattr(teacher_outputs, "BATCH_SIZE", 8)
    run(tmp_path, content(["kd"], name="other"))
    assert beats.count(heartbeat.BATCH) - before == VIEWS * (48 // 8 - 1)


def test_the_teacher_of_a_study_with_fixed_views_is_the_same_as_without(
    workspace: Path, whole: Path
) -> None:
    own = tiny(["student"], recipe={"epochs": 1})
    own["pairs"][0]["teacher"].pop("recipe")
    run(workspace, own)
    (key,) = [path.name for path in (workspace / "teachers").glob("*/")]
    own["recipe"]["teacher_cache"] = 3
    run(workspace, own)
    assert [path.name for path in (workspace / "teachers").glob("*/")] == [key]


KILLED = """
import sys
from pathlib import Path
import torch, yaml
from tests.support.studies import run
torch.set_num_threads(int(sys.argv[2]))
run(Path(sys.argv[1]), yaml.safe_load(Path(sys.argv[1], "study.yaml").read_text()))
"""


@pytest.mark.subprocess
@pytest.mark.parametrize(
    "place",
    [
        "outputs.write:1",
        pytest.param("outputs.write:4", marks=pytest.mark.slow),
        pytest.param("data.built:2", marks=pytest.mark.slow),
    ],
)
def test_outputs_are_whole_after_a_kill_while_they_are_computed(
    place: str, whole: Path, tmp_path: Path, passes: Passes
) -> None:
    rows = ("kd", "fitnet")
    shutil.copytree(whole / "teachers", tmp_path / "teachers")
    write_study(tmp_path / "study.yaml", content(rows))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(torch.get_num_threads())],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KDBENCH_FAILPOINT": place},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "data/teacher-outputs").glob("*/*/*.part"))

    assert not run(tmp_path, content(rows)).failed
    assert_equal_cells(tmp_path, whole, rows)
    assert passes.count in (1, 2)
    assert not list((tmp_path / "data/teacher-outputs").glob("*/*/*.part"))


def flip(path: Path) -> None:
    """Change one bit of a file."""
    written = bytearray(path.read_bytes())
    written[len(written) // 2] ^= 1
    path.write_bytes(written)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "a flipped bit": flip,
    "a truncated file": lambda path: os.truncate(path, 10),
    "a missing file": Path.unlink,
    "a torn card": lambda path: os.truncate(path.with_name("card.json"), 10),
    "a missing card": lambda path: path.with_name("card.json").unlink(),
    "values of another tap": lambda path: path.write_bytes(
        (path.parents[1] / "second/values").read_bytes()
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_reported_in_one_line_and_repaired(
    damage: str, copied: Path, whole: Path, passes: Passes
) -> None:
    (path,) = values(copied, "logits")
    intact = path.read_bytes()
    DAMAGES[damage](path)

    heard = Heard()
    assert not run(copied, content(["kd"]), heard).failed
    (report,) = heard.warnings
    assert report.startswith(f"{path.parent}: damaged (")
    assert report.endswith("); running the teacher again")
    assert heard.views == [1]
    assert passes.count == 1
    assert path.read_bytes() == intact
    assert_equal_cells(copied, whole, ["kd"])


def test_a_process_waits_for_another_one_that_runs_the_teacher(
    whole: Path, tmp_path: Path, passes: Passes
) -> None:
    shutil.copytree(whole / "teachers", tmp_path / "teachers")
    (folder,) = (whole / "data/teacher-outputs").glob("*/")
    mine = tmp_path / "data/teacher-outputs" / folder.name
    mine.mkdir(parents=True)
    lock = FileLock(mine / "view-000.lock", thread_local=False)
    lock.acquire()

    def other() -> None:
        time.sleep(2)
        shutil.copytree(folder / "view-000", mine / "view-000")
        lock.release()

    thread = threading.Thread(target=other)
    thread.start()
    heard = Heard()
    run(tmp_path, content(["kd"]), heard)
    thread.join()

    waiting = "another process is running the teacher on this view; waiting for it"
    assert heard.warnings == [f"{mine / 'view-000'}: {waiting}"]
    assert heard.views == [2]
    assert passes.count == 1
    assert_equal_cells(tmp_path, whole, ["kd"])


def test_values_beyond_half_precision_are_refused_in_one_line(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied / "data")
    output = Teacher.output

    def large(teacher: Teacher, *args: Any) -> Output:
        return output(teacher, *args).map(lambda value: 1e6 * value)

    monkeypatch.setattr(Teacher, "output", large)
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        run(copied, content(["kd"]))
    assert re.fullmatch(
        r"pair / kd / seed 0: recipe\.teacher_cache: the teacher's logits reach [\d,]+, but half "
        r"precision ends at 65,504; remove teacher_cache",
        str(error.value),
    )
    assert not values(copied)
    assert not list((copied / "data/teacher-outputs").glob("*/*/*.part"))


def test_a_disk_without_space_is_reported_before_anything_is_trained(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = 2048
    monkeypatch.setattr(output_space, "free_space", lambda _: free)
    shutil.copytree(whole / "teachers", tmp_path / "teachers")
    needed = 2 * VIEWS * 48 * 10
    with pytest.raises(InputError) as error:
        run(tmp_path, content(["student", "kd"], seeds=[0, 1]))
    assert str(error.value) == (
        f"{tmp_path / 'study.yaml'}: recipe.teacher_cache: the outputs of the teachers need "
        f"another {2 * needed / 1024:.1f} KiB in {tmp_path}, but only 2.0 KiB is free; free some "
        "disk space, or remove teacher_cache"
    )
    assert f"take {needed / 1024:.1f} KiB on the disk for each seed" in capsys.readouterr().out
    assert not list((tmp_path / "tiny").glob("cells/*/journal.jsonl"))

    # One seed fits, and what is stored needs no space.
    run(tmp_path, content(["student", "kd"]))
    free = 0
    assert run(tmp_path, content(["student", "kd"], name="other")).trained == 2


def test_no_teacher_is_trained_whose_outputs_cannot_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_space, "free_space", lambda _: 2048)
    study = searched(["kd"], search={"trials": 1, "seeds": [100, 101, 102]})
    study["recipe"]["teacher_cache"] = VIEWS
    with pytest.raises(InputError, match=r"need another 5\.6 KiB in .*, but only 2\.0 KiB is free"):
        searching(tmp_path, study)
    with pytest.raises(InputError, match=r"need another 3\.8 KiB in .*, but only 2\.0 KiB is free"):
        run(tmp_path, content(["student", "kd"], seeds=[0, 1]))
    assert not list(tmp_path.glob("teachers/*"))


def test_outputs_that_differ_from_what_was_written_name_the_folder(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copied / "data/teacher-outputs")
    exit_ = stored_taps.TapWriter.__exit__

    def damaged(writer: stored_taps.TapWriter, *args: Any) -> None:
        exit_(writer, *args)
        os.truncate(writer._folder / stored_taps.VALUES, 7)

    monkeypatch.setattr(stored_taps.TapWriter, "__exit__", damaged)
    with pytest.raises(InputError, match=r"/view-000/logits: differs from what was just written"):
        run(copied, content(["kd"]))


def test_taps_of_another_shape_than_announced_fail(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"maps of stage 2: \(3, 4, 5\) instead of \(3, 4, 4\)"),
        stored_taps.TapWriter(tmp_path, "maps-1", (3, 4, 4)) as writer,
    ):
        writer.write(torch.zeros(2, 3, 4, 5))


def test_the_size_that_is_told_is_the_size_of_the_files(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole / "teachers", tmp_path / "teachers")
    run(tmp_path, content())
    size = sum(path.stat().st_size for view in range(VIEWS) for path in values(tmp_path, view=view))
    assert f"take {size / 2**20:.1f} MiB on the disk for each seed" in capsys.readouterr().out
    assert stored_taps.stored_bytes(48, (10,)) == values(tmp_path, "logits")[0].stat().st_size


def test_the_plan_tells_the_number_of_views(whole: Path) -> None:
    found = plan(whole)
    assert found["fixed_views"] == VIEWS
    assert {cell["recipe"]["teacher_cache"] for cell in found["cells"]} == {VIEWS}
