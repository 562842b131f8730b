"""CUDA graphs on a pretended GPU: the bits of steps as they are written, or none and a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from benchmark.errors import InputError
from benchmark.execution.environment import check_engine
from benchmark.training.engine_choice import EngineChoice
from benchmark.training.engines import create
from benchmark.training.engines.replays import RECORDED, ChangedWithinEpochError
from benchmark.training.member import Member
from benchmark.training.teacher_outputs import TeacherOutputs
from methods import Batch, Method, Output, Terms
from tests.gpu.members import BATCH, SAMPLES, batch, member
from tests.support.pretended import CUDA, PretendedGpu, pretended_gpu
from tests.support.pretended.streams import RaceError, Stream
from tests.support.studies import folders, records, run, tiny
from tests.training.rows import ALL

pytestmark = pytest.mark.trains

STEPS = SAMPLES // BATCH
EPOCHS = (0, 1, 200)
"""Epochs that are trained, among them one in which warm-ups are over and decays have begun."""

EAGER, GRAPHS = EngineChoice.EAGER, EngineChoice.GRAPHS

WAITS = "no CUDA graphs: the method's steps wait for the device"


@dataclass(frozen=True)
class Trained:
    """Members after some epochs.

    Attributes:
        states: The state of each member, with all that it has logged.
        notes: How the steps of each member ran.
        warnings: What the user was told.
        launches: Launches in the last step but one, of all members and the teacher.
    """

    states: list[dict[str, Tensor]]
    notes: list[str | None]
    warnings: list[str]
    launches: int


def train(
    gpu: PretendedGpu,
    folder: Path,
    rows: Sequence[str],
    engine: EngineChoice,
    epochs: Sequence[int] = EPOCHS,
    **options: Any,
) -> Trained:
    """Train members side by side in some epochs of their stages, as a cohort does."""
    members = [
        member(row, CUDA, folder / engine / str(at), **options) for at, row in enumerate(rows)
    ]
    conditions = replace(members[0].conditions, engine=engine)
    warnings: list[str] = []
    running = create(conditions, warnings.append)
    logged: dict[Member, list[Tensor]] = {own: [] for own in members}
    launches = []

    early = sorted({-own.length.early for own in members} - {0})
    for epoch in (*early, *epochs):
        active = [own for own in members if -own.length.early <= epoch]
        for own in active:
            own.state.epoch = epoch
            if epoch == 0:
                own.state.enter(0)

        for step in range(STEPS):
            with gpu.recording() as record:
                running.load(batch(CUDA, 100 * epoch + step))
                running.teach(TeacherOutputs(conditions), step)
                for own in active:
                    running.step(own, step)
            launches.append(record.launches.total())

        running.join()
        for own in active:
            logged[own].append(own.state.partial.log.rows().cpu())
            own.state.partial.log.clear()

    running.close()
    states = [
        {name: value.cpu() for name, value in own.state.tensors().items()}
        | {f"logged/{at}": rows for at, rows in enumerate(logged[own])}
        for own in members
    ]
    return Trained(states, [own.note for own in members], warnings, launches[-2])


def both(folder: Path, rows: Sequence[str], **options: Any) -> tuple[Trained, Trained]:
    """Train members as they are written, and as graphs."""
    with pretended_gpu() as gpu:
        eager = train(gpu, folder, rows, EAGER, **options)
        return eager, train(gpu, folder, rows, GRAPHS, **options)


def assert_equal(one: Trained, other: Trained) -> None:
    """Check that all members have the same bits."""
    for state, expected in zip(one.states, other.states, strict=True):
        assert state.keys() == expected.keys()
        different = [name for name in state if not torch.equal(state[name], expected[name])]
        assert different == []


def changed(monkeypatch: pytest.MonkeyPatch, weigh: Callable[[Output, Batch], Any]) -> None:
    """Let kd multiply its loss by a function of the student's output and the batch."""
    forward = methods.get("kd").forward

    def weighted(self: Method, student: Output, teacher: Output, shown: Batch) -> Terms:
        terms = forward(self, student, teacher, shown)
        return {
            name: (weight, value * weigh(student, shown)) for name, (weight, value) in terms.items()
        }

    monkeypatch.setattr(methods.get("kd"), "forward", weighted)


def test_a_cohort_of_replayed_members_has_the_bits_of_eager_ones_and_few_launches(
    tmp_path: Path,
) -> None:
    rows = ("student", "ab", "dml", "crd")
    eager, graphs = both(tmp_path, rows, epochs=(0,))
    assert_equal(graphs, eager)
    assert graphs.notes == [RECORDED] * len(rows)
    assert eager.notes == [None] * len(rows)
    assert graphs.warnings == []

    # Per member: the rate, the graph and a copy of the row. Besides: the batch and the teacher.
    assert graphs.launches <= 3 * len(rows) + 10
    assert eager.launches > 100 * len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("row", [*ALL, "kd+dkd", "ls(kd)"])
def test_every_method_that_is_capturable_is_replayed_with_the_bits_of_eager_steps(
    row: str, tmp_path: Path
) -> None:
    eager, graphs = both(tmp_path, [row])
    assert_equal(graphs, eager)
    is_capturable = row not in methods.names() or methods.get(row).capturable
    assert graphs.notes == [RECORDED if is_capturable else WAITS]
    assert graphs.warnings == []


def test_a_method_that_declares_it_is_recorded_anew_in_each_epoch(tmp_path: Path) -> None:
    assert methods.get("dkd").changes_by_epoch
    eager, graphs = both(tmp_path, ["dkd"], epochs=(0, 1))
    assert_equal(graphs, eager)
    assert graphs.notes == [RECORDED]


def test_an_undeclared_change_between_epochs_is_found_in_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(monkeypatch, lambda _, shown: 1.0 + shown.epoch)
    eager, graphs = both(tmp_path, ["kd"], epochs=(0, 1))
    assert_equal(graphs, eager)
    assert graphs.notes == [RECORDED]


def test_a_change_within_an_epoch_ends_the_member_and_says_what_to_declare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def weigh(*_: Any) -> float:
        calls.append(1)
        return 1.0 + (len(calls) > STEPS + 4)

    changed(monkeypatch, weigh)
    with (
        pretended_gpu() as gpu,
        pytest.raises(ChangedWithinEpochError, match="capturable = False"),
    ):
        train(gpu, tmp_path, ["kd"], GRAPHS)


@pytest.mark.parametrize(
    ("weigh", "reason"),
    [
        (lambda student, _: student.logits.max().item(), "not permitted when stream is capturing"),
        (lambda *_: float(torch.rand(())), "its first replay differed from the step itself"),
    ],
    ids=["reads a number back", "draws a number on the host"],
)
def test_a_method_that_cannot_be_replayed_trains_as_it_is_written_and_the_user_is_told(
    weigh: Callable[[Output, Batch], Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed(monkeypatch, weigh)
    eager, graphs = both(tmp_path, ["kd", "at"], epochs=(0, 1))
    assert_equal(graphs, eager)
    own, other = graphs.notes
    assert own is not None
    assert own.startswith("no CUDA graphs: ")
    assert reason in own
    assert other == RECORDED
    assert graphs.warnings == [
        f"kd: runs without CUDA graphs, more slowly: {own.removeprefix('no CUDA graphs: ')}"
    ]


def test_a_method_that_puts_new_tensors_in_place_of_its_buffers_is_not_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("kd").forward

    def counting(self: Any, student: Output, teacher: Output, shown: Batch) -> Terms:
        if "seen" not in dict(self.named_buffers()):
            self.register_buffer("seen", torch.zeros(2, device=CUDA))
        self.seen = self.seen + student.logits.detach().mean()
        terms = forward(self, student, teacher, shown)
        return {name: (weight, value + self.seen.mean()) for name, (weight, value) in terms.items()}

    monkeypatch.setattr(methods.get("kd"), "forward", counting)
    eager, graphs = both(tmp_path, ["kd"], epochs=(0, 1))
    assert_equal(graphs, eager)
    assert graphs.notes == [
        "no CUDA graphs: its steps replace tensors instead of writing into them"
    ]


def test_a_method_whose_steps_do_not_repeat_themselves_is_not_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = torch.Generator().manual_seed(0)
    changed(monkeypatch, lambda *_: float(torch.rand((), generator=own)))
    with pretended_gpu() as gpu:
        graphs = train(gpu, tmp_path, ["kd"], GRAPHS, epochs=(0,))
    assert graphs.notes == [
        "no CUDA graphs: a step does not give the same bits twice on this device"
    ]


def test_steps_are_not_recorded_if_there_is_no_memory_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretended_gpu() as gpu:
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: 2**30)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (2**31 - 1, 2**32))
        graphs = train(gpu, tmp_path, ["kd"], GRAPHS, epochs=(0,))
    assert graphs.notes == ["no CUDA graphs: too little memory is free to record its steps"]
    assert len(graphs.warnings) == 2  # the teacher's, too


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"accumulate": 2}, "gradients are accumulated, so that steps differ"),
        (
            {"optimizer": {"name": "dot", "lr": 0.05, "delta": 0.05}},
            "the optimizer computes with numbers that a graph would freeze",
        ),
    ],
    ids=["accumulation", "dot"],
)
def test_what_a_graph_would_freeze_is_known_beforehand_and_no_reason_to_warn(
    recipe: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    eager, graphs = both(tmp_path, ["kd"], epochs=(0,), **recipe)
    assert_equal(graphs, eager)
    assert graphs.notes == [f"no CUDA graphs: {reason}"]
    assert graphs.warnings == []


def test_a_member_that_is_to_be_saved_inside_an_epoch_takes_a_step_that_is_compared_first(
    tmp_path: Path,
) -> None:
    proven = {}
    with pretended_gpu():
        own = member("kd", CUDA, tmp_path)
        conditions = replace(own.conditions, engine=GRAPHS)
        running = create(conditions, print)
        for number in range(STEPS + 3):
            own.state.epoch, step = divmod(number, STEPS)
            running.load(batch(CUDA, number))
            running.teach(TeacherOutputs(conditions), step)
            running.step(own, step)
            if own.state.epoch == 1:
                proven[step] = running.proves(own)

    assert proven == {0: True, 1: False, 2: True}


def test_adamw_with_averaged_and_clipped_weights_is_replayed(tmp_path: Path) -> None:
    recipe = {"optimizer": {"name": "adamw", "lr": 1e-3}, "ema": 0.9, "clip_norm": 1.0}
    eager, graphs = both(tmp_path, ["kd"], epochs=(0, 1), **recipe)
    assert_equal(graphs, eager)
    assert graphs.notes == [RECORDED]


def test_a_step_that_reads_what_another_stream_still_writes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "wait_stream", lambda *_: None)
    with pretended_gpu() as gpu, pytest.raises(RaceError):
        train(gpu, tmp_path, ["kd"], GRAPHS, epochs=(0,))


def test_a_batch_that_is_written_over_one_that_is_still_read_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "wait_event", lambda *_: None)
    with pretended_gpu() as gpu, pytest.raises(RaceError):
        train(gpu, tmp_path, ["kd"], GRAPHS, epochs=(0, 1))


def test_members_that_draw_on_the_gpu_never_do_so_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: dict[str, set[int]] = {}
    step = Member.step

    def noted(self: Member, *args: Any) -> Tensor:
        streams.setdefault(self.task.label, set()).add(id(torch.cuda.current_stream()))
        return step(self, *args)

    with pretended_gpu() as gpu:
        monkeypatch.setattr(Member, "step", noted)
        trained = train(gpu, tmp_path, ["kd", "at", "mgd", "crd"], GRAPHS, epochs=(0,))

    assert trained.notes == [RECORDED] * 4
    assert [len(streams[name]) for name in ("kd", "at")] == [1, 1]
    assert streams["crd"] & streams["mgd"] == streams["kd"]  # the first stream


def test_the_journal_says_how_the_steps_of_each_epoch_ran(tmp_path: Path) -> None:
    with pretended_gpu():
        assert not run(tmp_path, tiny(["kd", "kdsvd"]), device=CUDA).failed
    assert {note for note in notes(tmp_path, "kd")} == {RECORDED}
    assert {note for note in notes(tmp_path, "kdsvd")} == {WAITS}


def test_graphs_can_only_be_demanded_on_a_gpu() -> None:
    check_engine(EngineChoice.GRAPHS, CUDA)
    check_engine(EngineChoice.AUTO, torch.device("cpu"))
    with pytest.raises(InputError, match="--engine: graphs needs a GPU, but the device is cpu"):
        check_engine(EngineChoice.GRAPHS, torch.device("cpu"))


def notes(workspace: Path, row: str) -> list[str | None]:
    """Return how the steps ran in each epoch of a cell, by its journal."""
    return [record.get("note") for record in records(folders(workspace)[f"{row}/0"], "epoch")]
