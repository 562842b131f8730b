"""Trials that fall behind are pruned, and the same ones however often the search was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import optuna
import pytest
import yaml

from benchmark.search import asking
from benchmark.search import trials as search_trials
from benchmark.training.progress import Progress
from tests.search.helpers import Stop, search_folder, searched, searching, trials
from tests.support.disks import slow_disk
from tests.support.records import read_journal

pytestmark = pytest.mark.trains


@pytest.fixture
def pruned() -> dict[str, Any]:
    """A study whose search prunes some trials."""
    search = {
        "trials": 12,
        "together": 3,
        "seeds": [100],
        "pruner": "median",
        "objective": "val/loss",
        "lr": [1e-5, 0.03],
    }
    recipe = {"epochs": 3, "augmentation": {}, "optimizer": {"name": "adamw", "lr": 0.003}}
    split = {"val": 40, "train_samples": 160}
    return searched(["student"], search=search, recipe=recipe, split=split)


def test_pruned_trials_leave_their_cohort_and_the_others_are_trained_to_their_end(
    pruned: dict[str, Any], workspace: Path
) -> None:
    class Leaving(Progress):
        reasons: ClassVar[list[str]] = []

        def left_cohort(self, cell: str, reason: str) -> None:
            self.reasons.append(reason)

    searching(workspace, pruned, Leaving())
    states = [state for _, state, *_ in trials(workspace)["student"]]
    assert len(states) == 12
    assert set(states) == {"COMPLETE", "PRUNED"}
    assert len(Leaving.reasons) == states.count("PRUNED")
    assert set(Leaving.reasons) <= {f"pruned after epoch {epoch}" for epoch in (1, 2, 3)}

    folder = search_folder(workspace)
    (path,) = folder.glob("????????????.json")
    for trial in yaml.safe_load(path.read_text())["trials"]:
        (cell,) = trial["cells"].values()
        kinds = [entry["kind"] for entry in read_journal(folder / cell / "journal.jsonl")]
        assert ("trained" in kinds) == (trial["state"] == "COMPLETE")
        assert kinds.count("epoch") == 3 or trial["state"] == "PRUNED"


def epochs(workspace: Path) -> dict[str, int]:
    """Return the number of epochs in the journal of each trial."""
    journals = search_folder(workspace).glob("cells/*/journal.jsonl")
    return {
        path.parent.name: sum(record["kind"] == "epoch" for record in read_journal(path))
        for path in journals
    }


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", pytest.param("hyperband", marks=pytest.mark.slow)])
def test_a_search_on_a_slow_disk_prunes_the_same_trials_after_the_same_epochs(
    pruner: str,
    pruned: dict[str, Any],
    workspace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pruned["search"]["pruner"] = pruner
    searching(tmp_path / "whole", pruned)
    with monkeypatch.context() as patch:
        slow_disk(patch, [0.0, 0.2, 0.05, 0.0, 0.1])
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, pruned, Stop(20))
        searching(workspace, pruned)

    assert "PRUNED" in {state for _, state, *_ in trials(workspace)["student"]}
    assert trials(workspace) == trials(tmp_path / "whole")
    assert epochs(workspace) == epochs(tmp_path / "whole")


@pytest.mark.slow
def test_a_pruned_search_that_was_interrupted_prunes_the_same_trials(
    pruned: dict[str, Any], workspace: Path, tmp_path: Path
) -> None:
    searching(tmp_path / "whole", pruned)
    for after in (2, 9):
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, pruned, Stop(after))
    searching(workspace, pruned)
    assert trials(workspace) == trials(tmp_path / "whole")


@pytest.mark.slow
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


@pytest.mark.slow
def test_trials_with_the_same_settings_share_a_training_and_are_pruned_together(
    pruned: dict[str, Any], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(_: Any) -> optuna.distributions.CategoricalDistribution:
        return optuna.distributions.CategoricalDistribution((0.003, 0.001, 1e-5))

    def worst_last(_: Any, number: int, *__: Any) -> dict[str, Any]:
        return {"recipe.lr": 0.003 if number < 6 else 1e-5}

    monkeypatch.setattr(asking, "distribution", few)
    monkeypatch.setattr(asking, "choose", worst_last)
    searching(tmp_path / "whole", pruned)
    states = [state for _, state, *_ in trials(tmp_path / "whole")["student"]]
    assert states == ["COMPLETE"] * 6 + ["PRUNED"] * 6

    for after in (4, 1):
        with pytest.raises(KeyboardInterrupt):
            searching(workspace, pruned, Stop(after))
    searching(workspace, pruned)
    assert trials(workspace) == trials(tmp_path / "whole")
