"""Whole cells of all methods on a real GPU: the same bits as graphs or not, alone or together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.training.engine_choice import EngineChoice
from tests.support.pretended import CUDA
from tests.support.studies import Interrupt, bits, run
from tests.training.rows import ALL, cells, studies

pytestmark = [
    pytest.mark.trains,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def trained(folder: Path, **options: Any) -> Path:
    """Run the studies of all methods in a workspace."""
    for study in studies():
        assert not run(folder, study, device=CUDA, **options).failed
    return folder


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods side by side, as they are written."""
    return trained(tmp_path_factory.mktemp("eager"), engine=EngineChoice.EAGER)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods side by side, as graphs."""
    return trained(tmp_path_factory.mktemp("graphs"), engine=EngineChoice.GRAPHS)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each cell in a cohort of its own, as graphs."""
    return trained(tmp_path_factory.mktemp("alone"), engine=EngineChoice.GRAPHS, cohort_size=1)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All methods side by side, as graphs, interrupted in the middle."""
    folder = tmp_path_factory.mktemp("stopped")
    for study in studies():
        with pytest.raises(KeyboardInterrupt):
            run(folder, study, Interrupt(len(study["methods"])), device=CUDA)
    return trained(folder)


@pytest.mark.parametrize("name", ALL)
def test_a_cell_has_the_same_bits_as_graphs_and_as_it_is_written(
    name: str, eager: Path, graphs: Path
) -> None:
    assert bits(cells(graphs)[f"{name}/0"]) == bits(cells(eager)[f"{name}/0"])


@pytest.mark.parametrize("name", ALL)
def test_a_cell_has_the_same_bits_alone_and_in_company(
    name: str, graphs: Path, alone: Path
) -> None:
    assert bits(cells(alone)[f"{name}/0"]) == bits(cells(graphs)[f"{name}/0"])


@pytest.mark.parametrize("name", ALL)
def test_a_cell_has_the_same_bits_when_it_is_interrupted(
    name: str, graphs: Path, stopped: Path
) -> None:
    assert bits(cells(stopped)[f"{name}/0"]) == bits(cells(graphs)[f"{name}/0"])
