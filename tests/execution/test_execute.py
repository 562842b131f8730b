"""What a study becomes: cells with identities, cohorts, costs; and that nothing is trained twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from benchmark import locks
from benchmark.errors import InputError
from benchmark.execution import estimate as execution_estimate
from benchmark.execution import plan_file, prepare
from benchmark.execution import run as execution_run
from benchmark.execution.estimate import estimate
from benchmark.execution.plan_file import identities
from benchmark.execution.prepare import Prepared
from benchmark.hashing import identity
from benchmark.models import create, discovery
from benchmark.study import study
from benchmark.study.schema import Network
from benchmark.training.conditions import Conditions, Task
from benchmark.training.progress import Progress
from tests.support.studies import STUDENT, TEACHER, folders, plan, run, tiny

ROOT = Path(__file__).parents[2]
SHA256 = "ab" * 32


def prepared(content: dict[str, Any]) -> Prepared:
    checked = study.Study.model_validate(content)
    return prepare.prepare(
        checked, "text", "study.yaml", torch.device("cpu"), Path("nowhere"), print
    )


def pairs(**teachers: dict[str, Any]) -> list[dict[str, Any]]:
    """Pairs by name, each with changes to one teacher, and a student of its own where the teachers are the same."""
    (pair,) = tiny()["pairs"]
    students = (STUDENT, "test_efficientnet", "test_resnet")
    return [
        {"name": name, "teacher": {**pair["teacher"], **changes}, "student": student}
        for (name, changes), student in zip(teachers.items(), students, strict=False)
    ]


def ids(content: dict[str, Any], sha256: str = SHA256) -> dict[str, str]:
    """Identities of all cells of a study whose teachers have this hash."""
    found = prepared(content)
    return identities(found, {want.key: sha256 for want in found.wanted})


def labels(cohorts: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [[str(cell) for cell in cohort] for cohort in cohorts]


def every_file(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """All files below a folder: content and time of the last change."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


class Remembering(Progress):
    """What was planned, and which trainings started, teachers included."""

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.trained: list[str] = []

    def planned(self, cells: Mapping[str, int]) -> None:
        self.cells += cells

    def started(self, cell: str, epoch: int, epochs: int) -> None:
        self.trained.append(cell)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a study of two rows, trained."""
    workspace = tmp_path_factory.mktemp("ran")
    assert run(workspace, tiny()) == execution_run.Summary(planned=2, trained=2)
    return workspace


@pytest.fixture(scope="module")
def wide() -> Prepared:
    """Three pairs, the first and last with one teacher, two seeds, three rows."""
    every = pairs(one={}, two={"seed": 1}, three={})
    return prepared(tiny(["student", "kd", "at"], pairs=every, seeds=[3, 1]))


def test_a_cohort_holds_the_cells_of_one_seed_and_one_teacher_in_the_order_of_the_study(
    wide: Prepared,
) -> None:
    rows = ("student", "kd", "at")
    assert labels(wide.cohorts(wide.cells, None)) == [
        [f"{pair} / {row} / seed {seed}" for pair in together for row in rows]
        for together, seed in (
            (("one", "three"), 3),
            (("one", "three"), 1),
            (("two",), 3),
            (("two",), 1),
        )
    ]


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(4, [4, 2, 4, 2, 3, 3]), (1, [1] * 18), (6, [6, 6, 3, 3]), (99, [6, 6, 3, 3])],
)
def test_a_cohort_is_no_larger_than_allowed_and_every_cell_is_in_one(
    size: int, sizes: list[int], wide: Prepared
) -> None:
    cohorts = wide.cohorts(wide.cells, size)
    assert [len(cohort) for cohort in cohorts] == sizes
    assert sorted(str(cell) for cohort in cohorts for cell in cohort) == sorted(
        map(str, wide.cells)
    )
    for cohort in cohorts:
        assert len({(cell.seed, wide.teacher_of(cell).key) for cell in cohort}) == 1


def test_cells_that_are_left_form_cohorts_among_themselves(wide: Prepared) -> None:
    left = [cell for cell in wide.cells if cell.row.name == "at"]
    assert [len(cohort) for cohort in wide.cohorts(left, None)] == [2, 2, 1, 1]
    assert wide.cohorts([], None) == []


def test_a_run_trains_the_cohorts_of_the_plan_with_what_they_share(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, list[str]]] = []
    train = execution_run.train

    def kept(tasks: Sequence[Task], conditions: Conditions, progress: Progress) -> None:
        seen.append((conditions.seed, [task.label for task in tasks]))
        train(tasks, conditions, progress)

    monkeypatch.setattr(execution_run, "train", kept)
    run(workspace, tiny(["student", "kd", "at"], seeds=[1, 0], recipe={"epochs": 1}), cohort_size=2)
    assert seen == [
        (seed, [f"pair / {row} / seed {seed}" for row in rows])
        for seed in (1, 0)
        for rows in (("student", "kd"), ("at",))
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["kd", {"name": "again", "method": "kd", "settings": {"temperature": 4}}],
            "study.yaml: methods: 'kd' and 'again' are the same; leave one out",
        ),
        (
            [
                {"name": "a", "method": "kd+at"},
                "student",
                {"name": "b", "method": "kd + at", "settings": {"ce": 1}},
            ],
            "study.yaml: methods: 'a' and 'b' are the same; leave one out",
        ),
    ],
)
def test_rows_that_would_train_the_same_are_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        prepared(tiny([row if isinstance(row, dict) else {"method": row} for row in rows]))
    assert str(error.value) == message


def test_pairs_that_would_train_the_same_are_refused() -> None:
    (pair,) = tiny()["pairs"]
    with pytest.raises(
        InputError, match=r"^study\.yaml: pairs: 'pair' and 'twin' are the same; leave one out$"
    ):
        prepared(tiny(pairs=[pair, {**pair, "name": "twin"}]))


def test_rows_of_one_method_with_different_settings_are_no_twins() -> None:
    warm = {"name": "warm", "method": "kd", "settings": {"temperature": 8.0}}
    assert len(prepared(tiny(["kd", warm])).cells) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            tiny(pairs=pairs(pair={"model": "test_resnett"})),
            "pairs[0].teacher: timm has no model 'test_resnett'",
        ),
        (
            tiny(pairs=pairs(one={}, two={"kwargs": {"num_classes": 3}})),
            "pairs[1].teacher.kwargs.num_classes: is set by",
        ),
        (
            tiny(recipe={"batch_size": 49}),
            "recipe.batch_size is 49; there are only 48 training images",
        ),
        (
            tiny(pairs=pairs(one={"recipe": {"epochs": 1, "batch_size": 50}})),
            "recipe.batch_size is 50; there are only 48",
        ),
        (tiny(dataset="digit"), "dataset: no data set 'digit'; did you mean 'digits'?"),
    ],
)
def test_what_cannot_be_is_refused_with_file_and_place_before_anything_is_written(
    content: dict[str, Any], message: str, workspace: Path
) -> None:
    with pytest.raises(InputError) as error:
        run(workspace, content)
    assert str(error.value).startswith(f"{workspace / 'study.yaml'}: {message}")
    assert [path.name for path in workspace.iterdir()] == ["study.yaml"]


def test_a_row_that_cannot_run_is_not_applicable_and_the_others_are_trained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_stage_maps = discovery.find_stage_maps

    def without_maps(network: Any, inputs: Any, logits: Any, notes: dict[str, str]) -> Any:
        if isinstance(network, type(flat)):
            notes["maps"] = "it has none"
            return None
        return find_stage_maps(network, inputs, logits, notes)

    flat = create.create(Network(model="test_efficientnet"), "here", (3, 32, 32), 10)
    monkeypatch.setattr(discovery, "find_stage_maps", without_maps)
    summary = run(
        workspace, tiny(["student", "at"], pairs=pairs(one={}, flat={}), recipe={"epochs": 1})
    )
    assert summary == execution_run.Summary(planned=3, trained=3)
    assert plan(workspace)["not_applicable"] == {"flat/at": "maps of the student: it has none"}
    assert plan(workspace)["methods"] == ["student", "at"]
    cells = [(cell["pair"], cell["row"]) for cell in plan(workspace)["cells"]]
    assert cells == [("one", "student"), ("one", "at"), ("flat", "student")]


def test_a_setting_that_no_pair_allows_is_not_applicable_with_the_methods_reason(
    workspace: Path,
) -> None:
    deep = {"name": "deep", "method": "fitnet", "settings": {"stage": 7}}
    assert run(workspace, tiny([deep])) == execution_run.Summary(planned=0)
    assert plan(workspace)["not_applicable"] == {"pair/deep": "stage 7 of 4: there is no such map"}


def test_a_second_run_trains_nothing_and_changes_no_byte(ran: Path) -> None:
    before, remembering = every_file(ran / "tiny" / "cells"), Remembering()
    teachers = every_file(ran / "teachers")
    assert run(ran, tiny(), remembering) == execution_run.Summary(planned=2, already_done=2)
    assert remembering.cells == remembering.trained == []
    assert every_file(ran / "tiny" / "cells") == before
    assert {
        path: content
        for path, content in every_file(ran / "teachers").items()
        if path.suffix != ".lock"
    } == {path: content for path, content in teachers.items() if path.suffix != ".lock"}


def test_a_study_that_grows_trains_only_what_is_new(ran: Path, workspace: Path) -> None:
    run(workspace, tiny())
    before, remembering = every_file(workspace / "tiny" / "cells"), Remembering()
    summary = run(workspace, tiny(["at", "kd", "student"], question="more?"), remembering)
    assert summary == execution_run.Summary(planned=3, trained=1, already_done=2)
    assert remembering.cells == remembering.trained == ["pair / at / seed 0"]
    after = every_file(workspace / "tiny" / "cells")
    assert {path: after[path] for path in before} == before
    assert folders(workspace)["kd/0"].name == folders(ran)["kd/0"].name


def test_a_plan_names_every_cell_with_what_decides_it(ran: Path) -> None:
    found = plan(ran)
    (teacher,) = found["teachers"]
    cell = next(cell for cell in found["cells"] if cell["row"] == "kd")
    sha256 = json.loads((ran / "teachers" / teacher["id"] / "card.json").read_text())["sha256"]
    assert (found["baseline"], found["methods"], found["seeds"]) == (
        "student",
        ["student", "kd"],
        [0],
    )
    assert (teacher["model"], teacher["pairs"], teacher["teacher_id"]) == (
        TEACHER,
        ["pair"],
        sha256[:12],
    )
    assert cell["folder"] == f"cells/{cell['id']}"
    assert (cell["student"], cell["teacher"], cell["teacher_id"]) == (STUDENT, TEACHER, sha256[:12])
    assert cell["settings"] == {"temperature": 4.0, "weight": 0.9, "ce": 0.1}
    assert cell["recipe"]["epochs"] == 2
    configuration = json.loads((folders(ran)["kd/0"] / "config.json").read_text())
    assert identity(configuration) == cell["id"]
    assert configuration["teacher"]["sha256"] == sha256


def test_a_plan_tells_what_tuned_rows_took_and_the_settings_that_were_found_for_each_pair(
    tmp_path: Path,
) -> None:
    tuned = {
        "name": "kd (tuned)",
        "method": "kd",
        "settings": {"temperature": 3.0},
        "found": {"pair": {"settings": {"temperature": 2.5}, "lr": 0.125}},
        "trials": 20,
        "search_tmac": {"pair": 1.5},
    }
    content = prepared(tiny(["student", "kd", tuned]))
    plan_file.write_plan(content, tmp_path, {content.wanted[0].key: SHA256})
    found = json.loads((tmp_path / "plan.json").read_text())
    assert (found["trials"], found["search_tmac"]) == ({"kd (tuned)": 20}, {"pair/kd (tuned)": 1.5})
    cells = {cell["row"]: cell for cell in found["cells"]}
    assert cells["kd (tuned)"]["settings"] == {"temperature": 2.5, "weight": 0.9, "ce": 0.1}
    assert cells["kd"]["settings"]["temperature"] == 4.0
    assert cells["kd (tuned)"]["recipe"]["lr"] == 0.125 != cells["kd"]["recipe"]["lr"]


def test_the_split_that_was_used_is_recorded(ran: Path) -> None:
    split, found = json.loads((ran / "tiny" / "split.json").read_text()), prepared(tiny())
    assert (split["train"], split["val"]) == (
        found.data.train_index.tolist(),
        found.data.val_index.tolist(),
    )
    assert (split["dataset"], split["fingerprint"]) == ("digits", found.data.fingerprint)


def test_a_study_that_is_running_is_refused_for_a_second_process(workspace: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from benchmark.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(workspace / "tiny")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        remembering = Remembering()
        with pytest.raises(InputError) as error:
            run(workspace, tiny(), remembering)
        process.communicate("")
    expected = f"{workspace / 'tiny'}: this study is already running (process {process.pid}); wait for it or stop it"
    assert str(error.value) == expected
    assert remembering.trained == []
    assert sorted(path.name for path in (workspace / "tiny").iterdir()) == ["running.lock"]
    with locks.locked(workspace / "tiny"):
        pass


def test_a_lock_is_free_after_an_error_and_an_owner_that_nobody_knows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[FileLock] = []  # alive, so that only a release frees them

    def kept(path: Path) -> FileLock:
        held.append(FileLock(path))
        return held[-1]

    monkeypatch.setattr(locks, "FileLock", kept)
    with pytest.raises(ZeroDivisionError), locks.locked(tmp_path):
        raise ZeroDivisionError
    with locks.locked(tmp_path):
        assert json.loads((tmp_path / "running.json").read_text())["pid"]
    assert not (tmp_path / "running.json").exists()
    with (
        FileLock(tmp_path / "running.lock", is_singleton=False),
        pytest.raises(InputError, match=r"\(process unknown\)"),
        locks.locked(tmp_path),
    ):
        pass


def test_identities_are_as_they_always_were() -> None:
    assert ids(
        tiny(["student", "kd", "kd+at"])
    ) == {  # other ones would train every finished cell again
        "pair / student / seed 0": "9849e2b447a7",
        "pair / kd / seed 0": "cef83827beb3",
        "pair / kd+at / seed 0": "dda81c157156",
    }


@pytest.mark.parametrize(
    "content",
    [
        {**tiny(), "name": "other", "question": "why?", "tracking": {"experiment": "mine"}},
        tiny(["at", {"name": "warm", "method": "kd", "settings": {"temperature": 8.0}}, "kd"]),
        tiny([{"name": "renamed", "method": "kd", "settings": {"weight": 0.9}}]),
        tiny(seeds=[4, 0]),
        tiny(pairs=[{**tiny()["pairs"][0], "name": "renamed"}]),
        tiny(pairs=pairs(other={"seed": 3}, pair={})[:1] + tiny()["pairs"]),
        tiny(pairs=pairs(pair={"min_accuracy": 5.0})),
    ],
)
def test_an_identity_does_not_know_names_questions_gates_or_neighbours(
    content: dict[str, Any],
) -> None:
    assert "cef83827beb3" in ids(content).values()  # as the golden ones have it


def test_an_identity_changes_with_whatever_decides_the_numbers() -> None:
    changes = [
        tiny(["kd"]),
        tiny(["kd"], seeds=[1]),
        tiny(["kd"], recipe={"epochs": 3}),
        tiny(["kd"], recipe={"optimizer": {"lr": 0.06}}),
        tiny(["kd"], select="best_val"),
        tiny(["kd"], split={"val": 41, "train_samples": 48}),
        tiny([{"name": "kd", "method": "kd", "settings": {"temperature": 2.0}}]),
        tiny(["kd"], pairs=[{**tiny()["pairs"][0], "student": "test_efficientnet"}]),
        tiny(["kd"], pairs=pairs(pair={"model": STUDENT})),
    ]
    found = [identity for content in changes for identity in ids(content).values()]
    found += ids(tiny(["kd"]), sha256="cd" * 32).values()
    assert len(set(found)) == len(found) == len(changes) + 1


def test_cells_whose_teacher_is_not_known_yet_have_no_identity() -> None:
    found = prepared(tiny(["kd"], pairs=pairs(one={}, two={"seed": 1})))
    assert set(identities(found, {found.wanted[1].key: SHA256})) == {"two / kd / seed 0"}


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the time of a batch known."""
    seconds = {"teacher looks": 1.0, "teacher trains": 10.0, "student trains": 100.0}
    monkeypatch.setattr(execution_run, "_seconds_per_batch", lambda *_: seconds)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_is_what_one_would_count_by_hand() -> None:
    found = prepared(tiny(["student", "kd", "at"], seeds=[0, 1]))
    teacher, student = found.macs["pair", "teacher"], found.macs["pair", "student"]
    samples, trainings = 2 * 3 * 16, 2 * 3  # epochs, batches and their size; seeds and rows
    own = trainings * 3 * student  # forward, and twice that backward
    cost = estimate(found, found.cohorts(found.cells, None), [])
    assert cost.tmac == pytest.approx(samples * (own + 2 * teacher) / 1e12)  # a pass for each seed
    assert cost.alone == pytest.approx(
        samples * (own + 4 * teacher) / 1e12
    )  # and for each of kd and at
    assert cost.tmac < cost.alone
    assert cost.seconds == pytest.approx(2 * 3 * (trainings * 100 + 2 * 1))
    taught = estimate(found, found.cohorts(found.cells, None), found.wanted)
    assert taught.tmac - cost.tmac == pytest.approx(1 * 3 * 16 * 3 * teacher / 1e12)
    assert taught.alone - cost.alone == pytest.approx(1 * 3 * 16 * 3 * teacher / 1e12)
    assert taught.seconds - cost.seconds == pytest.approx(1 * 3 * 10)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_counts_every_pairs_own_student_and_a_shared_teacher_once() -> None:
    found = prepared(tiny(["kd"], pairs=pairs(one={}, two={})))
    first, second, teacher = (
        found.macs[of] for of in (("one", "student"), ("two", "student"), ("one", "teacher"))
    )
    assert first != second
    cost = estimate(found, found.cohorts(found.cells, None), [])
    assert cost.tmac == pytest.approx(96 * (3 * (first + second) + teacher) / 1e12)
    assert cost.alone == pytest.approx(96 * (3 * (first + second) + 2 * teacher) / 1e12)
    single = estimate(found, found.cohorts(found.cells, 1), [])
    assert single.tmac == single.alone == pytest.approx(cost.alone)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_of_students_alone_has_no_teachers_pass() -> None:
    found = prepared(tiny(["student"]))
    cost = estimate(found, found.cohorts(found.cells, None), [])
    assert cost.tmac == cost.alone == pytest.approx(96 * 3 * found.macs["pair", "student"] / 1e12)
    assert cost.seconds == pytest.approx(2 * 3 * 100)


def test_the_time_of_a_batch_is_measured_for_all_that_a_study_does() -> None:
    found = execution_estimate._seconds_per_batch(prepared(tiny()), 0)
    assert set(found) == {"teacher looks", "teacher trains", "student trains"}
    assert min(found.values()) > 0


@pytest.mark.usefixtures("clocked")
def test_an_estimate_of_nothing_is_nothing() -> None:
    assert estimate(prepared(tiny()), [], []) == execution_estimate.Estimate(0, 0, 0)


@pytest.mark.usefixtures("clocked")
def test_an_estimate_agrees_with_what_the_cells_record(ran: Path) -> None:
    found = prepared(tiny())
    recorded = [
        json.loads((folder / "done.json").read_text())["metrics"]["cost/compute_tmac"]
        for folder in folders(ran).values()
    ]
    assert estimate(found, found.cohorts(found.cells, None), []).alone == pytest.approx(
        sum(recorded)
    )


def test_preparing_counts_each_network_without_touching_torchs_stream() -> None:
    state = torch.get_rng_state()
    found = prepared(tiny(["student", "kd", "at"]))
    assert torch.equal(torch.get_rng_state(), state)
    for role, name in (("teacher", TEACHER), ("student", STUDENT)):
        model = create.tapped(Network(model=name), "here", (3, 32, 32), 10, (0.5,) * 3, (0.5,) * 3)
        assert found.macs["pair", role] == model.macs()


def test_a_cell_that_fails_is_reported_with_its_reason_and_tried_again(workspace: Path) -> None:
    wild = {"name": "wild", "method": "kd", "settings": {"weight": 3e38}}
    for _ in range(2):
        remembering = Remembering()
        summary = run(workspace, tiny([wild]), remembering)
        assert (summary.planned, summary.trained, summary.already_done) == (1, 0, 0)
        assert summary.failed["pair / wild / seed 0"].startswith("non-finite loss")
        assert "pair / wild / seed 0" in remembering.trained
