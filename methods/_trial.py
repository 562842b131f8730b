"""A step of a method on made-up outputs, which shows what a pair would do to it.

Two things can be told of any method in this way, without a declaration of its own: whether its
BatchNorm layers can be trained on batches of one sample, and whether a student whose classifier
starts at zero gets gradients that derail it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import torch
from torch import Tensor, nn

from methods._contract import Batch, Method, Probe, Terms
from methods._taps import Classifier, Output, Shapes

STEEP = 1e4
"""Factor by which the gradients of a zero classifier must exceed usual ones to be reported."""

SAMPLES = 64
"""Size of the made-up training set, which keeps memory banks small."""

_running: ContextVar[bool] = ContextVar("running", default=False)


def single_sample_obstacle(method: Method, probe: Probe) -> str | None:
    """Return why a method cannot learn from batches of one sample; None if it can.

    Args:
        method: The method, before `build`.
        probe: The pair. Nothing is tried unless its batches have one sample.
    """
    if probe.batch_size != 1 or _running.get() or "built" in vars(method):
        return None

    try:
        with _trial():
            _gradient(method, probe, _drawn(probe.student, 1, 0))
    except ValueError as error:
        if str(error).startswith("Expected more than 1 value per channel"):
            return (
                "its BatchNorm layers cannot be trained on batches of 1 sample; use a batch size "
                "of 2 or more"
            )
    except Exception:  # a trial that fails in another way says nothing about the batch size
        return None
    return None


def steep_start(method: Method, probe: Probe) -> str | None:
    """Return a warning if a classifier that starts at zero derails the student; None if not.

    Args:
        method: The method, before `build`.
        probe: The pair. Nothing is tried unless the student's classifier starts at zero.
    """
    if not probe.zero_classifier or _running.get():
        return None

    size = min(probe.batch_size, SAMPLES)
    pair = replace(probe, batch_size=size)
    usual = _drawn(probe.student, size, 0)
    try:
        with _trial():
            ratio = _gradient(method, pair, _blank(usual)) / _gradient(method, pair, usual)
    except Exception:  # what fails here fails in the training, where it is reported
        return None

    if not ratio > STEEP:
        return None
    return (
        f"the student's classifier starts at zero, where gradients are {ratio:.0e} times larger "
        "than usual; the first steps may derail the student"
    )


@contextmanager
def _trial() -> Iterator[None]:
    """Keep trials from starting others, and from changing PyTorch's random state."""
    token = _running.set(True)
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(0)  # also leaves the GPUs' generators alone
            yield
    finally:
        _running.reset(token)


def _gradient(method: Method, probe: Probe, student: Output) -> float:
    """Return the largest gradient norm of a student's tap, after a step of a copy of a method."""
    labels = None if probe.labels is None else probe.labels[:SAMPLES].cpu()
    samples = SAMPLES if labels is None else len(labels)
    trial = copy.deepcopy(method)
    trial.build(replace(probe, samples=samples, labels=labels))
    trial.train()

    needs = trial.tapped()
    own = student.only(replace(needs, logits=True)).map(_leaf)
    size = len(student.logits)
    other = _drawn(probe.teacher, size, 1).only(needs)
    batch = Batch(torch.zeros(size, dtype=torch.int64), torch.arange(size) % samples)

    terms: list[Terms] = [trial(own, other, batch)]
    if trial.pre_training:
        terms.append(trial.pre_train(own, other, batch))
    losses = [weight * value for part in terms for weight, value in part.values()]
    total = torch.stack([torch.zeros(()), *losses]).sum()
    if total.requires_grad:
        total.backward()
    return _largest_gradient(own)


def _largest_gradient(output: Output) -> float:
    norms = [0.0]

    def measured(tensor: Tensor) -> Tensor:
        if tensor.grad is not None:
            norms.append(tensor.grad.norm().item())
        return tensor

    output.map(measured)
    return max(norms)


def _drawn(network: Shapes, size: int, seed: int) -> Output:
    """Draw everything that a network of these shapes could return for a batch."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=draw)

    classifier = None
    if network.classifier:
        weight = torch.randn(*network.logits, *network.embedding, generator=draw)
        classifier = Classifier(weight, torch.zeros(network.logits))

    return Output(
        logits=normal(*network.logits),
        embedding=normal(*network.embedding) if network.embedding else None,
        maps=tuple(normal(*shape) for shape in network.maps),
        preactivations=tuple(normal(*shape) for shape in network.maps),
        pooled=normal(*network.pooled) if network.pooled else None,
        classifier=classifier,
        second=normal(*network.logits),
    )


def _blank(output: Output) -> Output:
    """Return the output of the same network with a classifier of zeros."""
    classifier = output.classifier
    if classifier is not None:
        zeros = torch.zeros_like(classifier.weight)
        classifier = Classifier(zeros, classifier.bias)

    logits = torch.zeros_like(output.logits)
    return replace(output, logits=logits, second=logits.clone(), classifier=classifier)


def _leaf(tensor: Tensor) -> Tensor:
    return nn.Parameter(tensor.detach().clone())
