"""Fixtures for tests of models."""

from __future__ import annotations

import pytest
import torch

from tests.models.networks import SIZE


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(0))
