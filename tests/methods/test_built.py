"""A method that needs `build` says so when it is called without, and costs nothing afterwards."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar

import pytest
import torch
from torch import nn

import methods
from methods import (
    Method,
    Needs,
    NotBuiltError,
    Probe,
    Shapes,
    UnsupportedPairError,
    create,
)
from methods.testing import Subject
from methods.testing._cases import ALIKE, numbers, outputs_of, seeded, terms_of

BATCH = methods.Batch(torch.zeros(8, dtype=torch.int64), torch.arange(8))
BUILDERS = [name for name in methods.usable() if not methods.get(name).built]
OTHERS = [name for name in methods.usable() if name not in BUILDERS]


class Scaled(Method):
    """A method with an adapter."""

    needs: ClassVar[Needs] = Needs(logits=True)

    def build(self, probe):
        self.layer = nn.Linear(*probe.student.logits, *probe.teacher.logits)

    def forward(self, student, teacher, batch):
        own = self.layer(student.logits)
        return {"scaled": (1.0, (own - teacher.logits.detach()).pow(2).mean())}


class Larger(Scaled):
    """It changes the loss only."""

    def forward(self, student, teacher, batch):
        terms = super().forward(student, teacher, batch)
        return {"larger": (2.0, terms["scaled"][1])}


class Failing(Scaled):
    """Its adapters cannot be made."""

    def build(self, probe):
        raise RuntimeError("out of memory")


def call(method):
    return method(*outputs_of(method, ALIKE), BATCH)


def test_methods_with_adapters_or_memory_banks_are_those_that_need_to_be_built():
    assert {"crd", "reviewkd", "fitnet", "srrl", "vid"} <= set(BUILDERS)
    assert {"student", "kd", "at", "rkd", "ls", "dml", "ctkd"} <= set(OTHERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_method_that_is_not_built_names_itself_and_the_call_to_make(name):
    method = Subject.named(name).method()
    with pytest.raises(NotBuiltError) as error:
        call(method)
    assert str(error.value) == (
        f"{name}: call build(probe) before the first batch, for instance with "
        "probe = Probe.of(student, teacher, example)"
    )

    if method.pre_training:
        with pytest.raises(NotBuiltError, match=f"^{name}: call build"):
            method.pre_train(*outputs_of(method, ALIKE), None)


@pytest.mark.parametrize("name", ["kd", "ls(dkd)", "kd+at", "student"])
def test_a_method_without_adapters_needs_no_build(name):
    call(create(name))


def test_a_composition_names_the_part_that_is_not_built():
    both = create("kd+fitnet")
    with pytest.raises(NotBuiltError, match=r"^fitnet: call build\(probe\)"):
        call(both)
    both.build(ALIKE)
    assert list(call(both)) == ["kd", "fitnet"]


def test_a_head_cannot_be_deployed_before_it_is_built():
    with pytest.raises(NotBuiltError, match=r"^simkd: call build\(probe\)"):
        create("simkd").deployed()
    assert create("kd").deployed() is None


@pytest.mark.parametrize("name", ["crd", "kd", "ls(dkd)", "kd+crd"])
def test_build_returns_the_method_also_where_a_class_overrides_it(name):
    method = Subject.named(name).method()
    assert method.build(ALIKE) is method


def test_subclasses_inherit_what_needs_to_be_built():
    for kind in (Scaled, Larger):
        with pytest.raises(NotBuiltError, match=f"^{kind.__name__}: call build"):
            call(kind())
        call(kind().build(ALIKE))


def test_a_build_that_fails_leaves_the_method_unbuilt():
    method = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        method.build(ALIKE)
    assert not method.built


def test_a_pair_that_lacks_a_tap_is_refused_with_the_reason():
    lacking = Probe(Shapes((5,)), Shapes((5,)), 32, 8, {"student.embedding": "it has none"})
    for name in ("crd", "kd+crd"):
        with pytest.raises(UnsupportedPairError) as error:
            create(name).build(lacking)
        assert str(error.value).endswith("embedding of the student: it has none")
    with pytest.raises(UnsupportedPairError, match="at does not support this pair: maps of the"):
        create("at").build(lacking)


def test_a_memory_bank_needs_to_know_the_size_of_the_training_set():
    unknown = Probe(ALIKE.student, ALIKE.teacher, samples=0, batch_size=8)
    with pytest.raises(UnsupportedPairError) as error:
        create("crd").build(unknown)
    assert "the size of the training set is unknown" in str(error.value)


@pytest.mark.parametrize("name", ["crd", "reviewkd"])
def test_copies_of_a_built_method_are_built_and_give_the_same_terms(name):
    original = Subject.named(name).built(ALIKE)
    copies = [copy.deepcopy(original), pickle.loads(pickle.dumps(original))]
    expected = numbers(terms_of(original, *outputs_of(original, ALIKE)))
    for method in copies:
        assert numbers(terms_of(method, *outputs_of(method, ALIKE))) == expected


def test_the_state_holds_tensors_only_and_loads_into_another_built_method():
    original, other = (Subject.named("reviewkd").built(ALIKE, seed) for seed in (0, 1))
    state = original.state_dict()
    assert "built" not in state
    other.load_state_dict(state)
    assert numbers(call(other)) == numbers(call(original))


def test_a_compiled_method_gives_the_same_terms():
    method = Subject.named("fitnet").built(ALIKE).eval()
    compiled = torch.compile(method, backend="eager", fullgraph=True)
    assert numbers(call(compiled)) == numbers(call(method))


def test_building_again_with_the_same_seed_makes_the_same_adapters():
    method = create("fitnet")
    seeded(0)
    first = copy.deepcopy(method.build(ALIKE).state_dict())
    seeded(0)
    second = method.build(ALIKE).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)
