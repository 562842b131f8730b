"""Loads the trained students of a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import methods
from benchmark import seeds
from benchmark.errors import InputError
from benchmark.execution.plan_plugins import load_plugins
from benchmark.files import read_json
from benchmark.models import create
from benchmark.models.deployed import DeployedModel, Evaluated
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.plugins import loading
from benchmark.records.checkpoints import CellFolder
from benchmark.records.done import read_done
from benchmark.records.layout import CellFiles, StudyFolder, Workspace
from benchmark.study.plan import Plan, read_plan
from benchmark.study.schema import Network
from benchmark.training.assembly import HEAD, load_weights
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
    load_plugins(plan, study)

    remedy = "delete the folder to train the cell again"
    configuration = read_json(files.config, "student", "method", remedy=remedy)
    student = _network(configuration["student"], plan, files)
    weights = CellFolder(files.path).read_weights(read_done(files.done).sha256)
    if not any(name.startswith(HEAD) for name in weights):
        student.network.load_state_dict(weights)
        return Student(student)

    method = _built_method(student, configuration, plan, files)
    load_weights(student, method, weights)
    head = method.deployed()
    assert head is not None
    return Student(DeployedModel(student, head, student_needs(method.tapped())))


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


def _network(content: Mapping[str, Any], plan: Plan, files: CellFiles) -> TappedModel:
    """Build a network of a cell's configuration, untrained."""
    network = Network.model_validate(content)
    inputs = plan.inputs
    assert inputs is not None
    with seeds.seeded(0, "student"):
        return create.tapped(
            network, str(files.path), inputs.size, inputs.classes, inputs.mean, inputs.std
        )


def _built_method(
    student: TappedModel, configuration: Mapping[str, Any], plan: Plan, files: CellFiles
) -> Method:
    """Create a cell's method with its adapters, whose weights are then loaded.

    Labels of the training set only fill memory banks, which inference does not use.
    """
    settings = configuration["method"]
    method = methods.create(settings["name"], **settings["settings"])
    teacher = {key: value for key, value in configuration["teacher"].items() if key != "sha256"}
    inputs = plan.inputs
    assert inputs is not None

    method.build(
        probe(
            student,
            _network(teacher, plan, files),
            method.tapped(),
            inputs.samples,
            configuration["recipe"]["batch_size"],
            torch.zeros(inputs.samples, dtype=torch.int64),
        )
    )
    return method
