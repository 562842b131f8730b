"""Searches: the published settings first, equal budgets, validation alone, and the same trials however often killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml

import methods
from benchmark import data
from benchmark.errors import InputError
from benchmark.execution import environment, prepare
from benchmark.search import trials as search_trials
from benchmark.search import tune, tuned
from benchmark.search.database import default_storage
from benchmark.search.hunt import Best, Hunt
from benchmark.study import study
from benchmark.training.progress import Progress
from tests.support.commandline import ended, kdbench, launched
from tests.support.records import read_journal
from tests.support.studies import folders, plan, tiny, write_study

ROWS = ["kd", "at", "kd+at"]
SEARCH = {"trials": 4, "seeds": [100, 101], "together": 2}
Trials = dict[str, list[tuple[int, str, dict[str, Any], float | None]]]


def searched(rows: list[Any] = ROWS, **changes: Any) -> dict[str, Any]:
    """A tiny study with a tiny search."""
    search = {**SEARCH, **changes.pop("search", {})}
    return tiny(rows, search=search, **changes)


def searching(
    workspace: Path, content: dict[str, Any], progress: Progress | None = None, **options: Any
) -> tune.Outcome:
    """Searches in this process, on the CPU."""
    path, device = write_study(workspace / "study.yaml", content), torch.device("cpu")
    prepared = prepare.prepare(
        study.load(path), path.read_text(), str(path), device, workspace, lambda _: None
    )
    known = environment.environment(device)
    return tune.tune(prepared, workspace, str(path), known, progress or Progress(), **options)


def trials(workspace: Path, storage: str | None = None) -> Trials:
    """What Optuna's storage holds: number, state, settings and value of every trial, by the row."""
    url = storage or default_storage(workspace / "tiny" / "search")
    names = optuna.get_all_study_names(storage=url)
    return {
        name.split(" / ")[2]: [
            (t.number, t.state.name, t.params, t.value if t.state.name == "COMPLETE" else None)
            for t in optuna.load_study(study_name=name, storage=url).get_trials()
        ]
        for name in names
    }


def chosen(outcome: tune.Outcome) -> list[Best]:
    return outcome.best


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tune.Outcome]:
    """A search that nothing disturbed."""
    workspace = tmp_path_factory.mktemp("whole")
    return workspace, searching(workspace, searched())


def test_every_row_has_its_budget_and_the_published_settings_first(
    whole: tuple[Path, tune.Outcome],
) -> None:
    tuned = trials(whole[0])
    assert list(tuned) == ROWS
    for row in ROWS:
        assert [(number, state) for number, state, *_ in tuned[row]] == [
            (n, "COMPLETE") for n in range(4)
        ]
        assert len({str(params) for _, _, params, _ in tuned[row]}) == 4
    assert tuned["kd"][0][2] == {"temperature": 4.0, "weight": 0.9}
    assert tuned["kd+at"][0][2] == {"kd.temperature": 4.0, "kd.weight": 0.9, "at.beta": 1000.0}


def test_the_best_is_never_worse_than_the_published_and_is_the_mean_over_the_seeds(
    whole: tuple[Path, tune.Outcome],
) -> None:
    workspace, outcome = whole
    known = trials(workspace)
    assert [(one.pair, one.row, one.trials) for one in outcome.best] == [
        ("pair", row, 4) for row in ROWS
    ]
    for one in outcome.best:
        values = [value for *_, value in known[one.row] if value is not None]
        assert one.value == max(values) >= values[0] == one.published
    record = yaml.safe_load(
        (workspace / "tiny" / "search" / f"{outcome.best[0].key}.json").read_text()
    )
    for trial in record["trials"]:
        ends = [
            read_journal(workspace / "tiny" / "search" / place / "journal.jsonl")
            for place in trial["cells"].values()
        ]
        last = [
            [r for r in records if r["kind"] == "epoch"][-1]["metrics"]["val/acc1"]
            for records in ends
        ]
        assert list(trial["values"].values()) == last
        assert trial["value"] == pytest.approx(sum(last) / 2)


def test_a_trial_meets_no_test_image_and_its_training_is_that_of_a_plain_cell(
    whole: tuple[Path, tune.Outcome], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the test images were opened")

    with monkeypatch.context() as patch:
        patch.setattr(data.Data, "test", refuse)
        shutil.copytree(whole[0] / "teachers", workspace / "teachers")
        again = searching(workspace, searched())
    assert chosen(again) == chosen(whole[1])
    assert trials(workspace) == trials(whole[0])


def test_trials_in_one_cohort_are_those_that_train_alone(
    whole: tuple[Path, tune.Outcome], workspace: Path
) -> None:
    assert chosen(searching(workspace, searched(), cohort_size=1)) == chosen(whole[1])
    assert trials(workspace) == trials(whole[0])


def test_a_budget_that_is_raised_goes_on_with_the_trials_that_one_run_would_have_made(
    whole: tuple[Path, tune.Outcome], workspace: Path
) -> None:
    searching(workspace, searched(search={"trials": 2}))
    assert chosen(searching(workspace, searched())) == chosen(whole[1])
    assert trials(workspace) == trials(whole[0])


def test_a_search_that_is_done_trains_nothing_again(
    whole: tuple[Path, tune.Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tasks: Any, *_: Any) -> None:
        assert not tasks

    monkeypatch.setattr(search_trials, "train", refuse)
    assert chosen(searching(whole[0], searched())) == chosen(whole[1])


class _Killed(Exception):
    pass


@pytest.mark.parametrize(
    "place", ["tune.ask:5", "tune.ask:8", "tune.tell:2", "tune.tell:6", "checkpoint.written:14"]
)
def test_a_search_killed_at_a_certain_place_ends_with_the_same_trials(
    place: str, whole: tuple[Path, tune.Outcome], tmp_path: Path
) -> None:
    workspace, file = tmp_path / "runs", write_study(tmp_path / "study.yaml", searched())
    shutil.copytree(whole[0] / "teachers", workspace / "teachers")
    call = ("--workspace", workspace, "tune", file, "--device", "cpu", "--no-track")
    assert ended(launched(*call, env={"KDBENCH_FAILPOINT": place})).code == -signal.SIGKILL
    assert kdbench(*call).code == 0
    assert trials(workspace) == trials(whole[0])
    content = tuned.read(tmp_path / "tuned" / "study.yaml")
    assert [(entry.row, entry.trial, entry.value) for entry in content.searches] == [
        (one.row, one.number, one.value) for one in whole[1].best
    ]


@pytest.mark.parametrize("after", [1, 4, 17])
def test_a_search_stopped_while_it_chooses_a_trials_settings_ends_with_the_same_trials(
    after: int, whole: tuple[Path, tune.Outcome], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggest, calls = optuna.trial.Trial._suggest, iter(range(after))

    def stopped(*arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return suggest(*arguments)

    shutil.copytree(whole[0] / "teachers", workspace / "teachers")
    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "_suggest", stopped)
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, searched())
    assert chosen(searching(workspace, searched())) == chosen(whole[1])
    assert trials(workspace) == trials(whole[0])


@pytest.mark.slow
def test_a_search_killed_five_times_at_random_moments_ends_with_the_same_trials(
    whole: tuple[Path, tune.Outcome], tmp_path: Path
) -> None:
    workspace, file = (
        tmp_path / "runs",
        write_study(tmp_path / "study.yaml", searched(search={"trials": 12})),
    )
    plain = tmp_path / "plain"
    for place in (workspace, plain):
        shutil.copytree(whole[0] / "teachers", place / "teachers")
    draw, killed = random.Random(0), 0
    while killed < 5:
        process = launched("--workspace", workspace, "tune", file, "--device", "cpu", "--no-track")
        try:
            process.communicate(timeout=draw.uniform(4, 12))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    assert killed == 5
    assert (
        kdbench("--workspace", workspace, "tune", file, "--device", "cpu", "--no-track").code == 0
    )
    one = (tmp_path / "tuned" / "study.yaml").read_bytes()
    assert kdbench("--workspace", plain, "tune", file, "--device", "cpu", "--no-track").code == 0
    assert trials(workspace) == trials(plain)
    assert (tmp_path / "tuned" / "study.yaml").read_bytes() == one


def test_the_recipe_is_searched_for_the_student_alone_as_for_all(workspace: Path) -> None:
    content = searched(
        ["student", "kd"],
        search={"lr": [0.01, 0.2], "weight_decay": [1e-5, 1e-3], "trials": 2, "seeds": [100]},
    )
    outcome = searching(workspace, content)
    first = trials(workspace)["student"][0]
    assert first[2] == {"recipe.lr": 0.05, "recipe.weight_decay": 5e-4}
    second = trials(workspace)["student"][1][2]
    record = yaml.safe_load(
        (workspace / "tiny" / "search" / f"{outcome.best[0].key}.json").read_text()
    )
    (cell,) = record["trials"][1]["cells"].values()
    config = yaml.safe_load((workspace / "tiny" / "search" / cell / "config.json").read_text())
    assert config["recipe"]["optimizer"]["lr"] == second["recipe.lr"]
    assert config["recipe"]["optimizer"]["weight_decay"] == second["recipe.weight_decay"]
    records = read_journal(workspace / "tiny" / "search" / cell / "journal.jsonl")
    rates = [record["metrics"]["lr"] for record in records if record["kind"] == "epoch"]
    assert rates[0] == pytest.approx(second["recipe.lr"] * 0.75, rel=1e-6)  # the third step of six
    assert rates[0] != rates[1]


@pytest.fixture
def pruned(workspace: Path) -> dict[str, Any]:
    search = {
        "trials": 12,
        "together": 3,
        "seeds": [100],
        "pruner": "median",
        "objective": "val/loss",
    }
    recipe = {"epochs": 3, "augmentation": {}, "optimizer": {"name": "adamw", "lr": 0.003}}
    split = {"val": 40, "train_samples": 160}
    return searched(["student"], search={**search, "lr": [1e-5, 0.03]}, recipe=recipe, split=split)


def test_pruned_trials_leave_their_cohort_and_the_others_go_on(
    pruned: dict[str, Any], workspace: Path
) -> None:
    searching(workspace, pruned)
    known = trials(workspace)["student"]
    assert len(known) == 12
    states = {state for _, state, *_ in known}
    assert states == {"COMPLETE", "PRUNED"}
    (record,) = (
        yaml.safe_load(path.read_text())
        for path in (workspace / "tiny" / "search").glob("????????????.json")
    )
    for trial in record["trials"]:
        (place,) = trial["cells"].values()
        kinds = [
            r["kind"] for r in read_journal(workspace / "tiny" / "search" / place / "journal.jsonl")
        ]
        assert ("trained" in kinds) == (trial["state"] == "COMPLETE")
        assert kinds.count("epoch") == 3 or trial["state"] == "PRUNED"


class _Stop(Progress):
    def __init__(self, after: int):
        self.left = after

    def epoch(self, cell: str, *_: Any) -> None:
        if "trial" in cell:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_a_pruned_search_that_was_interrupted_prunes_the_same_trials(
    pruned: dict[str, Any], workspace: Path, tmp_path: Path
) -> None:
    searching(tmp_path / "whole", pruned)
    for after in (2, 5, 9, 7):
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, pruned, _Stop(after))
    searching(workspace, pruned)
    assert trials(workspace) == trials(tmp_path / "whole")


def test_a_pruned_search_that_was_stopped_between_two_tells_prunes_the_same_trials(
    pruned: dict[str, Any], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {**pruned, "search": {**pruned["search"], "together": 12}}
    searching(tmp_path / "whole", content)
    tells = iter(range(7))

    def stop(place: str) -> None:
        if place == "tune.tell" and next(tells, None) is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search_trials, "failpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, content)
    searching(workspace, content)
    assert trials(workspace) == trials(tmp_path / "whole")


def test_trials_with_the_same_settings_share_a_training_and_are_pruned_together(
    pruned: dict[str, Any], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(_: Any) -> optuna.distributions.CategoricalDistribution:
        return optuna.distributions.CategoricalDistribution((0.003, 0.001, 1e-5))

    def worst(hunt: Hunt, number: int) -> dict[str, Any]:
        return {"recipe.lr": 0.003 if number < 6 else 1e-5}

    monkeypatch.setattr(search_trials, "distribution", few)
    monkeypatch.setattr(
        search_trials.Trials, "_choice", lambda _, hunt, number, spaces: worst(hunt, number)
    )
    searching(tmp_path / "whole", pruned)
    known = trials(tmp_path / "whole")["student"]
    assert [state for _, state, *_ in known] == ["COMPLETE"] * 6 + ["PRUNED"] * 6
    for after in (4, 1):
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, pruned, _Stop(after))
    searching(workspace, pruned)
    assert trials(workspace) == trials(tmp_path / "whole")


def test_a_row_without_a_complete_trial_is_named_and_the_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("at").forward

    def wild(self: Any, *args: Any) -> Any:
        return {
            name: (weight, value * float("nan"))
            for name, (weight, value) in forward(self, *args).items()
        }

    monkeypatch.setattr(methods.get("at"), "forward", wild)
    file = write_study(tmp_path / "study.yaml", searched(["at", "kd"], search={"trials": 2}))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    assert done.code == 1
    assert "failed: pair / at: no trial is complete; see the journals in " in done.err
    assert [entry.row for entry in tuned.read(tuned.place(file)).searches] == ["kd"]


def test_a_budget_below_the_trials_that_were_made_is_refused(
    whole: tuple[Path, tune.Outcome], workspace: Path
) -> None:
    shutil.copytree(whole[0], workspace)
    with pytest.raises(
        InputError,
        match=r"search.trials: is 3, and pair / kd has had 4; give 4 or more, or another",
    ):
        searching(workspace, searched(search={"trials": 3}))


def test_a_trial_whose_loss_is_not_finite_fails_and_keeps_its_number(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = methods.get("kd").forward

    def wild(self: Any, *args: Any) -> Any:
        terms = forward(self, *args)
        return (
            terms
            if self.temperature == 4.0
            else {name: (w, v * float("nan")) for name, (w, v) in terms.items()}
        )

    monkeypatch.setattr(methods.get("kd"), "forward", wild)
    outcome = searching(workspace, searched(["kd"], search={"trials": 3}))
    assert [(number, state) for number, state, *_ in trials(workspace)["kd"]] == [
        (0, "COMPLETE"), (1, "FAIL"), (2, "FAIL")
    ]  # fmt: skip
    assert outcome.best[0].number == 0


def test_the_comparison_runs_published_and_tuned_rows_side_by_side_on_fresh_seeds(
    tmp_path: Path,
) -> None:
    workspace = tmp_path / "runs"
    file = write_study(
        tmp_path / "study.yaml",
        searched(["student", "kd"], search={"lr": [0.01, 0.2], "trials": 3}),
    )
    call = ("--workspace", workspace)
    done = kdbench(*call, "tune", file, "--device", "cpu", "--no-track")
    assert done.code == 0, done.err
    assert "times as much" in done.out
    ran = kdbench(*call, "run", file, "--settings", "tuned", "--device", "cpu", "--no-track")
    assert ran.code == 0, ran.err
    assert plan(workspace)["methods"] == ["student", "kd", "student (tuned)", "kd (tuned)"]
    content = tuned.read(tuned.place(file))
    (kd,) = (entry for entry in content.searches if entry.row == "kd")
    config = yaml.safe_load((folders(workspace)["kd (tuned)/0"] / "config.json").read_text())
    assert config["method"]["settings"] == {**methods.create("kd").settings, **kd.found.settings}
    assert config["recipe"]["optimizer"]["lr"] == kd.found.lr
    again = kdbench(*call, "run", file, "--settings", "tuned", "--device", "cpu", "--no-track")
    assert "0 cells trained, 4 already done" in again.err


def test_a_tuned_row_with_the_published_settings_is_the_published_cell(tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", searched(["kd"], search={"trials": 1}))
    kdbench("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    done = kdbench(
        "--workspace",
        tmp_path / "runs",
        "run",
        file,
        "--settings",
        "tuned",
        "--device",
        "cpu",
        "--no-track",
    )
    assert done.code == 0, done.err
    own = folders(tmp_path / "runs")
    assert own["kd/0"] == own["kd (tuned)/0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"search": {"trials": {"kd": 20, "at": 5}}},
            "search.trials: asks for 5 and 20 trials of different methods",
        ),
        (
            {"search": {"objective": "test/acc1"}},
            "search.objective: is 'test/acc1'; input should be 'val/acc1' or ",
        ),
        ({"search": {"objective": "val/f2"}}, "search.objective: is 'val/f2'; "),
        (
            {"search": {"seeds": [0]}},
            "search.seeds and seeds both hold 0; the comparison is made on fresh ones",
        ),
        (
            {"search": {"lr": [0.2, 0.1]}},
            "search: lr is [0.2, 0.1]; give the lowest and the highest",
        ),
        (
            {"search": {"sampler": "gp", "pruner": "median"}},
            "sampler 'gp' learns nothing from pruned trials",
        ),
        ({"search": {"trails": 4}}, "search.trails: unknown key; did you mean 'trials'?"),
        (
            {"split": "legacy"},
            "search needs validation images, and the split 'legacy' holds none out",
        ),
        (
            {"rows": ["student", "kd"]},
            "methods[0]: student has no setting that is searched; give search.lr or ",
        ),
        (
            {"rows": [{"method": "kd", "settings": {"temperature": 50}}]},
            "methods[0].settings.temperature: is 50, out ",
        ),
        (
            {"search": {"lr": [0.1, 0.2]}},
            "recipe.optimizer.lr: is 0.05, out of its search space, log-uniform 0.1 to",
        ),
    ],
)
def test_a_search_that_cannot_be_is_one_line_with_exit_code_2(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = changes.pop("rows", ROWS)
    file = write_study(tmp_path / "study.yaml", searched(rows, **changes))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    assert (done.code, done.err.count("kdbench: ")) == (2, 1), done.err
    assert message in done.err
    assert str(file) in done.err
    assert not (tmp_path / "tuned").exists()


def test_a_study_without_a_search_says_what_to_write(tmp_path: Path) -> None:
    file = write_study(tmp_path / "study.yaml", tiny(["kd"]))
    done = kdbench("--workspace", tmp_path / "runs", "tune", file, "--device", "cpu", "--no-track")
    assert done.code == 2
    assert f"{file}: search: missing; `kdbench tune` needs it" in done.err


def test_settings_of_unequal_budgets_or_of_another_study_are_refused(
    whole: tuple[Path, tune.Outcome], tmp_path: Path
) -> None:
    loaded = study.load(write_study(tmp_path / "study.yaml", searched()))
    path = tuned.place(tmp_path / "study.yaml")
    one, *rest = whole[1].best
    tuned.write(path, loaded, [replace(one, trials=5), *rest])
    with pytest.raises(
        InputError, match=r"rows had 4 and 5 trials; unequal budgets are not compared"
    ):
        tuned.with_tuned_rows(loaded, path)
    tuned.write(path, loaded.model_copy(update={"name": "other"}), whole[1].best)
    with pytest.raises(InputError, match=r"study: is 'other', not 'tiny'"):
        tuned.with_tuned_rows(loaded, path)
    tuned.write(path, loaded, [replace(one, row="gone"), *rest])
    with pytest.raises(InputError, match=r"'gone', which is no row of the study"):
        tuned.with_tuned_rows(loaded, path)
    with pytest.raises(InputError, match=r"no such file; `kdbench tune` writes it"):
        tuned.with_tuned_rows(loaded, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"seeds": [100]},
            r"seeds: the study's seeds hold 100 too; the comparison is made on fresh ones",
        ),
        (
            {
                "methods": [
                    *ROWS,
                    {"name": "kd (tuned)", "method": "kd", "settings": {"temperature": 2}},
                ]
            },
            r"give it anot",
        ),
        ({"pairs": "more"}, r"holds no settings for the pair 'second'; run `kdbench tune` again"),
        (
            {"pairs": "other"},
            r"holds settings for 'pair', which is no pair of the study; run `kdbench tune` again",
        ),
        (
            {"found": {"temperature": -1.0}},
            r"searches\[0\].found.settings: kd: temperature is -1.0; it must be > 0",
        ),
        ({"found": {"tempo": 1.0}}, r"searches\[0\].found.settings: kd: no setting 'tempo'; "),
    ],
)
def test_settings_that_no_longer_fit_the_study_are_refused(
    change: dict[str, Any], message: str, whole: tuple[Path, tune.Outcome], tmp_path: Path
) -> None:
    content = {
        **searched(),
        **{key: value for key, value in change.items() if key in ("seeds", "methods")},
    }
    second = {**content["pairs"][0], "name": "second"}
    if "pairs" in change:
        content["pairs"] = [second] if change["pairs"] == "other" else [*content["pairs"], second]
    one, *rest = whole[1].best
    path = tuned.place(tmp_path / "study.yaml")
    new = one.found.model_copy(update={"settings": change.get("found", one.found.settings)})
    tuned.write(
        path,
        study.load(write_study(tmp_path / "study.yaml", searched())),
        [replace(one, found=new), *rest],
    )
    del content["search"]
    with pytest.raises(InputError, match=message) as error:
        tuned.with_tuned_rows(study.load(write_study(tmp_path / "study.yaml", content)), path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the test."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL server is installed")
    root = os.getuid() == 0
    if root and subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    as_user = ["runuser", "-u", "postgres", "--"] if root else []
    made = subprocess.run(
        [*as_user, "mktemp", "-d"], capture_output=True, text=True, check=True, cwd="/"
    )
    place = Path(made.stdout.strip())

    def server(tool: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, str(folders[-1] / tool), *arguments],
            check=True,
            capture_output=True,
            cwd="/",
        )

    try:
        server("initdb", "-D", str(place / "data"), "-U", "kd", "--auth=trust", "--no-sync")
        port = 20000 + random.SystemRandom().randrange(20000)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {place}"
        server(
            "pg_ctl",
            "-D",
            str(place / "data"),
            "-w",
            "-l",
            str(place / "log"),
            "-o",
            options,
            "start",
        )
        try:
            yield f"postgresql+psycopg2://kd:s3cret@127.0.0.1:{port}/postgres"
        finally:
            server("pg_ctl", "-D", str(place / "data"), "-m", "immediate", "stop")
    finally:
        subprocess.run([*as_user, "rm", "-rf", str(place)], check=False)


def test_postgresql_gives_the_same_search_as_a_file(
    postgres: str, whole: tuple[Path, tune.Outcome], workspace: Path
) -> None:
    assert chosen(searching(workspace, searched(), storage=postgres)) == chosen(whole[1])
    assert trials(workspace, postgres) == trials(whole[0])
    assert not (workspace / "tiny" / "search" / "optuna.db").exists()


def test_a_search_holds_its_folder_against_a_second_one(whole: tuple[Path, tune.Outcome]) -> None:
    class Second(Progress):
        def planned(self, cells: Any) -> None:
            with pytest.raises(InputError, match="already running"):
                searching(whole[0], searched())

    searching(whole[0], searched(), Second())
