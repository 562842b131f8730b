"""A trial step tells what batches of one sample, and a classifier of zeros, do to a method."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import methods
from methods import Batch, Method, Needs, Output, Probe, Terms, UnsupportedPairError, create
from methods.testing import Subject
from methods.testing._cases import ALIKE, PAIRS, _network, _pair, batch, drawn, seen_of_student

SINGLE = _pair(
    _network((4, 8, 8), (6, 4, 4), (12, 1, 1)), _network((8, 8, 8), (16, 4, 4), (20, 1, 1))
)
"""A pair whose deepest maps have one position."""

OBSTACLE = (
    "its BatchNorm layers cannot be trained on batches of 1 sample; use a batch size of 2 or more"
)
ZERO = replace(ALIKE, zero_classifier=True)


class Normalised(Method):
    """A method from elsewhere with BatchNorm on the embedding."""

    needs = Needs(embedding=True)

    def build(self, probe: Probe) -> None:
        self.norm = nn.BatchNorm1d(probe.student.embedding[0])

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        return {"normalised": (1.0, self.norm(student.embedding).square().mean())}


def first_of(output: Output) -> Output:
    """Return the output of the first sample."""
    return replace(output.map(lambda tensor: tensor[:1]), classifier=output.classifier)


def fails_on_one_sample(name: str, pair: Probe) -> bool:
    """Return whether a step of a built method on one sample raises PyTorch's error."""
    method = Subject.named(name).method()
    method.build(replace(pair, batch_size=2))
    student, teacher = (
        first_of(seen_of_student(method, drawn(seed, network)))
        for seed, network in enumerate((pair.student, pair.teacher))
    )
    one = batch()
    one = replace(one, labels=one.labels[:1], index=one.index[:1])
    try:
        method.train()(student, teacher, one)
        if method.pre_training:
            method.pre_train(student, teacher, one)
    except ValueError as error:
        return "more than 1 value per channel" in str(error)
    except RuntimeError:
        return False  # semckd's adapters are as wide as the batch
    return False


@pytest.mark.parametrize("name", ["reviewkd", "srd"])
@pytest.mark.parametrize("pair", PAIRS)
def test_methods_that_normalise_vectors_need_two_samples(name: str, pair: str) -> None:
    method = create(name)
    assert method.supports(replace(PAIRS[pair], batch_size=1)) == OBSTACLE
    assert method.supports(replace(PAIRS[pair], batch_size=2)) is None


@pytest.mark.broad
@pytest.mark.parametrize("name", methods.usable())
@pytest.mark.parametrize("pair", [*PAIRS.values(), SINGLE], ids=[*PAIRS, "single position"])
def test_a_method_is_refused_on_batches_of_one_sample_exactly_where_it_would_fail(
    name: str, pair: Probe
) -> None:
    method = Subject.named(name).method()
    if method.supports(pair) is not None:
        pytest.skip("it does not run on the pair")

    reason = method.supports(replace(pair, batch_size=1))
    if name == "semckd":
        assert reason in (None, OBSTACLE)
        return
    assert reason == (OBSTACLE if fails_on_one_sample(name, pair) else None)


@pytest.mark.parametrize(
    ("name", "reason"), [("kd+srd", f"srd: {OBSTACLE}"), ("simkd", OBSTACLE), ("ls(kd)", None)]
)
def test_compositions_name_the_part_and_methods_without_batch_norm_run(
    name: str, reason: str | None
) -> None:
    assert create(name).supports(replace(SINGLE, batch_size=1)) == reason


def test_a_method_from_elsewhere_is_refused_in_one_line_too() -> None:
    with pytest.raises(UnsupportedPairError) as error:
        Normalised().build(replace(ALIKE, batch_size=1))
    assert str(error.value) == f"Normalised does not support this pair: {OBSTACLE}"
    Normalised().build(ALIKE)


@pytest.mark.parametrize("name", ["ls", "ls(dkd)", "ls(ctkd)", "dist", "catkd", "kd+dist"])
def test_a_classifier_that_starts_at_zero_is_warned_of(name: str) -> None:
    warning = create(name).caution(ZERO)
    assert warning is not None
    assert "the student's classifier starts at zero, where gradients are" in warning
    assert warning.startswith("dist: ") == (name == "kd+dist")
    assert create(name).caution(ALIKE) is None


@pytest.mark.broad
@pytest.mark.parametrize("name", methods.usable())
def test_only_methods_that_divide_by_the_spread_of_logits_or_maps_are_warned_of(name: str) -> None:
    warned = Subject.named(name).method().caution(ZERO) is not None
    assert warned == (name in {"ls", "dist", "catkd"})


def test_the_warning_has_the_factor() -> None:
    warning = create("catkd").caution(ZERO)
    assert warning is not None
    factor = float(warning.split("gradients are ")[1].split()[0])
    assert 1e11 < factor < 1e14


def test_a_trial_leaves_the_random_state_and_the_method_alone() -> None:
    method = create("srd")
    before = torch.get_rng_state()
    method.supports(replace(ALIKE, batch_size=1))
    method.caution(ZERO)
    assert torch.equal(torch.get_rng_state(), before)
    assert not method.built
    assert list(method.parameters()) == []


class Headed(nn.Module):
    """A network that returns an output with a classifier of its own."""

    def __init__(self, zero: bool):
        super().__init__()
        self.head = nn.Linear(3, 5)
        if zero:
            nn.init.zeros_(self.head.weight)

    def forward(self, inputs: torch.Tensor) -> Output:
        head = methods.Classifier(self.head.weight, self.head.bias)
        return Output(self.head(inputs), inputs, classifier=head)


@pytest.mark.parametrize("zero", [False, True])
def test_a_probe_tells_a_classifier_that_starts_at_zero(zero: bool) -> None:
    assert Probe.of(Headed(zero), Headed(False), torch.randn(4, 3)).zero_classifier == zero
