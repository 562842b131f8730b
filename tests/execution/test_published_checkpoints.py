"""Published checkpoints reach exactly the accuracy that their author published.

These are the CIFAR ResNets of chenyaofo/pytorch-cifar-models on the 10,000 test images of
CIFAR-100. A small mistake in the networks, the import of weights, the normalisation, the decoding
or the evaluation would change a last digit.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commandline import kdbench
from tests.support.datasources import CIFAR, SHARED, needs_cifar
from tests.support.studies import write_study

PUBLISHED = {"resnet20": 68.83, "resnet32": 70.16, "resnet44": 71.63, "resnet56": 72.63}
"""Top-1 accuracy in percent."""

pytestmark = [
    pytest.mark.slow,
    needs_cifar,
    pytest.mark.skipif(
        importlib.util.find_spec("datasets") is None, reason="needs the package datasets"
    ),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One workspace for all tests, so that the images are decoded once."""
    return tmp_path_factory.mktemp("checkpoints")


def study(network: str) -> dict[str, Any]:
    normalisation = {"mean": [0.5070, 0.4865, 0.4409], "std": [0.2673, 0.2564, 0.2761]}
    return {
        "name": network,
        "dataset": {"name": f"hfds/{CIFAR}", "input_key": "img", "target_key": "fine_label"},
        "pairs": [
            {"teacher": {"model": f"cifar_{network}", **normalisation}, "student": "cifar_resnet8"}
        ],
        "methods": ["student"],
        "seeds": [0],
        "recipe": {"epochs": 1},
    }


@pytest.mark.parametrize("network", PUBLISHED)
def test_a_published_checkpoint_reaches_the_published_accuracy(
    network: str, workspace: Path
) -> None:
    file = SHARED / "checkpoints" / f"cifar100_{network}.safetensors"
    if not file.exists():
        pytest.skip(f"no checkpoints/{file.name} in the folder KDBENCH_SHARED")
    path = write_study(workspace / f"{network}.yaml", study(network))
    done = kdbench("--workspace", workspace, "teachers", "import", file, path, "--device", "cpu")
    assert done.code == 0, done.err
    cards = [json.loads(card.read_text()) for card in workspace.glob("teachers/*/card.json")]
    (card,) = (card for card in cards if card["network"]["model"] == f"cifar_{network}")
    assert round(card["test/acc1"], 2) == PUBLISHED[network]
    assert ("decoding all images" in done.err) == (len(cards) == 1)
