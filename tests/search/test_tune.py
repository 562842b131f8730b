"""Searches: the published settings first, equal budgets, validation alone, reproducible trials."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

import methods
from benchmark import data
from benchmark.errors import InputError
from benchmark.execution.executors import CohortSpec
from benchmark.execution.executors.inline import InlineExecutor
from benchmark.search import tuned
from benchmark.training.progress import Progress
from tests.search.helpers import (
    LOCAL,
    ROWS,
    Whole,
    copy_teachers,
    record,
    search_folder,
    searched,
    searching,
    trials,
)
from tests.support.commandline import ended, kdbench, launched
from tests.support.records import read_journal
from tests.support.studies import tiny, write_study

pytestmark = pytest.mark.trains


def test_every_row_has_its_budget_and_the_published_settings_first(whole: Whole) -> None:
    rows = trials(whole[0])
    assert list(rows) == ROWS
    for row in ROWS:
        states = [(number, state) for number, state, *_ in rows[row]]
        assert states == [(number, "COMPLETE") for number in range(4)]
        assert len({str(params) for _, _, params, _ in rows[row]}) == 4
    assert rows["kd"][0][2] == {"temperature": 4.0, "weight": 0.9}
    assert rows["kd+at"][0][2] == {"kd.temperature": 4.0, "kd.weight": 0.9, "at.beta": 1000.0}


def test_the_best_is_never_worse_than_the_published_and_is_the_mean_over_the_seeds(
    whole: Whole,
) -> None:
    workspace, outcome = whole
    rows = trials(workspace)
    assert [(best.pair, best.row, best.trials) for best in outcome.best] == [
        ("pair", row, 4) for row in ROWS
    ]
    for best in outcome.best:
        values = [value for *_, value in rows[best.row] if value is not None]
        assert best.value == max(values) >= values[0] == best.published

    for trial in record(workspace, outcome.best[0].key)["trials"]:
        last = []
        for cell in trial["cells"].values():
            records = read_journal(search_folder(workspace) / cell / "journal.jsonl")
            epochs = [entry for entry in records if entry["kind"] == "epoch"]
            last.append(epochs[-1]["metrics"]["val/acc1"])
        assert list(trial["values"].values()) == last
        assert trial["value"] == pytest.approx(sum(last) / 2)


def test_a_trial_meets_no_test_image_and_its_training_is_that_of_a_plain_cell(
    whole: Whole, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the test images were opened")

    copy_teachers(whole, workspace)
    with monkeypatch.context() as patch:
        patch.setattr(data.Data, "test", refuse)
        again = searching(workspace, searched())
    assert again.best == whole[1].best
    assert trials(workspace) == trials(whole[0])


def test_trials_in_one_cohort_are_those_that_train_alone(whole: Whole, workspace: Path) -> None:
    assert searching(workspace, searched(), cohort_size=1).best == whole[1].best
    assert trials(workspace) == trials(whole[0])


def test_a_budget_that_is_raised_resumes_with_the_trials_that_one_run_would_have_made(
    whole: Whole, workspace: Path
) -> None:
    searching(workspace, searched(search={"trials": 2}))
    assert searching(workspace, searched()).best == whole[1].best
    assert trials(workspace) == trials(whole[0])


def test_a_search_that_is_done_trains_nothing_again(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: InlineExecutor, cohorts: Iterable[CohortSpec], *__: Any) -> None:
        assert not list(cohorts)

    monkeypatch.setattr(InlineExecutor, "run", refuse)
    assert searching(whole[0], searched()).best == whole[1].best


@pytest.mark.parametrize(
    "place",
    [
        "tune.tell:6",
        *(
            pytest.param(place, marks=pytest.mark.slow)
            for place in ("tune.ask:5", "tune.ask:8", "tune.tell:2", "checkpoint.written:14")
        ),
    ],
)
def test_a_search_killed_at_a_certain_place_ends_with_the_same_trials(
    place: str, whole: Whole, tmp_path: Path
) -> None:
    workspace = tmp_path / "runs"
    file = write_study(tmp_path / "study.yaml", searched())
    copy_teachers(whole, workspace)

    call = ("--workspace", workspace, "tune", file, *LOCAL)
    killed = ended(launched(*call, env={"KDBENCH_FAILPOINT": place}))
    assert killed.code == -signal.SIGKILL
    assert kdbench(*call).code == 0

    assert trials(workspace) == trials(whole[0])
    content = tuned.read(tmp_path / "tuned" / "study.yaml")
    assert [(entry.row, entry.trial, entry.value) for entry in content.searches] == [
        (best.row, best.number, best.value) for best in whole[1].best
    ]


@pytest.mark.parametrize(
    "after", [4, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 11))]
)
def test_a_search_stopped_while_it_chooses_a_trials_settings_ends_with_the_same_trials(
    after: int, whole: Whole, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggest, calls = optuna.trial.Trial._suggest, iter(range(after))

    def stopped(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return suggest(*arguments)

    copy_teachers(whole, workspace)
    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "_suggest", stopped)
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, searched())

    assert searching(workspace, searched()).best == whole[1].best
    assert trials(workspace) == trials(whole[0])


@pytest.mark.slow
def test_a_search_killed_five_times_at_random_moments_ends_with_the_same_trials(
    whole: Whole, tmp_path: Path
) -> None:
    workspace, plain = tmp_path / "runs", tmp_path / "plain"
    file = write_study(tmp_path / "study.yaml", searched(search={"trials": 12}))
    for folder in (workspace, plain):
        copy_teachers(whole, folder)

    draw, killed = random.Random(0), 0
    while killed < 5:
        process = launched("--workspace", workspace, "tune", file, *LOCAL)
        try:
            process.communicate(timeout=draw.uniform(4, 12))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    assert killed == 5

    written = tmp_path / "tuned" / "study.yaml"
    assert kdbench("--workspace", workspace, "tune", file, *LOCAL).code == 0
    after_kills = written.read_bytes()
    assert kdbench("--workspace", plain, "tune", file, *LOCAL).code == 0
    assert trials(workspace) == trials(plain)
    assert written.read_bytes() == after_kills


def test_the_recipe_is_searched_for_the_student_alone_as_for_all(workspace: Path) -> None:
    spans = {"lr": [0.01, 0.2], "weight_decay": [1e-5, 1e-3]}
    content = searched(["student", "kd"], search={**spans, "trials": 2, "seeds": [100]})
    outcome = searching(workspace, content)

    (_, _, first, _), (_, _, second, _) = trials(workspace)["student"]
    assert first == {"recipe.lr": 0.05, "recipe.weight_decay": 5e-4}
    (cell,) = record(workspace, outcome.best[0].key)["trials"][1]["cells"].values()
    folder = search_folder(workspace) / cell
    optimizer = yaml.safe_load((folder / "config.json").read_text())["recipe"]["optimizer"]
    assert optimizer["lr"] == second["recipe.lr"]
    assert optimizer["weight_decay"] == second["recipe.weight_decay"]

    records = read_journal(folder / "journal.jsonl")
    rates = [entry["metrics"]["lr"] for entry in records if entry["kind"] == "epoch"]
    assert rates[0] == pytest.approx(second["recipe.lr"] * 0.75, rel=1e-6)  # the third step of six
    assert rates[0] != rates[1]


def test_a_row_without_a_complete_trial_is_named_and_the_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("at").forward

    def wild(self: Any, *args: Any) -> Any:
        terms = forward(self, *args)
        return {name: (weight, value * float("nan")) for name, (weight, value) in terms.items()}

    monkeypatch.setattr(methods.get("at"), "forward", wild)
    file = write_study(tmp_path / "study.yaml", searched(["at", "kd"], search={"trials": 2}))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, *LOCAL)
    assert done.code == 1
    assert "failed: pair / at: no trial was completed; see the journals in " in done.err
    searches = tuned.read(tuned.settings_file(file)).searches
    assert [entry.row for entry in searches] == ["kd"]


def test_a_trial_whose_loss_is_not_finite_fails_and_keeps_its_number(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("kd").forward

    def wild(self: Any, *args: Any) -> Any:
        terms = forward(self, *args)
        if self.temperature == 4.0:
            return terms
        return {name: (weight, value * float("nan")) for name, (weight, value) in terms.items()}

    monkeypatch.setattr(methods.get("kd"), "forward", wild)
    outcome = searching(workspace, searched(["kd"], search={"trials": 3}))
    states = [(number, state) for number, state, *_ in trials(workspace)["kd"]]
    assert states == [(0, "COMPLETE"), (1, "FAIL"), (2, "FAIL")]
    assert outcome.best[0].number == 0


def test_a_budget_below_the_trials_that_were_made_is_refused(whole: Whole, workspace: Path) -> None:
    shutil.copytree(whole[0], workspace)
    message = (
        r"search\.trials: is 3, but pair / kd already has 4 trials; set it to 4 or more, or start "
        r"a new search with another search\.seed"
    )
    with pytest.raises(InputError, match=message):
        searching(workspace, searched(search={"trials": 3}))


def test_a_search_holds_its_folder_against_a_second_one(whole: Whole) -> None:
    class Second(Progress):
        def planned(self, cells: Any) -> None:
            with pytest.raises(InputError, match="already running"):
                searching(whole[0], searched())

    searching(whole[0], searched(), Second())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search": {"trials": {"kd": 20, "at": 5}}},
            "search.trials: gives methods different numbers of trials (5, 20)",
        ),
        (
            {"search": {"objective": "test/acc1"}},
            "search.objective: is 'test/acc1'; it must be 'val/acc1' or ",
        ),
        ({"search": {"objective": "val/f2"}}, "search.objective: is 'val/f2'; "),
        (
            {"search": {"seeds": [0]}},
            "search.seeds and seeds both contain 0; compare methods on seeds",
        ),
        (
            {"search": {"lr": [0.2, 0.1]}},
            "search: lr is [0.2, 0.1]; give the lowest value, then the highest",
        ),
        (
            {"search": {"sampler": "gp", "pruner": "median"}},
            "sampler 'gp' cannot learn from pruned trials",
        ),
        ({"search": {"trails": 4}}, "search.trails: unknown key; did you mean 'trials'?"),
        (
            {"split": "legacy"},
            "search needs validation images, but split 'legacy' has none; set split.val",
        ),
        (
            {"rows": ["student", "kd"]},
            "methods[0]: student has no setting to search; set search.lr or ",
        ),
        (
            {"rows": [{"method": "kd", "settings": {"temperature": 50}}]},
            "methods[0].settings.temperature: 50 is outside the search space (",
        ),
        (
            {"search": {"lr": [0.1, 0.2]}},
            "recipe.optimizer.lr: 0.05 is outside the search space (log-uniform 0.1 to 0.2)",
        ),
    ],
)
def test_an_impossible_search_is_one_line_with_exit_code_2(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = changes.pop("rows", ROWS)
    file = write_study(tmp_path / "study.yaml", searched(rows, **changes))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, *LOCAL)
    assert (done.code, done.err.count("kdbench: ")) == (2, 1), done.err
    assert message in done.err
    assert str(file) in done.err
    assert not (tmp_path / "tuned").exists()


def test_a_study_without_a_search_says_what_to_write(tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", tiny(["kd"]))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, *LOCAL)
    assert done.code == 2
    assert f"{file}: search: missing; `kdbench tune` requires it" in done.err


def test_rows_with_recipes_of_their_own_are_searched_with_them(workspace: Path) -> None:
    rows: list[Any] = [
        "kd",
        {"name": "long", "method": "kd", "recipe": {"epochs": 3, "optimizer": {"lr": 0.1}}},
        {"name": "big", "method": "kd", "recipe": {"batch_size": 24}},
    ]
    search = {"trials": 2, "seeds": [100], "lr": [0.01, 0.2]}
    outcome = searching(workspace, searched(rows, search=search))

    found = trials(workspace)
    assert [found[row][0][2]["recipe.lr"] for row in ("kd", "long", "big")] == [0.05, 0.1, 0.05]
    for best in outcome.best:
        content = record(workspace, best.key)
        for trial in content["trials"]:
            (cell,) = trial["cells"].values()
            folder = search_folder(workspace) / cell
            recipe = yaml.safe_load((folder / "config.json").read_text())["recipe"]
            assert recipe["epochs"] == (3 if best.row == "long" else 2)
            assert recipe["batch_size"] == (24 if best.row == "big" else 16)
            assert recipe["optimizer"]["lr"] == trial["params"]["recipe.lr"]

            epochs = [entry for entry in read_journal(folder / "journal.jsonl")]
            assert sum(entry["kind"] == "epoch" for entry in epochs) == recipe["epochs"]

    costs = {best.row: best.compute_tmac for best in outcome.best}
    assert costs["long"] == pytest.approx(1.5 * costs["kd"])
    assert costs["big"] == pytest.approx(costs["kd"])
    total = sum(costs.values())
    assert outcome.alone == pytest.approx(total)


def test_the_first_trial_of_a_row_with_its_own_learning_rate_must_be_inside(tmp_path: Path) -> None:
    rows = [{"method": "kd", "recipe": {"optimizer": {"lr": 0.5}}}]
    content = searched(rows, search={"lr": [0.01, 0.2]})
    with pytest.raises(InputError, match=r"methods\[0\]\.recipe\.optimizer\.lr: 0\.5 is outside"):
        searching(tmp_path, content)


def test_a_teacher_that_cannot_be_trained_ends_the_searches_of_its_pair_alone(
    workspace: Path,
) -> None:
    content = searched(["kd"], search={"trials": 2, "seeds": [100]})
    (pair,) = content["pairs"]
    wild = {**pair["teacher"]["recipe"], "optimizer": {"lr": 1e30}}
    other = {**pair, "name": "wild", "teacher": {**pair["teacher"], "recipe": wild}}
    content["pairs"] = [other, pair]

    outcome = searching(workspace, content)
    assert outcome.failed == ["wild / kd"]
    assert [best.pair for best in outcome.best] == ["pair"]
    assert [len(rows) for rows in trials(workspace).values()] == [2]
