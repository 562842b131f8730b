"""What all nets of the zoo share: timm's interface of a staged CNN, and registering with timm.

A net is stem -> stages -> tail -> average pool -> classifier. A tap is the map after a stage, or before its last ReLU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional as F

CIFAR100_MEAN, CIFAR100_STD = (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)


class Classifier(nn.Module):
    """A net that ends in one linear layer over an embedding of `num_features`, under the name `head`."""

    head: ClassVar[str] = "fc"
    num_features: int
    num_classes: int

    @property
    def head_hidden_size(self) -> int:
        """Length of the embedding, under timm's name."""
        return self.num_features

    def get_classifier(self) -> nn.Module:
        """The layer that maps the embedding to logits."""
        return self.get_submodule(self.head)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replaces the classifier by a fresh one, or with 0 classes by the identity.

        Raises ValueError for any pooling but average, which these nets are defined with.
        """
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool={global_pool!r}: these nets know average pooling only")
        made = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()
        reference = next(self.parameters(), None)
        setattr(
            self,
            self.head,
            made if reference is None else made.to(reference.device, reference.dtype),
        )
        self.num_classes = num_classes

    def embed(self, features: Tensor) -> Tensor:
        """Output of `forward_features` -> embedding [N, num_features]."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> what `forward_head` takes."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Output of `forward_features` -> logits [N, num_classes], or with `pre_logits` the embedding."""
        embedding = self.embed(x)
        if pre_logits:
            return embedding
        logits: Tensor = self.get_classifier()(embedding)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> logits [N, num_classes]."""
        return self.forward_head(self.forward_features(x))


class Block(nn.Module):
    """A block whose last operation is a ReLU."""

    def before_relu(self, x: Tensor) -> Tensor:
        """The block's output before its last ReLU: `relu(before_relu(x))` is the block."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, H, W] -> maps."""
        return F.relu(self.before_relu(x))


class StagedNet(Classifier):
    """A CNN that gives one map per stage.

    Subclasses make their layers, list their stages in `feature_info` (timm's keys: num_chs, reduction, module), and
    override `stem` and `tail` where these are not a convolution with norm and ReLU, or nothing.
    """

    count: ClassVar[int] = 3
    """How many stages there are."""

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], modules: Sequence[str]):
        super().__init__()
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": wide, "reduction": reduction, "module": module}
            for wide, reduction, module in zip(channels, reductions, modules, strict=True)
        ]

    def stages(self) -> list[nn.Module]:
        """The stages, shallow to deep."""
        return [self.get_submodule(stage["module"]) for stage in self.feature_info]

    def stem(self, x: Tensor) -> Tensor:
        """Images -> input of the first stage."""
        return F.relu(self.get_submodule("bn1")(self.get_submodule("conv1")(x)))

    def tail(self, x: Tensor) -> Tensor:
        """Output of the last stage -> the final features, which are pooled."""
        return x

    def before_relu(self, place: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input of the stage at `place` -> (its output, its output before its last ReLU)."""
        stage = self.stages()[place]
        assert isinstance(stage, nn.Sequential)
        *blocks, last = stage
        for block in blocks:
            x = block(x)
        assert isinstance(last, Block)
        before = last.before_relu(x)
        return F.relu(before), before

    def normed(self, x: Tensor) -> Tensor:
        """The deepest map as `norm=True` gives it: unchanged, where no norm layer stands after the last stage."""
        return x

    def embed(self, features: Tensor) -> Tensor:
        """Average over positions.  [N, C, H, W] -> [N, C]."""
        return torch.flatten(F.adaptive_avg_pool2d(features, 1), 1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W] -> the final features, a map."""
        x = self.stem(x)
        for stage in self.stages():
            x = stage(x)
        return self.tail(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        preactivation: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """One map per stage as timm gives them: (final features, maps), or the maps alone.

        x: images [N, C, H, W]. indices: the last n stages, or these; all where None. norm: the deepest map after the
        net's final norm layer, where it has one. stop_early: run no stage after the last one asked for; the features
        are then that stage's output. preactivation: maps before each stage's last ReLU; has precedence over `norm`.
        Raises ValueError for another format than NCHW, and for a stage that does not exist.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r}: these nets give NCHW only")
        stages = self.stages()
        take = _taken(len(stages), indices)
        end = max(take) + 1 if stop_early else len(stages)
        maps = []
        x = self.stem(x)
        for place, stage in enumerate(stages[:end]):
            if place not in take:
                x = stage(x)
            elif preactivation:
                x, before = self.before_relu(place, x)
                maps.append(before)
            else:
                x = stage(x)
                maps.append(self.normed(x) if norm and place == len(stages) - 1 else x)
        if intermediates_only:
            return maps
        return (self.tail(x) if end == len(stages) else x), maps

    def forward_taps(
        self, x: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Final features, the maps after these stages, and the same maps before each stage's last ReLU."""
        take = _taken(len(self.stages()), indices)
        maps, before = [], []
        x = self.stem(x)
        for place, stage in enumerate(self.stages()):
            if place not in take:
                x = stage(x)
                continue
            x, early = self.before_relu(place, x)
            maps.append(x)
            before.append(early)
        return self.tail(x), maps, before


def _taken(count: int, indices: int | Sequence[int] | None) -> set[int]:
    """Places of the stages asked for, counted from 0."""
    if indices is None:
        return set(range(count))
    wanted = range(-indices, 0) if isinstance(indices, int) else indices
    if not wanted or not all(-count <= place < count for place in wanted):
        raise ValueError(f"indices={indices!r}: there are {count} stages")
    return {place % count for place in wanted}


def blocks_per_stage(depth: int, fixed: int) -> int:
    """Depth 6n + fixed -> n. Raises ValueError for any other depth."""
    blocks, rest = divmod(depth - fixed, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth={depth}: must be 6n + {fixed} with n at least 1")
    return blocks


def conv3x3(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A 3x3 convolution that keeps the map's size, or divides it by the stride."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, groups=groups, bias=bias)


def conv1x1(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(inputs, outputs, 1, stride=stride, groups=groups, bias=False)


def initialise(net: nn.Module) -> None:
    """Convolutions: Kaiming normal, fan-out, ReLU's gain, zero bias. Batch norms: one and zero. As RepDistiller.

    For a grouped convolution PyTorch's fan-out counts the outputs of all groups, and so does RepDistiller.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def register(kind: type[Classifier], nets: dict[str, dict[str, Any]], **config: Any) -> None:
    """Registers nets with timm: name -> the arguments that make it of `kind`, as functions of `kind`'s module.

    config: entries of timm's default configuration that differ from those of a CIFAR CNN.
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
    known = vars(module).setdefault("default_cfgs", {})
    known.update(generate_default_cfgs({name: dict(shared) for name in nets}))
    for name, settings in nets.items():
        function = _entry(kind, name, settings)
        setattr(module, name, function)
        register_model(function)


def _entry(kind: type[Classifier], name: str, settings: dict[str, Any]) -> Any:
    """The function that timm calls to make a net."""

    def entry(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        **kwargs: Any,
    ) -> nn.Module:
        if pretrained and not pretrained_cfg and not pretrained_cfg_overlay:
            raise RuntimeError(
                f"{name} has no pretrained weights at the hub; load a state dict, or train it"
            )
        if not issubclass(kind, StagedNet) and kwargs.get("features_only"):
            raise RuntimeError(f"{name} has no feature maps")
        sources = {
            "pretrained_cfg": pretrained_cfg,
            "pretrained_cfg_overlay": pretrained_cfg_overlay,
        }
        # With `features_only`, timm's getter asks `forward_intermediates` for all stages.
        features = {"feature_cls": "getter", "out_indices": tuple(range(getattr(kind, "count", 0)))}
        made: nn.Module = build_model_with_cfg(
            kind, name, pretrained, feature_cfg=features, **sources, **{**settings, **kwargs}
        )
        return made

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = kind.__module__
    entry.__doc__ = f"{name}: {kind.__name__} with {settings}."
    return entry
