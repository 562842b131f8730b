"""The teachers of a rehearsal: an untrained network stands in for a missing one."""

from __future__ import annotations

import torch
from torch import nn

from benchmark import seeds
from benchmark.data import Data
from benchmark.execution import teachers
from benchmark.execution.pair_networks import network_of
from benchmark.execution.teacher_store import TeacherStore
from benchmark.models.tapped import TappedModel
from benchmark.study.schema import Network
from benchmark.training.teacher import Teacher
from methods import Needs

IMAGES = 64
"""Images whose statistics normalise the activations of an untrained network."""


def teacher_on_trial(key: str, network: Network, store: TeacherStore, data: Data) -> Teacher:
    """Return a stored teacher, or an untrained network of the same architecture.

    Args:
        key: Key of the teacher.
        network: The network that the teacher is or will be.
        store: The store.
        data: The data that the teacher will run on.

    Raises:
        InputError: The stored teacher is damaged, or the network cannot be built.
    """
    card = store.card(key)
    if card is not None:
        return teachers.load(card, f"teacher {network.model}", store, data)

    with seeds.seeded(0, "teacher"):
        model = network_of(data, network.untrained, f"teacher {network.model}")
    model.to(data.device)
    _normalise(model)
    return Teacher(model, "")


def _normalise(model: TappedModel) -> None:
    """Give the norms of an untrained network the statistics of a batch.

    Without them, the activations of a deep network grow until losses are not finite.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0

    model.train()
    with torch.no_grad():
        model(model.example(IMAGES), Needs())
