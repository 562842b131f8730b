"""Records of searches: what an older version wrote is read, and the same JSON is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.records.search import read_search, write_search
from benchmark.search import tune
from benchmark.search.pictures import draw_pictures
from benchmark.search.recording import _sentence, best_trial
from benchmark.study.schema import Search
from tests.search.helpers import Whole, search_folder, searched, searching

pytestmark = pytest.mark.trains

OLD = """\
{
  "best": 1,
  "budget": 4,
  "dataset": "digits",
  "experiment": "kd/old/search/pair/fitnet",
  "figures": [
    "34adc2ceefd2/history.png"
  ],
  "gained": "Best val/acc1 of 2 trials: 10 (trial 1, 7.5 as published), mean of 1 seed.",
  "key": "34adc2ceefd2",
  "maximise": true,
  "method": "fitnet",
  "objective": "val/acc1",
  "optuna_study": "old / pair / fitnet / 34adc2ceefd2",
  "pair": "pair",
  "published": {
    "recipe.lr": 0.05,
    "stage": 2,
    "weight": 100.0
  },
  "row": "fitnet",
  "sampler": "gp",
  "seeds": [
    1000
  ],
  "space": {
    "recipe.lr": "log-uniform 0.01 to 0.1",
    "weight": "log-uniform 10 to 1000"
  },
  "student": "resnet18",
  "study": "old",
  "teacher": "resnet18",
  "trials": [
    {
      "cells": {
        "1000": "cells/5f2c79f5a12a"
      },
      "compute_tmac": 0.000996306432,
      "number": 0,
      "params": {
        "recipe.lr": 0.05,
        "stage": 2,
        "weight": 100.0
      },
      "source": "published",
      "state": "COMPLETE",
      "value": 7.5,
      "values": {
        "1000": 7.5
      }
    },
    {
      "cells": {
        "1000": "cells/57f866599761"
      },
      "compute_tmac": 0.000996306432,
      "number": 1,
      "params": {
        "recipe.lr": 0.07276247168972676,
        "stage": 2,
        "weight": 287.16651521971016
      },
      "source": "search",
      "state": "COMPLETE",
      "value": 10.0,
      "values": {
        "1000": 10.0
      }
    },
    {
      "cells": {},
      "compute_tmac": 0.0,
      "number": 2,
      "params": {},
      "source": "search",
      "state": "RUNNING",
      "value": null,
      "values": {}
    }
  ]
}
"""
"""A record as version 0.1.0 wrote it."""


def test_the_record_of_an_older_version_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "34adc2ceefd2.json"
    path.write_text(OLD)
    record = read_search(path)
    assert record.trials[1].value == 10.0

    write_search(path, record)
    assert path.read_text() == OLD


def test_the_records_of_a_search_hold_every_trial_and_name_the_best_one(whole: Whole) -> None:
    workspace, outcome = whole
    for best in outcome.best:
        path = search_folder(workspace) / f"{best.key}.json"
        record = read_search(path)
        assert (
            path.read_text()
            == json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        )
        assert [trial.number for trial in record.trials] == [0, 1, 2, 3]
        assert [trial.source for trial in record.trials] == ["published", *["search"] * 3]
        assert record.best == best.number
        assert record.trials[best.number].value == best.value


def test_the_record_of_a_search_names_its_pictures(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "draw_pictures", draw_pictures)
    (best,) = searching(workspace, searched(["kd"])).best
    record = read_search(search_folder(workspace) / f"{best.key}.json")
    assert {Path(figure).stem for figure in record.figures} == {"history", "importance", "slice"}
    for figure in record.figures:
        assert (search_folder(workspace) / figure).read_bytes().startswith(b"\x89PNG")


def test_a_search_without_a_complete_trial_has_no_best(tmp_path: Path) -> None:
    path = tmp_path / "34adc2ceefd2.json"
    path.write_text(OLD)
    record = read_search(path).model_copy(update={"best": None})
    row_search: object = None
    assert best_trial(row_search, record) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("best", "sentence"),
    [
        (1, "Best val/acc1 of 2 trials: 10 (trial 1, 7.5 as published), mean of 1 seed."),
        (
            0,
            "Best val/acc1 of 2 trials: 7.5 (the published settings, 7.5 as published), "
            "mean of 1 seed.",
        ),
        (None, "2 of 4 trials, none complete."),
    ],
)
def test_the_result_of_a_search_is_told_in_a_sentence(
    best: int | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "34adc2ceefd2.json"
    path.write_text(OLD)
    trials = read_search(path).trials
    chosen = None if best is None else trials[best]
    assert _sentence(trials, chosen, Search(trials=4, seeds=[1000])) == sentence
