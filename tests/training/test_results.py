"""The results of a cell: of the right epoch, tested after its training, under known keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchmark import data
from benchmark.measures import BY_KEY
from benchmark.records.done import read_done
from tests.support.records import read_journal
from tests.support.studies import (
    Interrupt,
    bits,
    folders,
    metrics,
    records,
    run,
    tiny,
)
from tests.training.rows import KINDS, row

pytestmark = pytest.mark.trains

COMPUTED_LATER = {"val/best_minus_last"}
"""Measures that tables derive from the journal."""


def test_every_result_has_a_key_of_the_list_of_measures_and_every_measure_is_logged(
    kinds: Path,
) -> None:
    for name, folder in folders(kinds).items():
        (final,) = metrics(folder, "final")
        assert set(final) == set(BY_KEY) - COMPUTED_LATER, name
        assert read_done(folder / "done.json").metrics == final


def test_a_cell_that_nobody_teaches_has_no_agreement(workspace: Path) -> None:
    run(workspace, tiny(["student"]))
    (folder,) = (workspace / "tiny" / "teachers").iterdir()
    (final,) = metrics(folder, "final")
    assert set(final) == set(BY_KEY) - COMPUTED_LATER - {"test/agreement"}


def test_the_journal_holds_raw_terms_and_weights_apart(workspace: Path) -> None:
    run(workspace, tiny(["kd+at"]))
    epoch, *_ = metrics(folders(workspace)["kd+at/0"])
    weights = {name: value for name, value in epoch.items() if name.startswith("weight/")}
    assert weights == {"weight/ce": 1.0, "weight/kd": 0.9, "weight/at": 1000.0}
    total = sum(weights[f"weight/{term}"] * epoch[f"loss/{term}"] for term in ("ce", "kd", "at"))
    assert epoch["loss/total"] == pytest.approx(total, rel=1e-5)
    assert {"train/acc1", "val/acc1", "val/loss", "lr"} <= epoch.keys()


def test_the_final_record_counts_what_the_training_cost(kinds: Path) -> None:
    alone = bits(folders(kinds)["student/0"])["final"]
    taught = bits(folders(kinds)["kd/0"])["final"]
    samples = 2 * 48
    expected = samples * 3 * alone["cost/macs"] / 1e12
    assert alone["cost/compute_tmac"] == pytest.approx(expected)
    assert taught["cost/compute_tmac"] > alone["cost/compute_tmac"]
    assert alone["cost/params"] == taught["cost/params"]


def test_test_images_are_opened_only_by_cells_that_are_trained_and_change_no_weight(
    kinds: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bool] = []
    unseal = data.Data.test

    def poisoned(self: data.Data, evidence: Any) -> data.Resident:
        journal = read_journal(evidence.folder / "journal.jsonl")
        opened.append(any(record["kind"] == "trained" for record in journal))
        images = unseal(self, evidence)
        assert isinstance(images, data.Resident)
        return data.Resident(images.images, torch.zeros_like(images.labels))

    monkeypatch.setattr(data.Data, "test", poisoned)
    run(workspace, tiny([row(name) for name in KINDS], select="last"))
    assert opened
    assert all(opened)
    for name, folder in folders(workspace).items():
        cell = bits(folder)
        expected = bits(folders(kinds)[name])
        assert (cell["sha256"], cell["epochs"]) == (expected["sha256"], expected["epochs"])
        assert cell["final"] != expected["final"]


def test_best_val_evaluates_the_first_epoch_with_the_highest_validation_accuracy(
    workspace: Path, tmp_path: Path
) -> None:
    recipe = {"epochs": 4, "optimizer": {"lr": 0.2}}
    content = tiny(["student"], recipe=recipe, select="best_val", seeds=[0, 1, 2])
    run(workspace, content)
    best = set()
    for folder in folders(workspace).values():
        accuracies = [epoch["val/acc1"] for epoch in metrics(folder)]
        (trained,) = records(folder, "trained")
        assert trained["epoch"] == accuracies.index(max(accuracies))
        assert read_done(folder / "done.json").epoch == trained["epoch"]
        best.add(trained["epoch"])
    assert best != {3}, "this recipe was chosen so that some seed's best epoch is not the last"

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "again", content, Interrupt(after=8))
    run(tmp_path / "again", content)
    for name, folder in folders(tmp_path / "again").items():
        assert bits(folder) == bits(folders(workspace)[name])


def test_a_deployed_head_is_what_is_tested_counted_and_stored(kinds: Path) -> None:
    headed = folders(kinds)["simkd/0"]
    plain = folders(kinds)["student/0"]
    tensors = safetensors.torch.load_file(headed / "student.safetensors")
    own = safetensors.torch.load_file(plain / "student.safetensors")
    head = {name for name in tensors if name.startswith("deployed.")}
    assert head
    assert set(tensors) - head == set(own)

    costs = json.loads((headed / "done.json").read_text())["metrics"]
    plain_costs = json.loads((plain / "done.json").read_text())["metrics"]
    extra = sum(tensors[name].numel() for name in head)
    assert costs["cost/params"] == plain_costs["cost/params"] + extra
    assert costs["cost/macs"] > plain_costs["cost/macs"]


def test_a_deployed_head_is_chosen_with_the_best_validation_epoch(workspace: Path) -> None:
    run(workspace, tiny(["simkd"], select="best_val", recipe={"epochs": 4}))
    folder = folders(workspace)["simkd/0"]
    accuracies = [epoch["val/acc1"] for epoch in metrics(folder)]
    (trained,) = records(folder, "trained")
    assert trained["epoch"] == accuracies.index(max(accuracies))
