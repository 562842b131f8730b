"""Registers the zoo's networks in timm."""

from __future__ import annotations

import sys
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from benchmark.models.zoo._stages import Classifier, StagedNet

CIFAR100_MEAN = (0.5070, 0.4865, 0.4409)
CIFAR100_STD = (0.2673, 0.2564, 0.2761)


def register(kind: type[Classifier], nets: dict[str, dict[str, Any]], **config: Any) -> None:
    """Register networks in timm, each as a function in the module of its class.

    Args:
        kind: Class of the networks.
        nets: Arguments for the class, by the name of each network.
        config: Entries of timm's default configuration that differ from those of a CIFAR CNN.
    """
    module = sys.modules[kind.__module__]
    shared = {
        "input_size": (3, 32, 32),
        "num_classes": 100,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "mean": CIFAR100_MEAN,
        "std": CIFAR100_STD,
        "classifier": kind.head,
        **config,
    }
    # timm looks for a variable of this name in the module of a model.
    default_cfgs = vars(module).setdefault("default_cfgs", {})
    default_cfgs.update(generate_default_cfgs({name: dict(shared) for name in nets}))

    for name, settings in nets.items():
        function = _entry_point(kind, name, settings)
        setattr(module, name, function)
        register_model(function)


def _entry_point(kind: type[Classifier], name: str, settings: dict[str, Any]) -> Any:
    """Return the function that timm calls to create a network."""

    def entry_point(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        **kwargs: Any,
    ) -> nn.Module:
        if pretrained and not pretrained_cfg and not pretrained_cfg_overlay:
            raise RuntimeError(
                f"{name} has no pretrained weights on the hub; load a state dict, or train it"
            )
        if not issubclass(kind, StagedNet) and kwargs.get("features_only"):
            raise RuntimeError(f"{name} has no feature maps")

        # With `features_only`, timm's getter asks `forward_intermediates` for all stages.
        stages = tuple(range(getattr(kind, "count", 0)))
        net: nn.Module = build_model_with_cfg(
            kind,
            name,
            pretrained,
            pretrained_cfg=pretrained_cfg,
            pretrained_cfg_overlay=pretrained_cfg_overlay,
            feature_cfg={"feature_cls": "getter", "out_indices": stages},
            **{**settings, **kwargs},
        )
        return net

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__module__ = kind.__module__
    entry_point.__doc__ = f"{name}: {kind.__name__} with {settings}."
    return entry_point
