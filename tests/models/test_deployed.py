"""A student with the head that its method brings: logits from the head, costs of both."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.models.deployed import DeployedModel
from methods import Needs
from tests.models.networks import build


class Head(nn.Module):
    """A linear layer over the embedding."""

    def __init__(self, features):
        super().__init__()
        self.fc = nn.Linear(features, 10)

    def forward(self, output):
        return self.fc(output.embedding)


@pytest.fixture
def student():
    return build("cifar_resnet8")


@pytest.fixture
def model(student):
    return DeployedModel(student, Head(64), Needs(embedding=True)).eval()


def test_the_logits_come_from_the_head(model, student, images):
    with torch.no_grad():
        expected = model.head.fc(student(images, Needs(embedding=True)).embedding)
        output = model(images, Needs(maps=True))
    assert torch.equal(output.logits, expected)
    assert output.maps == ()


def test_parameters_and_operations_are_those_of_student_and_head(model, student):
    assert model.parameter_count() == student.parameter_count() + 64 * 10 + 10
    assert model.macs() == student.macs() + 64 * 10


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_mode_unchanged(model, student, training):
    model.train(training)
    model.macs()
    assert model.training == student.training == training


def test_its_examples_and_its_device_are_the_students(model, student):
    assert torch.equal(model.example(3), student.example(3))
    assert model.device == student.device
    assert model.size == student.size
