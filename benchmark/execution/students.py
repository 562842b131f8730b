"""Loads the trained students of a workspace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import methods
from benchmark import seeds
from benchmark.errors import InputError
from benchmark.models import create
from benchmark.models.deployed import DeployedModel, Evaluated
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.plugins import loading
from benchmark.plugins.loading import Plugin
from benchmark.records.checkpoints import CellFolder
from benchmark.records.done import read_done
from benchmark.records.layout import CellFiles, StudyFolder, Workspace
from benchmark.study.plan import Plan, read_plan
from benchmark.study.schema import Network
from benchmark.training.assembly import load_weights
from benchmark.training.losses import student_needs
from methods import Method, Needs


class Student(nn.Module):
    """A trained student in eval mode, which maps images to logits.

    Args:
        model: The network, with the head that its method deploys, if any.
    """

    def __init__(self, model: Evaluated):
        super().__init__()
        self.model = model.eval()

    @property
    def network(self) -> nn.Module:
        """The bare network, which expects normalised images of its own size."""
        model = self.model.student if isinstance(self.model, DeployedModel) else self.model
        network: nn.Module = model.network
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images.

        Args:
            images: Float32 [N, C, H, W] in [0, 1], in the size of the study's data set. They are
                resized and normalised as in training.

        Returns:
            Logits [N, classes].
        """
        logits: Tensor = self.model(images, Needs()).logits
        return logits


def load_student(workspace: Workspace, cell: str) -> Student:
    """Load the trained student of a cell.

    Args:
        workspace: The workspace.
        cell: The identity of the cell, or its first digits.

    Raises:
        InputError: No finished cell or several have this identity, a plug-in or the weights are
            missing, or the weights are damaged.
    """
    study, files = _find(workspace, cell)
    plan = read_plan(study.plan)
    if plan.inputs is None:
        raise InputError(
            f"{study.plan}: does not describe the data; run the study again with this version"
        )

    loading.unload_changed()
    for plugin in plan.plugins:
        loading.load(Plugin(plugin.reference, plugin.folder_path), f"{study.plan}: plugins")

    configuration = json.loads(files.config.read_bytes())
    student = _network(Network.model_validate(configuration["student"]), plan, str(files.path))
    method = methods.create(configuration["method"]["name"], **configuration["method"]["settings"])
    model = _deployed(student, method, configuration, plan, str(files.path))

    weights = CellFolder(files.path).read_weights(read_done(files.done).sha256)
    load_weights(student, method, weights)
    return Student(model)


def _find(workspace: Workspace, cell: str) -> tuple[StudyFolder, CellFiles]:
    """Find the only finished cell whose identity starts with the given digits."""
    found = [
        (workspace.study(name), CellFiles(path))
        for name in workspace.studies()
        for path in _finished(workspace.study(name))
        if cell and path.name.startswith(cell)
    ]
    if not found:
        raise InputError(f"{workspace.path}: no finished cell {cell!r}; see `kdbench status STUDY`")
    if len(found) > 1:
        names = ", ".join(files.path.name for _, files in found)
        raise InputError(f"{cell!r} matches several cells ({names}); give more digits")
    return found[0]


def _finished(study: StudyFolder) -> Iterator[Any]:
    return (path.parent for path in sorted(study.cells.glob("*/done.json")))


def _network(network: Network, plan: Plan, where: str) -> TappedModel:
    inputs = plan.inputs
    assert inputs is not None
    with seeds.seeded(0, "student"):
        return create.tapped(network, where, inputs.size, inputs.classes, inputs.mean, inputs.std)


def _deployed(
    student: TappedModel, method: Method, configuration: dict[str, Any], plan: Plan, where: str
) -> Evaluated:
    """Return the network that was evaluated: the student, with the method's head if it has one."""
    teacher = {key: value for key, value in configuration["teacher"].items() if key != "sha256"}
    recipe = configuration["recipe"]
    inputs = plan.inputs
    assert inputs is not None

    pair = probe(
        student,
        _network(Network.model_validate(teacher), plan, where),
        method.tapped(),
        inputs.samples,
        recipe["batch_size"],
        torch.zeros(inputs.samples, dtype=torch.int64),
    )
    method.build(pair)
    head = method.deployed()
    return student if head is None else DeployedModel(student, head, student_needs(method.tapped()))
