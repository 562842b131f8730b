"""Tuned settings are compared on fresh seeds, and refused where they do not fit the study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import methods
from benchmark.errors import InputError
from benchmark.search import tuned
from benchmark.study import study
from tests.search.helpers import LOCAL, ROWS, Whole, searched
from tests.support.commandline import kdbench
from tests.support.studies import folders, plan, write_study

pytestmark = pytest.mark.trains


def test_the_comparison_runs_published_and_tuned_rows_side_by_side_on_fresh_seeds(
    tmp_path: Path,
) -> None:
    workspace = tmp_path / "runs"
    content = searched(["student", "kd"], search={"lr": [0.01, 0.2], "trials": 3})
    file = write_study(tmp_path / "study.yaml", content)
    done = kdbench("--workspace", workspace, "tune", file, *LOCAL)
    assert done.code == 0, done.err
    assert "times as much" in done.out

    run_tuned = ("--workspace", workspace, "run", file, "--settings", "tuned", *LOCAL)
    first = kdbench(*run_tuned)
    assert first.code == 0, first.err
    assert plan(workspace)["methods"] == ["student", "kd", "student (tuned)", "kd (tuned)"]

    searches = tuned.read(tuned.settings_file(file)).searches
    (kd,) = (entry for entry in searches if entry.row == "kd")
    config = yaml.safe_load((folders(workspace)["kd (tuned)/0"] / "config.json").read_text())
    assert config["method"]["settings"] == {**methods.create("kd").settings, **kd.found.settings}
    assert config["recipe"]["optimizer"]["lr"] == kd.found.lr
    assert "0 cells trained, 4 already done" in kdbench(*run_tuned).err


def test_a_tuned_row_with_the_published_settings_is_the_published_cell(tmp_path: Path) -> None:
    workspace = tmp_path / "runs"
    file = write_study(tmp_path / "study.yaml", searched(["kd"], search={"trials": 1}))
    kdbench("--workspace", workspace, "tune", file, *LOCAL)
    done = kdbench("--workspace", workspace, "run", file, "--settings", "tuned", *LOCAL)
    assert done.code == 0, done.err
    cells = folders(workspace)
    assert cells["kd/0"] == cells["kd (tuned)/0"]


def test_settings_of_unequal_budgets_or_of_another_study_are_refused(
    whole: Whole, tmp_path: Path
) -> None:
    loaded = study.load(write_study(tmp_path / "study.yaml", searched()), methods)
    path = tuned.settings_file(tmp_path / "study.yaml")
    first, *rest = whole[1].best

    tuned.write(path, loaded, [replace(first, trials=5), *rest])
    message = r"rows had 4 and 5 trials, but must have equal budgets"
    with pytest.raises(InputError, match=message):
        tuned.with_tuned_rows(loaded, path)

    tuned.write(path, loaded.model_copy(update={"name": "other"}), whole[1].best)
    with pytest.raises(InputError, match=r"study: is 'other', not 'tiny'"):
        tuned.with_tuned_rows(loaded, path)

    tuned.write(path, loaded, [replace(first, row="gone"), *rest])
    with pytest.raises(InputError, match=r"'gone', which is not a row of the study"):
        tuned.with_tuned_rows(loaded, path)
    with pytest.raises(InputError, match=r"no such file; run `kdbench tune` to create it"):
        tuned.with_tuned_rows(loaded, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"seeds": [100]},
            r"seeds: the settings were chosen with seed 100, which the study also uses; choose ",
        ),
        (
            {
                "methods": [
                    *ROWS,
                    {"name": "kd (tuned)", "method": "kd", "settings": {"temperature": 2}},
                ]
            },
            r"the study already has a row 'kd \(tuned\)'; rename that row",
        ),
        (
            {"pairs": "more"},
            r"contains no settings for the pair 'second'; run `kdbench tune` again",
        ),
        (
            {"pairs": "other"},
            r"contains settings for 'pair', which is not a pair of the study; "
            r"run `kdbench tune` again",
        ),
        (
            {"found": {"temperature": -1.0}},
            r"searches\[0\].found.settings: kd: temperature is -1.0; it must be > 0",
        ),
        ({"found": {"tempo": 1.0}}, r"searches\[0\].found.settings: kd: no setting 'tempo'; "),
    ],
)
def test_settings_that_no_longer_fit_the_study_are_refused(
    change: dict[str, Any], message: str, whole: Whole, tmp_path: Path
) -> None:
    changed = {key: change[key] for key in ("seeds", "methods") if key in change}
    content = {**searched(), **changed}  # type: ignore[misc]
    second = {**content["pairs"][0], "name": "second"}
    if "pairs" in change:
        content["pairs"] = [second] if change["pairs"] == "other" else [*content["pairs"], second]

    file = tmp_path / "study.yaml"
    path = tuned.settings_file(file)
    first, *rest = whole[1].best
    found = change.get("found", first.settings.settings)
    settings = first.settings.model_copy(update={"settings": found})
    loaded = study.load(write_study(file, searched()), methods)
    tuned.write(path, loaded, [replace(first, settings=settings), *rest])

    del content["search"]
    with pytest.raises(InputError, match=message) as error:
        tuned.with_tuned_rows(study.load(write_study(file, content), methods), path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: tiny\n", "objective: Field required; run `kdbench tune` again"),
        ("study: 3\n", "study: Input should be a valid string; run `kdbench tune` again"),
    ],
)
def test_a_file_of_settings_with_wrong_content_is_one_line_with_file_and_key(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        tuned.read(path)
    assert str(error.value) == f"{path}: {message}"
