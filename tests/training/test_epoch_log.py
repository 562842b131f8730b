"""The log of an epoch: means over its batches, and the first value that is not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.training.epoch_log import EpochLog, check_weights
from benchmark.training.losses import Loss

LABELS = torch.tensor([0, 1, 1, 0])
NAN, INF = float("nan"), float("inf")


def loss(task: float, term: float) -> Loss:
    """Return a loss with two wrong predictions of four."""
    raw = {"ce": torch.tensor(task), "kd": torch.tensor(term)}
    logits = torch.eye(2)[[0, 1, 0, 1]]
    return Loss(logits, torch.tensor(task), [2 * torch.tensor(term)], raw, {"ce": 1.0, "kd": 2.0})


def test_metrics_are_means_over_the_batches_with_weights_apart() -> None:
    log = EpochLog()
    log.add(log.row(loss(1.0, 0.5), LABELS))
    log.add(log.row(loss(3.0, 1.0), LABELS))
    assert log.close(1) == {
        "loss/total": 3.5,
        "loss/ce": 2.0,
        "loss/kd": 0.75,
        "weight/ce": 1.0,
        "weight/kd": 2.0,
        "train/acc1": 50.0,
    }


def test_a_batch_is_logged_as_total_raw_values_and_share_of_hits() -> None:
    row = EpochLog().row(loss(1.0, 0.5), LABELS)
    assert row.tolist() == [2.0, 1.0, 0.5, 0.5]
    assert not row.requires_grad


def test_a_log_that_was_closed_or_cleared_starts_anew() -> None:
    log = EpochLog()
    log.add(log.row(loss(1.0, 0.5), LABELS))
    log.close(1)
    log.add(log.row(loss(7.0, 0.5), LABELS))
    log.clear()
    log.add(log.row(loss(3.0, 0.5), LABELS))
    assert log.close(2)["loss/ce"] == 3.0


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([(1.0, NAN)], "non-finite loss at epoch 5, step 1 (term kd)"),
        ([(1.0, 1.0), (INF, 1.0), (NAN, NAN)], "non-finite loss at epoch 5, step 2 (term ce)"),
        ([(1.0, 1.0), (-INF, NAN)], "non-finite loss at epoch 5, step 2 (term ce)"),
        ([(1.0, 3e38)], "non-finite loss at epoch 5, step 1 (term total)"),
    ],
)
def test_the_first_step_and_term_that_is_not_finite_is_named(
    batches: list[tuple[float, float]], message: str
) -> None:
    log = EpochLog()
    for task, term in batches:
        log.add(log.row(loss(task, term), LABELS))
    with pytest.raises(FloatingPointError) as error:
        log.close(5)
    assert str(error.value) == message


def test_a_weight_that_is_not_finite_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    check_weights(network, 5)
    running = network[1].running_var
    assert isinstance(running, torch.Tensor)
    running[0] = INF
    with pytest.raises(FloatingPointError) as error:
        check_weights(network, 5)
    assert str(error.value) == "non-finite weights after epoch 5 (1.running_var)"
