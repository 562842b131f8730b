"""The conformance tests fail for methods that break a promise, and import little."""

from __future__ import annotations

import ast
import random
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

import methods
from methods import Method, Needs
from methods.testing import Conformance, MethodConformance, Subject
from methods.testing._cases import ALIKE, BATCH_SIZE, PAIRS

FOLDER = Path(methods.__file__).parent / "testing"
PROMISES = MethodConformance()


class Regression(Method):
    """Squared difference of logits: keeps every promise."""

    needs: ClassVar[Needs] = Needs(logits=True)
    minimum = 0.0

    def __init__(self, ce: float = 1.0):
        super().__init__()
        self.ce = ce

    def forward(self, student, teacher, batch):
        return {"regression": (1.0, self.distance(student.logits, teacher.logits.detach()))}

    def distance(self, student, teacher):
        return (student - teacher).pow(2).mean()


class Leaking(Regression):
    def forward(self, student, teacher, batch):
        return {"regression": (1.0, self.distance(student.logits, teacher.logits))}


class Peeping(Regression):
    def forward(self, student, teacher, batch):
        terms = super().forward(student, teacher, batch)
        if student.maps:
            terms["maps"] = (1.0, student.maps[0].mean())
        return terms


class Greedy(Regression):
    needs = Needs(logits=True, embedding=True)


class Gambling(Regression):
    def distance(self, student, teacher):
        return random.random() * super().distance(student, teacher)


class Forgetful(Regression):
    def __init__(self, ce: float = 1.0):
        super().__init__()
        self.calls = 0

    def distance(self, student, teacher):
        self.calls += 1
        return self.calls * super().distance(student, teacher)


class Destructive(Regression):
    def forward(self, student, teacher, batch):
        teacher.logits.mul_(2.0)
        return super().forward(student, teacher, batch)


class Double(Regression):
    def distance(self, student, teacher):
        return super().distance(student.double(), teacher.double())


class Unbounded(Regression):
    def distance(self, student, teacher):
        return -super().distance(student, teacher)


class Idle(Regression):
    def __init__(self, ce: float = 1.0):
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Reversed(Regression):
    """Its adapter learns to raise the loss, without saying so."""

    minimum = None  # type: ignore[assignment]

    def __init__(self, ce: float = 1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def distance(self, student, teacher):
        scale = 2 * self.scale.detach() - self.scale
        return super().distance(student * scale, teacher)


class Picky(Regression):
    def supports(self, probe):
        return "never"


class Ungrateful(Regression):
    """Fails without an embedding instead of giving a reason."""

    needs = Needs(logits=True, embedding=True)

    def supports(self, probe):
        return None

    def forward(self, student, teacher, batch):
        terms = super().forward(student, teacher, batch)
        return terms | {"embedding": (1.0, student.embedding.pow(2).mean())}


class Silent(Regression):
    def forward(self, student, teacher, batch):
        return {}


class Warming(Regression):
    def forward(self, student, teacher, batch):
        terms = super().forward(student, teacher, batch)
        return {name: (batch.epoch * weight, value) for name, (weight, value) in terms.items()}


class Reading(Regression):
    def distance(self, student, teacher):
        return super().distance(student, teacher) * student.max().item() ** 0


class Choosing(Regression):
    def distance(self, student, teacher):
        return super().distance(student, teacher) + 0 * teacher[teacher > 0].sum()


class Headless(Regression):
    def deployed(self):
        return nn.Identity()


def on_a_pair(promise):
    return lambda subject: promise(subject, ALIKE)


def on_taps(subject):
    for tap in methods.TAPS:
        if tap in subject.method().tapped().taps:
            PROMISES.test_a_tap_that_is_asked_for_makes_a_difference(subject, tap)


def without_embedding(subject):
    PROMISES.test_a_method_runs_without_a_tap_or_says_in_one_line_why_it_cannot(
        subject, "student", "embedding"
    )


def at_a_distance(subject):
    PROMISES.test_no_output_is_better_than_the_declared_minimum(subject, 1.0)


TERMS = on_a_pair(PROMISES.test_terms_are_finite_scalars_in_float32_with_plain_weights)
GRADIENTS = on_a_pair(PROMISES.test_gradients_reach_all_that_learns_and_nothing_of_the_teacher)
UNASKED = on_a_pair(PROMISES.test_a_tap_that_was_not_asked_for_changes_no_bit)
SEEDS = on_a_pair(PROMISES.test_the_same_seed_gives_the_same_bits_whatever_other_streams_do)
RESUMES = on_a_pair(PROMISES.test_a_method_resumes_from_its_saved_state_as_if_it_had_never_stopped)
SHARED = on_a_pair(PROMISES.test_the_outputs_that_a_cohort_shares_stay_as_they_were)
HEAD = on_a_pair(PROMISES.test_a_deployed_head_makes_logits_of_the_students_output_alone)
EPOCH = PROMISES.test_the_epoch_changes_the_terms_only_where_the_method_declares_it
WAITS = PROMISES.test_a_step_waits_for_the_device_only_where_the_method_declares_it
ADAPTERS = PROMISES.test_adapters_learn_to_lower_the_loss_or_to_raise_it_if_they_are_adversarial

BROKEN = [
    (Leaking, GRADIENTS),
    (Idle, GRADIENTS),
    (Peeping, UNASKED),
    (Greedy, on_taps),
    (Gambling, SEEDS),
    (Forgetful, RESUMES),
    (Destructive, SHARED),
    (Double, TERMS),
    (Silent, TERMS),
    (Unbounded, at_a_distance),
    (Reversed, ADAPTERS),
    (Picky, PROMISES.test_a_method_runs_on_at_least_one_pair),
    (Ungrateful, without_embedding),
    (Headless, HEAD),
    (Warming, EPOCH),
    (Reading, WAITS),
    (Choosing, WAITS),
]


class TestRegression(MethodConformance):
    subjects = (Subject.of_class(Regression),)


@pytest.mark.parametrize(("kind", "promise"), BROKEN, ids=[kind.__name__ for kind, _ in BROKEN])
def test_a_method_that_breaks_a_promise_fails_its_test(kind, promise):
    with pytest.raises((AssertionError, AttributeError)):
        promise(Subject.of_class(kind))


def test_adapters_that_are_declared_adversarial_must_raise_the_loss():
    class Declared(Reversed):
        adversarial = True

    ADAPTERS(Subject.of_class(Declared))


def test_a_method_that_declares_that_it_changes_may_change_with_the_epoch():
    class Declared(Warming):
        changes_by_epoch = True

    EPOCH(Subject.of_class(Declared))


def test_a_method_that_declares_that_it_cannot_be_captured_may_wait():
    class Declared(Reading):
        capturable = False

    WAITS(Subject.of_class(Declared))


def test_a_class_of_tests_without_subjects_is_refused_instead_of_skipped():
    class Empty(Conformance):
        pass

    with pytest.raises(pytest.UsageError, match=r"Empty\.subjects is empty; list the methods"):
        Empty().pytest_generate_tests(None)


def test_a_subject_of_the_registry_has_the_small_settings_of_its_parts():
    assert Subject.named("crd").settings == methods.get("crd").small
    assert Subject.named("kd+crd").settings == {"kd": {}, "crd": methods.get("crd").small}
    assert Subject.named("ls(dkd)").method().settings["temperature"] == 2.0


def test_the_pairs_cover_equal_and_unequal_networks():
    assert len(PAIRS) == 7
    assert ALIKE.student == ALIKE.teacher
    assert all(pair.batch_size == BATCH_SIZE for pair in PAIRS.values())


def test_the_suite_is_no_method_and_imports_pytest_torch_and_methods_alone():
    assert "testing" not in methods.names()
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module]
            else:
                continue
            for module in modules:
                package = module.partition(".")[0]
                allowed = package in ("pytest", "torch", "methods")
                assert allowed or package in sys.stdlib_module_names, file
