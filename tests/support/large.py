"""A study of the size that papers report: 240 epochs of 13 methods on random images.

Imported as a plug-in, this module provides the images, which are like CIFAR-100's but for their
content: 50,000 of 32x32 pixels for training, 10,000 for the test, in 100 classes.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmark.plugins import Arrays, data_source

CLASSES = 100
METHODS = ("kd", "fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "ab", "ft", "fsp", "nst", "crd")
"""The methods of RepDistiller's table (Tian et al., ICLR 2020, arXiv:1910.10699)."""


@data_source("random_images")
def random_images(train: int = 50_000, test: int = 10_000) -> Arrays:
    """Return images whose classes mean nothing."""
    return Arrays(*_part(train, 0), *_part(test, 1))


def _part(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
    return images, torch.arange(count) % CLASSES


def large(**changes: Any) -> dict[str, Any]:
    """Return the study.

    Args:
        changes: Keys to replace.
    """
    content: dict[str, Any] = {
        "name": "large",
        "plugins": ["tests.support.large"],
        "dataset": "random_images",
        "split": "legacy",
        "pairs": [{"teacher": "cifar_resnet56", "student": "cifar_resnet20"}],
        "methods": ["student", *METHODS],
        "seeds": [0, 1, 2],
        "recipe": {
            "epochs": 240,
            "batch_size": 64,
            "optimizer": {"name": "sgd", "lr": 0.05, "weight_decay": 5e-4},
            "schedule": {"name": "step", "milestones": [150, 180, 210]},
            "augmentation": {"crop_padding": 4, "flip": True},
        },
    }
    return {**content, **changes}
