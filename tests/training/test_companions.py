"""The networks that stand in for a teacher: who learns, what they give, what they cost."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import pytest
import safetensors.torch
import torch
from torch import nn

import methods
from benchmark import seeds
from benchmark.data import Loaded
from benchmark.errors import InputError
from benchmark.models import create, pairing
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe
from benchmark.training import companions, member
from benchmark.training.companions import (
    COMPANIONS,
    Companion,
    Earlier,
    NoCompanion,
    Peer,
    SecondNetwork,
    Untrained,
    companion_of,
)
from benchmark.training.conditions import Conditions, Task
from benchmark.training.losses import Criterion, Step
from benchmark.training.teacher import Teacher
from methods import Needs, Output
from tests.support.networks import STUDENT, TEACHER
from tests.support.studies import run, tiny

pytestmark = pytest.mark.trains

SIZE, CLASSES, HALF = (3, 32, 32), 10, (0.5, 0.5, 0.5)


def network(name: str, seed: int = 0) -> TappedModel:
    with seeds.seeded(seed, "student"):
        return create.tapped(Network(model=name), "here", SIZE, CLASSES, HALF, HALF)


def conditions(teacher: Teacher | None = None) -> Conditions:
    data: Any = SimpleNamespace(
        device=torch.device("cpu"), size=SIZE, classes=CLASSES, mean=HALF, std=HALF
    )
    return Conditions(data, Recipe(epochs=2), 0, "last", teacher)


def task(method: str = "kd", **changes: Any) -> Task:
    content: dict[str, Any] = {"teacher": Network(model=TEACHER), **changes}
    folder = CellFolder(Path("unused"))
    return Task(folder, "cell", {}, Network(model=STUDENT), method, {}, **content)


def built(kind: str, early: bool = False) -> Companion:
    companion = COMPANIONS[kind].build(task(), conditions())
    companion.enter(early)
    return companion


def criterion(name: str) -> Criterion:
    return Criterion(methods.create(name), 0, early_epochs=2, epochs=2, autocast=nullcontext)


def step(teacher: Output | None = None, epoch: int = 0) -> Step:
    images = torch.rand(8, *SIZE, generator=torch.Generator().manual_seed(1))
    loaded = Loaded(images, torch.arange(8), torch.arange(8))
    return Step(loaded, teacher, epoch)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def unchanged(before: list[torch.Tensor], model: nn.Module) -> bool:
    pairs = zip(before, model.state_dict().values(), strict=True)
    return all(torch.equal(old, new) for old, new in pairs)


def test_every_companion_that_a_method_can_name_has_a_class() -> None:
    assert set(COMPANIONS) == set(get_args(get_type_hints(Needs)["companion"]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kd", NoCompanion),
        ("student", NoCompanion),
        ("dml", Peer),
        ("born_again", Earlier),
        ("random_teacher", Untrained),
    ],
)
def test_a_method_names_its_companion(name: str, kind: type[Companion]) -> None:
    assert companion_of(methods.create(name)) is kind


@pytest.mark.parametrize(
    ("kind", "early", "own_learns", "network_learns"),
    [
        ("", True, True, False),
        ("", False, True, False),
        ("peer", True, True, True),
        ("peer", False, True, True),
        ("earlier", True, False, True),
        ("earlier", False, True, False),
        ("untrained", True, True, False),
        ("untrained", False, True, False),
    ],
)
def test_each_stage_has_its_learners(
    kind: str, early: bool, own_learns: bool, network_learns: bool
) -> None:
    companion = built(kind, early)
    own: list[nn.Module] = [nn.Linear(1, 1), nn.Linear(1, 1)]
    learners = companion.learners(own, early)
    expected = own if own_learns else []
    if isinstance(companion, SecondNetwork):
        expected = [*expected, companion.network] if network_learns else expected
        gradients = {each.requires_grad for each in companion.network.parameters()}
        assert gradients == {network_learns}
        assert companion.network.training == network_learns
    assert learners == expected


@pytest.mark.parametrize(
    ("kind", "names"), [("", []), ("peer", ["companion"]), ("earlier", ["companion"])]
)
def test_a_checkpoint_holds_the_networks_that_learn(kind: str, names: list[str]) -> None:
    assert list(built(kind).checkpointed()) == names


def test_a_checkpoint_does_not_hold_an_untrained_network_which_the_seed_gives_again() -> None:
    first, second = built("untrained"), built("untrained")
    assert first.checkpointed() == {}
    assert isinstance(first, SecondNetwork)
    assert isinstance(second, SecondNetwork)
    assert unchanged(weights(first.network), second.network)


@pytest.mark.parametrize(
    ("kind", "macs"), [("", 0), ("peer", 3 * 10), ("earlier", 10), ("untrained", 100)]
)
def test_a_companion_counts_its_passes(kind: str, macs: int) -> None:
    assert COMPANIONS[kind].macs(student=10, teacher=100) == macs


@pytest.mark.parametrize("kind", ["peer", "earlier"])
def test_a_second_student_starts_from_weights_of_its_own(kind: str) -> None:
    companion = built(kind)
    assert isinstance(companion, SecondNetwork)
    student = network(STUDENT)
    assert companion.network.shapes == student.shapes
    other = dict(companion.network.network.named_parameters())
    for name, weight in student.network.named_parameters():
        assert weight.dim() == 1 or not torch.equal(weight, other[name])


def test_without_a_companion_the_source_is_the_studys_teacher() -> None:
    teacher = Teacher(network(TEACHER), "")
    none = built("")
    assert none.source(teacher) is teacher.model
    assert none.source(None) is None
    output = Output(torch.ones(8, CLASSES))
    assert none.output(criterion("kd"), step(output)) is output
    assert none.output(criterion("kd"), step(None)).logits.shape == (0,)


@pytest.mark.parametrize("kind", ["peer", "earlier", "untrained"])
def test_a_companion_with_a_network_takes_the_place_of_the_teacher(kind: str) -> None:
    teacher = Teacher(network(TEACHER), "")
    companion = built(kind)
    assert isinstance(companion, SecondNetwork)
    assert companion.source(teacher) is companion.network


def test_peers_learn_from_each_other_by_the_same_method_with_roles_exchanged() -> None:
    peer = built("peer")
    assert isinstance(peer, Peer)
    student = network(STUDENT).train()
    rule = criterion("dml")

    loss = peer.loss(rule, student, step())
    own = rule.output(student, step().loaded)
    other = rule.output(peer.network, step().loaded)
    mutual = rule.training(other, own, step())

    assert loss.raw["peer"].item() == pytest.approx(mutual.total.item(), rel=1e-6)
    expected = rule.training(own, other, step()).total + mutual.total
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.total.backward()
    for model in (student, peer.network):
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_earlier_network_learns_alone_and_then_gives_outputs_without_gradients() -> None:
    earlier = built("earlier", early=True)
    assert isinstance(earlier, Earlier)
    student = network(STUDENT).train()
    rule = criterion("born_again")

    early = earlier.early_loss(rule, student, step(epoch=-2))
    output = rule.output(earlier.network, step().loaded)
    assert early.total.item() == rule.alone(output, step().loaded).total.item()
    early.total.backward()
    assert all(parameter.grad is None for parameter in student.parameters())

    earlier.enter(early=False)
    before = weights(earlier.network)
    loss = earlier.loss(rule, student, step())
    loss.total.backward()
    assert not earlier.output(rule, step()).logits.requires_grad
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert unchanged(before, earlier.network)


def test_a_method_with_an_early_stage_of_its_own_uses_it() -> None:
    student = network("cifar_resnet8").train()
    teacher = network("cifar_resnet8", seed=1)
    method = methods.create("ab")
    pair = pairing.probe(student, teacher, method.tapped(), samples=8, batch_size=8)
    method.build(pair)
    rule = Criterion(method, len(pair.student.maps), 1, 2, nullcontext)
    output = Teacher(teacher, "").output(step().loaded)
    loss = built("").early_loss(rule, student, step(output, epoch=-1))
    assert loss.task is None
    assert list(loss.raw) == ["ab"]


def test_an_untrained_network_is_of_the_teachers_architecture_and_never_changes() -> None:
    untrained = built("untrained")
    assert isinstance(untrained, Untrained)
    with seeds.seeded(0, "companion"):
        fresh = create.create(Network(model=TEACHER), "here", SIZE, CLASSES)

    output = untrained.output(criterion("random_teacher"), step())

    assert not output.logits.requires_grad
    assert output.logits.dtype == torch.float32
    state = untrained.network.network.state_dict()
    for name, value in fresh.state_dict().items():
        counts = name.endswith("num_batches_tracked")
        assert counts or torch.equal(value, state[name])


def test_an_untrained_network_normalises_by_the_batch() -> None:
    untrained = built("untrained")
    assert isinstance(untrained, Untrained)
    layers = [
        module
        for module in untrained.network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]

    assert layers
    assert all(layer.training for layer in layers)

    untrained.output(criterion("random_teacher"), step())

    for layer in layers:
        assert layer.running_mean is not None
        assert layer.running_mean.eq(0).all()


def test_an_untrained_network_needs_a_teachers_architecture() -> None:
    message = "^cell: method random_teacher needs the architecture of a teacher"
    with pytest.raises(InputError, match=message):
        Untrained.build(task("random_teacher", teacher=None), conditions())


def test_an_untrained_network_has_none_of_timms_weights(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        hub = create.create(Network(model=TEACHER), "here", SIZE, CLASSES).state_dict()
    safetensors.torch.save_file(hub, tmp_path / "hub.safetensors")
    overlay = {"file": str(tmp_path / "hub.safetensors"), "num_classes": CLASSES}
    teacher = {"model": TEACHER, "pretrained": True, "kwargs": {"pretrained_cfg_overlay": overlay}}
    seen: list[Companion] = []
    finish = member.Member.finish

    def spy(self: member.Member) -> None:
        seen.append(self.parts.companion)
        finish(self)

    monkeypatch.setattr(member.Member, "finish", spy)
    pair = {"name": "pair", "teacher": teacher, "student": STUDENT}
    run(workspace, tiny(["random_teacher"], pairs=[pair]))
    (untrained,) = (each for each in seen if isinstance(each, Untrained))
    own = untrained.network.network.state_dict()
    for name, value in hub.items():
        assert value.dim() != 4 or not torch.equal(value, own[name])


def test_companions_in_a_study_stay_frozen_in_their_training(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: dict[type, set[tuple[bool, bool]]] = {}
    states: dict[type, list[list[torch.Tensor]]] = {}
    loss = companions.Companion.loss

    def spy(self: Companion, *args: Any) -> Any:
        if isinstance(self, SecondNetwork):
            learns = any(each.requires_grad for each in self.network.parameters())
            modes.setdefault(type(self), set()).add((self.network.training, learns))
            states.setdefault(type(self), []).append(weights(self.network))
        return loss(self, *args)

    monkeypatch.setattr(companions.Companion, "loss", spy)
    run(workspace, tiny(["born_again", "random_teacher"]))
    assert modes == {Earlier: {(False, False)}, Untrained: {(False, False)}}
    assert len(states[Earlier]) == len(states[Untrained]) == 6
    first, *_, last = states[Earlier]
    assert all(torch.equal(old, new) for old, new in zip(first, last, strict=True))


def test_a_companion_of_the_students_kind_is_what_a_method_is_built_for() -> None:
    student, teacher = network(STUDENT), network(TEACHER)
    sizes = {"samples": 8, "batch_size": 4}
    peer = pairing.probe(student, teacher, Needs(logits=True, companion="peer"), **sizes)  # type: ignore[arg-type]
    assert peer.teacher == peer.student
    other = pairing.probe(student, teacher, Needs(logits=True, companion="untrained"), **sizes)  # type: ignore[arg-type]
    assert other.teacher != other.student
