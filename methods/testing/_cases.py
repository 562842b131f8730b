"""Subjects, pairs and outputs of the conformance tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import methods
from methods import Batch, Classifier, Method, Output, Probe, Shapes, Terms

SAMPLES = 32
BATCH_SIZE = 8
CLASSES = 5


@dataclass(frozen=True)
class Subject:
    """A method under test.

    Attributes:
        name: Name in the identifiers of the tests.
        create: Creates the method from settings.
        settings: Settings that keep tests quick.
    """

    name: str
    create: Callable[..., Method]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_class(cls, kind: type[Method]) -> Subject:
        """Return the subject for a class, which need not be in the registry."""
        return cls(kind.__name__, kind, kind.small)

    @classmethod
    def named(cls, name: str) -> Subject:
        """Return the subject for a registered method, or a composition such as "kd+fitnet"."""
        small = {
            part: methods.get(part).small if part in methods.names() else {}
            for part in methods.parts(name)
        }
        settings = small if len(small) > 1 else small[name]
        return cls(name, functools.partial(methods.create, name), settings)

    def method(self) -> Method:
        """Create the method, without its adapters."""
        return self.create(**self.settings)

    def supported(self) -> list[Probe]:
        """Return the pairs on which the method runs."""
        method = self.method()
        return [pair for pair in PAIRS.values() if method.supports(pair) is None]

    def built(self, pair: Probe, seed: int = 0) -> Method:
        """Create the method with its adapters for a pair; skip the test if it cannot run.

        Copying a built method takes as long as building it again, so nothing is cached.
        """
        method = self.method()
        if reason := method.supports(pair):
            pytest.skip(reason)
        seeded(seed)
        method.build(pair)
        return method.train()


class Conformance:
    """Base of the conformance tests: runs each test of a subclass on all of its subjects."""

    subjects: ClassVar[Sequence[Subject]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize tests by subject, by subject with a minimum (`bounded`), and by pair."""
        subjects = type(self).subjects
        if not subjects:
            raise pytest.UsageError(f"{type(self).__name__}.subjects is empty; list the methods")

        arguments: dict[str, Mapping[str, Any]] = {
            "subject": {subject.name: subject for subject in subjects},
            "bounded": {subject.name: subject for subject in subjects if _is_bounded(subject)},
            "pair": PAIRS,
        }
        for argument, values in arguments.items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, list(values.values()), ids=list(values))


def _is_bounded(subject: Subject) -> bool:
    """Return whether a method declares a minimum. One that cannot be created fails in its tests."""
    try:
        return subject.method().minimum is not None
    except Exception:
        return True


def classifier_of(network: Shapes, seed: int) -> Classifier:
    """Draw a classifier. A teacher's classifier is the same in every batch."""
    draw = torch.Generator().manual_seed(200 + seed)
    weight = torch.randn(CLASSES, *network.embedding, generator=draw)
    return Classifier(weight, torch.randn(CLASSES, generator=draw))


def _network(*maps: tuple[int, ...], pooled: bool = True) -> Shapes:
    """Return the shapes of a network whose embedding has as many features as its last map."""
    return Shapes((CLASSES,), maps[-1][:1], maps, maps[-1] if pooled else (), classifier=True)


def _pair(student: Shapes, teacher: Shapes) -> Probe:
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=torch.Generator().manual_seed(50))
    return Probe(
        student,
        teacher,
        SAMPLES,
        BATCH_SIZE,
        labels=labels,
        classifier=classifier_of(teacher, 1),
    )


_ALIKE = _network((4, 16, 16), (6, 8, 8), (12, 4, 4))
_LARGE = _network((8, 32, 32), (16, 16, 16), (20, 8, 8))
_SMALL = _network((3, 6, 10), (4, 3, 5), (6, 2, 2))
_NARROW = _network((4, 32, 32), (6, 16, 16), (12, 8, 8))
_TOKENS = _network((10, 4, 4), (10, 4, 4), (10, 4, 4), pooled=False)

ALIKE = _pair(_ALIKE, _ALIKE)
PAIRS = {
    "alike": ALIKE,
    "small student": _pair(_SMALL, _LARGE),
    "large student": _pair(_LARGE, _SMALL),
    "like student": _pair(_ALIKE, _LARGE),
    "narrow student": _pair(_NARROW, _LARGE),
    "student of tokens": _pair(_TOKENS, _LARGE),
    "teacher of tokens": _pair(_ALIKE, _TOKENS),
}


def drawn(seed: int, network: Shapes, scale: float = 1.0) -> Output:
    """Draw all taps that a network of these shapes could provide for a batch."""
    return _drawn(seed, network, scale).map(Tensor.clone)


@functools.cache
def _drawn(seed: int, network: Shapes, scale: float) -> Output:
    draw = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...]) -> Tensor:
        values = scale * torch.randn(BATCH_SIZE, *shape, generator=draw)
        # The maps of a training are laid out like this, so that `view` fails where it would there.
        return values.to(memory_format=torch.channels_last) if len(shape) == 3 else values

    logits = normal(network.logits)
    embedding = normal(network.embedding)
    maps = tuple(normal(shape) for shape in network.maps)
    preactivations = tuple(normal(shape) for shape in network.maps)
    second = normal(network.logits)
    pooled = normal(network.pooled) if network.pooled else None
    if pooled is not None:
        embedding = pooled.mean(dim=(2, 3))
    classifier = classifier_of(network, seed % 2)
    return Output(logits, embedding, maps, preactivations, pooled, classifier, second)


def seen_of_student(method: Method, output: Output) -> Output:
    """Drop the student's taps that were not requested, except the logits."""
    return output.only(replace(method.tapped(), logits=True))


def seen_of_teacher(method: Method, output: Output) -> Output:
    """Drop the teacher's taps that were not requested."""
    return output.only(method.tapped())


def outputs_of(method: Method, pair: Probe, seed: int = 0) -> tuple[Output, Output]:
    """Draw the student's output and the teacher's as the engine passes them."""
    student = seen_of_student(method, drawn(seed, pair.student))
    teacher = seen_of_teacher(method, drawn(seed + 1, pair.teacher))
    return student, teacher


def leaves(output: Output) -> Output:
    """Copy an output so that each of its tensors can get a gradient."""
    return output.map(lambda tensor: tensor.detach().clone().requires_grad_())


def tensors_of(output: Output) -> list[Tensor]:
    """List all tensors of an output."""
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    output.map(collect)
    return tensors


def batch(seed: int = 0) -> Batch:
    """Draw the samples of a batch."""
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(100 + seed))
    index = order[:BATCH_SIZE]
    assert ALIKE.labels is not None
    return Batch(ALIKE.labels[index], index, epoch=1, epochs=3)


def seeded(seed: int) -> None:
    """Seed the CPU's random stream; `torch.manual_seed` takes longer than most methods."""
    torch.default_generator.manual_seed(seed)


def terms_of(method: Method, student: Output, teacher: Output, seed: int = 0) -> Terms:
    """Return the terms of one batch, with the random stream that the engine would set."""
    seeded(seed)
    terms: Terms = method(student, teacher, batch(seed))
    return terms


def early_terms_of(method: Method, student: Output, teacher: Output, seed: int = 0) -> Terms:
    """Return the terms of one batch of the stage before the training, if the method has one."""
    seeded(seed)
    return method.pre_train(student, teacher, batch(seed)) if method.pre_training else {}


def loss_of(*terms: Terms) -> Tensor:
    """Add up weighted terms; zero if there are none."""
    weighted = [weight * value for part in terms for weight, value in part.values()]
    return torch.stack([torch.zeros(()), *weighted]).sum()


def numbers(terms: Terms) -> dict[str, tuple[float, float]]:
    """Return weights and values as plain numbers."""
    return {name: (weight, value.item()) for name, (weight, value) in terms.items()}
