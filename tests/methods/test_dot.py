"""DOT: two momenta, against the reference's figures and against SGD."""

from __future__ import annotations

import pytest
import torch

from methods import Dot
from tests.support.reference import cases, near


def weights(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("case", cases("dot"))
def test_three_steps_are_the_references(case):
    """P has both gradients, with coefficients k_i and g_i; Q the task's, of its sum of squares."""
    p, q = (case[name].detach().clone().requires_grad_() for name in "pq")
    delta = case.params["delta"]
    dot = Dot(
        [p, q],
        case.params["lr"],
        case.params["momentum"] + delta,
        case.params["weight_decay"],
        delta,
    )
    for step in (1, 2, 3):
        dot.zero_grad()
        ((case[f"g{step}"] * p).sum() + (q**2).sum()).backward()
        dot.step([case[f"k{step}"], None])
        assert torch.cat([p, q]).tolist() == near(case.expected["parts"][f"params_step{step}"], 1.0)


@pytest.mark.parametrize("reached", ["task", "distillation"])
def test_a_parameter_that_one_gradient_reaches_moves_as_under_sgd(reached):
    ours, theirs = weights(1.0, -2.0), weights(1.0, -2.0)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    dot, sgd = Dot([ours], delta=0.05, **settings), torch.optim.SGD([theirs], **settings)
    for step in range(4):
        gradient = torch.tensor([0.5, -0.25 * step], dtype=torch.float64)
        theirs.grad, ours.grad = gradient.clone(), gradient.clone() if reached == "task" else None
        sgd.step()
        dot.step([gradient if reached == "distillation" else None])
        assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-14)


def test_without_a_difference_of_momenta_both_gradients_add_up_to_sgd():
    ours, theirs = weights(1.0, -2.0), weights(1.0, -2.0)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    dot, sgd = Dot([ours], delta=0.0, **settings), torch.optim.SGD([theirs], **settings)
    for step in range(4):
        task, distillation = (
            torch.tensor([scale, 0.1 * step], dtype=torch.float64) for scale in (0.5, -1.5)
        )
        theirs.grad, ours.grad = task + distillation, task.clone()
        sgd.step()
        dot.step([distillation])
        assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-12)


def test_gradients_are_left_as_they_were_and_a_parameter_without_any_stays():
    moved, still = weights(1.0), weights(2.0)
    gradient = torch.tensor([3.0], dtype=torch.float64)
    dot = Dot([moved, still], lr=0.1)
    for _ in range(2):
        moved.grad = gradient
        dot.step([gradient, None])
    assert (gradient.item(), still.item()) == (3.0, 2.0)
