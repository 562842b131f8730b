"""The loss of a batch: what is weighted, what is logged, and what a method is given."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import methods
from benchmark.data import Loaded
from benchmark.models import create
from benchmark.study.schema import Network
from benchmark.training import losses
from benchmark.training.losses import Criterion, Loss, Step
from methods import Batch, Method, Needs, Output, Terms

CLASSES = 10


class Recording(Method):
    """Has two terms, and keeps what it is called with."""

    needs = Needs(logits=True, maps=True)

    def __init__(self, needs: Needs | None = None):
        super().__init__()
        self.ce = 0.25
        self.own_needs = needs or self.needs
        self.calls: list[tuple[Output, Output, Batch]] = []

    def tapped(self) -> Needs:
        return self.own_needs

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        self.calls.append((student, teacher, batch))
        distance = (student.logits - teacher.logits).square().mean()
        return {"distance": (2.0, distance), "size": (0.5, student.logits.abs().mean())}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        self.calls.append((student, teacher, batch))
        return {"early": (3.0, (student.logits - teacher.logits).abs().mean())}


def criterion(method: Method, depth: int = 1) -> Criterion:
    return Criterion(method, depth, early_epochs=2, epochs=5, autocast=nullcontext)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch(**changes: Any) -> Loaded:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Loaded(images, torch.tensor([1, 0, 9, 3]), torch.tensor([7, 8, 2, 0]), **changes)


def outputs() -> tuple[Output, Output]:
    """Return outputs of a learner and of its source."""
    maps = (random(4, 2, 8, 8), random(4, 4, 4, 4))
    learner = Output(random(4, CLASSES, seed=2))
    source = Output(random(4, CLASSES, seed=3), embedding=random(4, 6), maps=maps)
    return learner, source


def test_the_total_is_the_task_and_then_the_terms_in_their_order() -> None:
    task, *parts = torch.tensor([0.1, 1e8, -1e8, 0.3]).unbind()
    loss = Loss(torch.zeros(1), task, parts, {}, {})
    assert loss.total.item() == (((task + parts[0]) + parts[1]) + parts[2]).item()
    assert Loss(torch.zeros(1), None, parts, {}, {}).total.item() == parts[2].item()
    assert Loss(torch.zeros(1), task, [], {}, {}).total.item() == task.item()


def test_a_training_step_weights_cross_entropy_and_terms_and_logs_them_raw() -> None:
    method = Recording()
    learner, source = outputs()
    loaded = batch()

    loss = criterion(method).training(learner, source, Step(loaded, None, epoch=3))

    cross_entropy = F.cross_entropy(learner.logits, loaded.labels)
    distance = (learner.logits - source.logits).square().mean()
    size = learner.logits.abs().mean()
    assert loss.logits is learner.logits
    assert loss.task is not None
    assert torch.equal(loss.task, 0.25 * cross_entropy)
    assert [part.item() for part in loss.parts] == [
        (2.0 * distance).item(),
        (0.5 * size).item(),
    ]
    assert list(loss.raw) == ["ce", "distance", "size"]
    assert [value.item() for value in loss.raw.values()] == [
        cross_entropy.item(),
        distance.item(),
        size.item(),
    ]
    assert loss.weights == {"ce": 0.25, "distance": 2.0, "size": 0.5}


def test_a_method_is_told_the_epoch_and_given_what_it_needs_and_nothing_else() -> None:
    method = Recording()
    learner, source = outputs()
    loaded = batch()

    criterion(method).training(learner, source, Step(loaded, None, epoch=3))

    ((student, teacher, told),) = method.calls
    assert student is learner
    assert teacher.embedding is None
    assert [tuple(each.shape) for each in teacher.maps] == [(4, 4, 4, 4)]
    assert (told.epoch, told.epochs) == (3, 5)
    assert told.labels is loaded.labels
    assert told.index is loaded.index


def test_an_early_step_has_the_methods_own_terms_alone_and_its_own_epochs() -> None:
    method = Recording()
    learner, source = outputs()

    loss = criterion(method).early(learner, source, Step(batch(), None, epoch=-1))

    distance = (learner.logits - source.logits).abs().mean()
    assert loss.task is None
    assert [part.item() for part in loss.parts] == [(3.0 * distance).item()]
    assert {name: value.item() for name, value in loss.raw.items()} == {"early": distance.item()}
    assert loss.weights == {"early": 3.0}
    ((_, _, told),) = method.calls
    assert (told.epoch, told.epochs) == (1, 2)


def test_a_mixed_batch_is_learned_by_its_mixed_targets() -> None:
    targets = random(4, CLASSES, seed=5).softmax(dim=1)
    logits = random(4, CLASSES)
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    value = losses.cross_entropy(logits, batch(targets=targets))
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_network_that_learns_alone_has_cross_entropy_as_its_loss() -> None:
    learner, _ = outputs()
    loss = criterion(methods.create("student")).alone(learner, batch())
    expected = F.cross_entropy(learner.logits, batch().labels)
    assert torch.equal(loss.total, expected)
    assert loss.parts == []
    assert loss.weights == {"ce": 1.0}


def test_the_loss_of_two_networks_is_the_sum_and_the_second_is_logged_as_one_value() -> None:
    method = Recording()
    learner, source = outputs()
    step = Step(batch(), None, epoch=0)
    own = criterion(method).training(learner, source, step)
    other = criterion(method).training(source, learner, step)

    joined = own.joined(other, "peer")

    assert joined.logits is learner.logits
    assert joined.total.item() == pytest.approx((own.total + other.total).item(), rel=1e-6)
    assert list(joined.raw) == ["ce", "distance", "size", "peer"]
    assert joined.raw["peer"].item() == other.total.item()
    assert joined.weights == {**own.weights, "peer": 1.0}


def test_a_network_gives_the_taps_that_are_needed_in_float32_from_the_deepest_stage() -> None:
    torch.manual_seed(0)
    network = create.tapped(
        Network(model="cifar_resnet8"), "here", (3, 32, 32), CLASSES, (0.5,) * 3, (0.5,) * 3
    ).eval()
    method = Recording(Needs(logits=True, embedding=True, maps=True))

    def half() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    halved = Criterion(method, 2, early_epochs=0, epochs=1, autocast=half)
    output = halved.output(network, batch())

    stages = network.shapes.maps[-2:]
    assert [tuple(each.shape[1:]) for each in output.maps] == [tuple(shape) for shape in stages]
    assert output.embedding is not None
    assert output.pooled is None
    assert output.second is None
    dtypes = {each.dtype for each in (output.logits, output.embedding, *output.maps)}
    assert dtypes == {torch.float32}
    with half():
        exact = network(batch().inputs, Needs()).logits
    assert torch.equal(output.logits, exact.float())


def test_a_network_sees_the_second_view_only_where_the_method_needs_it() -> None:
    torch.manual_seed(0)
    network = create.tapped(
        Network(model="cifar_resnet8"), "here", (3, 32, 32), CLASSES, (0.5,) * 3, (0.5,) * 3
    ).eval()
    loaded = batch(second=torch.zeros(4, 3, 32, 32))
    single = criterion(Recording(Needs(logits=True))).output(network, loaded)
    double = criterion(Recording(Needs(logits=True, views=True))).output(network, loaded)
    assert single.second is None
    assert double.second is not None
    expected = network(loaded.second, Needs()).logits
    assert torch.equal(double.second, expected)


def test_the_students_taps_include_neither_the_teachers_logits_nor_a_companion() -> None:
    needs = Needs(logits=True, maps=True, views=True, companion="peer")
    assert losses.student_needs(needs) == Needs(maps=True)
