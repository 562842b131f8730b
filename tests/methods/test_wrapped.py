"""A wrapped method keeps what the method itself declares."""

from __future__ import annotations

import pytest

import methods
from methods import Batch, Method, Needs, Output, SettingError, Terms, create
from methods.ls import standardised
from methods.testing._cases import ALIKE, batch, outputs_of


def _wrappable() -> list[str]:
    """Return the methods that `ls` takes."""
    names = []
    for name in methods.names():
        try:
            create(f"ls({name})")
        except (SettingError, methods.UnknownMethodError):
            continue
        names.append(name)
    return names


WRAPPABLE = _wrappable()


class Staged(Method):
    """A method of logits with a stage before the training."""

    needs = Needs(logits=True)

    def __init__(self, ce: float = 1.0):
        super().__init__()
        self.pre_training = 0.5

    def forward(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        return {"sum": (1.0, student.logits.sum())}

    def pre_train(self, student: Output, teacher: Output, batch: Batch) -> Terms:
        return {"difference": (1.0, (student.logits - teacher.logits).abs().mean())}


def test_logits_methods_of_every_minimum_can_be_wrapped() -> None:
    minima = {create(name).minimum for name in WRAPPABLE}
    assert minima == {0.0, None}
    assert {"kd", "dkd", "ctkd", "nkd", "wsld", "hard_labels"} <= set(WRAPPABLE)


@pytest.mark.parametrize("name", WRAPPABLE)
def test_a_wrapped_method_has_the_minimum_of_the_method_itself(name: str) -> None:
    wrapped, own = create(f"ls({name})"), create(name)
    assert wrapped.minimum == own.minimum
    assert wrapped.adversarial == own.adversarial
    assert wrapped.has_terms == own.has_terms


def test_where_the_networks_agree_a_wrapped_cross_entropy_is_not_at_0() -> None:
    method = create("ls(nkd)")
    assert method.minimum is None
    _, teacher = outputs_of(method, ALIKE)
    for _, value in method(teacher, teacher, batch()).values():
        assert value.item() > 0.1


def test_the_stage_before_the_training_of_a_wrapped_method_has_standardised_logits() -> None:
    with methods.scoped_registrations():
        methods.register("staged")(Staged)
        method = create("ls(staged)")
    assert method.pre_training == 0.5

    student, teacher = outputs_of(method, ALIKE)
    _, value = method.pre_train(student, teacher, batch())["difference"]
    expected = (standardised(student.logits) - standardised(teacher.logits)).abs().mean()
    assert value.item() == pytest.approx(expected.item())
    assert value.item() != pytest.approx((student.logits - teacher.logits).abs().mean().item())
