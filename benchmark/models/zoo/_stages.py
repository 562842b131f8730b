"""Shared code of the zoo: timm's interface for a CNN with stages, and parts to build such CNNs.

A network is stem -> stages -> tail -> average pooling -> classifier. A tap is the map after a
stage, or the same map before the stage's last ReLU. Every other ReLU works in place, on maps that
nothing else reads: that saves memory traffic, which is what small networks spend their time on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Classifier(nn.Module):
    """A network that ends in one linear layer over an embedding.

    Attributes:
        head: Name of the linear layer.
        num_features: Length of the embedding.
        num_classes: Number of classes.
    """

    head: ClassVar[str] = "fc"
    num_features: int
    num_classes: int

    @property
    def head_hidden_size(self) -> int:
        """Length of the embedding, under timm's name."""
        return self.num_features

    def get_classifier(self) -> nn.Module:
        """Return the layer from the embedding to the logits."""
        return self.get_submodule(self.head)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier with a new one, or with the identity if there are 0 classes.

        Raises:
            ValueError: `global_pool` is not average pooling, the only kind these networks support.
        """
        if global_pool not in (None, "avg"):
            raise ValueError(f"global_pool={global_pool!r}: only average pooling is supported")

        layer: nn.Module = nn.Identity()
        if num_classes > 0:
            layer = nn.Linear(self.num_features, num_classes)
        reference = next(self.parameters(), None)
        if reference is not None:
            layer = layer.to(reference.device, reference.dtype)

        setattr(self, self.head, layer)
        self.num_classes = num_classes

    def embed(self, features: Tensor) -> Tensor:
        """Turn the output of `forward_features` into the embedding, [N, num_features]."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [N, C, H, W] into the input of `forward_head`."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Turn the output of `forward_features` into logits, [N, num_classes].

        With `pre_logits`, return the embedding instead.
        """
        embedding = self.embed(x)
        if pre_logits:
            return embedding

        logits: Tensor = self.get_classifier()(embedding)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Turn images [N, C, H, W] into logits, [N, num_classes]."""
        return self.forward_head(self.forward_features(x))


class Block(nn.Module):
    """A block whose last operation is a ReLU."""

    def before_relu(self, x: Tensor) -> Tensor:
        """Return the block's output before its last ReLU: a new tensor, which is overwritten."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Run the block on maps, [N, C, H, W]."""
        return F.relu(self.before_relu(x), inplace=True)


class StagedNet(Classifier):
    """A CNN that returns one map per stage.

    Subclasses create their own layers. A subclass overrides `stem` if its stem is not a convolution
    with norm and ReLU, and `tail` if its tail is not empty.

    Args:
        channels: Channels of each stage's map.
        reductions: Factor by which each stage's map is smaller than the image.
        modules: Name of each stage's module.

    Attributes:
        count: Number of stages.
        feature_info: Channels, reduction and module of each stage, as timm expects them.
    """

    count: ClassVar[int] = 3

    def __init__(self, channels: Sequence[int], reductions: Sequence[int], modules: Sequence[str]):
        super().__init__()
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": width, "reduction": reduction, "module": module}
            for width, reduction, module in zip(channels, reductions, modules, strict=True)
        ]

    def stages(self) -> list[nn.Module]:
        """Return the stages, shallow to deep."""
        return [self.get_submodule(info["module"]) for info in self.feature_info]

    def stem(self, x: Tensor) -> Tensor:
        """Turn images into the input of the first stage."""
        return F.relu(self.get_submodule("bn1")(self.get_submodule("conv1")(x)), inplace=True)

    def tail(self, x: Tensor) -> Tensor:
        """Turn the output of the last stage into the final features, which are pooled."""
        return x

    def before_relu(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run a stage; return its output after and before its last ReLU."""
        stage = self.stages()[index]
        assert isinstance(stage, nn.Sequential)
        *blocks, last = stage
        for block in blocks:
            x = block(x)

        assert isinstance(last, Block)
        early = last.before_relu(x)
        return F.relu(early), early

    def normed(self, x: Tensor) -> Tensor:
        """Return the deepest map for `norm=True`: after the final norm layer, if there is one."""
        return x

    def embed(self, features: Tensor) -> Tensor:
        """Average over all positions: [N, C, H, W] -> [N, C]."""
        return torch.flatten(F.adaptive_avg_pool2d(features, 1), 1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images [N, C, H, W] into the final features, a map."""
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
        """Return one map per stage, through timm's interface.

        Args:
            x: Images, [N, C, H, W].
            indices: Indices of the stages to tap, or the number of deepest stages to tap; None to
                tap all stages.
            norm: Whether to return the deepest map after the final norm layer, if there is one.
            stop_early: Whether to skip the stages after the last requested one. The features are
                then that stage's output.
            output_fmt: Must be NCHW.
            intermediates_only: Whether to return only the maps.
            preactivation: Whether to return the maps before each stage's last ReLU. Overrides
                `norm`.

        Returns:
            The final features and the maps, or only the maps.

        Raises:
            ValueError: The format is not NCHW, or there is no such stage.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r}: only NCHW is supported")

        stages = self.stages()
        tapped = _stage_indices(len(stages), indices)
        end = max(tapped) + 1 if stop_early else len(stages)
        maps: list[Tensor] = []
        x = self.stem(x)
        for index, stage in enumerate(stages[:end]):
            if index not in tapped:
                x = stage(x)
            elif preactivation:
                x, early = self.before_relu(index, x)
                maps.append(early)
            else:
                x = stage(x)
                is_deepest = index == len(stages) - 1
                maps.append(self.normed(x) if norm and is_deepest else x)

        if intermediates_only:
            return maps
        return (self.tail(x) if end == len(stages) else x), maps

    def forward_taps(
        self, x: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the final features, and some stages' maps after and before their last ReLU."""
        tapped = _stage_indices(len(self.stages()), indices)
        maps: list[Tensor] = []
        early_maps: list[Tensor] = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages()):
            if index in tapped:
                x, early = self.before_relu(index, x)
                maps.append(x)
                early_maps.append(early)
            else:
                x = stage(x)

        return self.tail(x), maps, early_maps


def _stage_indices(count: int, indices: int | Sequence[int] | None) -> set[int]:
    """Return the stages that timm's argument `indices` selects, counted from 0."""
    if indices is None:
        return set(range(count))

    requested = range(-indices, 0) if isinstance(indices, int) else indices
    if not requested or not all(-count <= index < count for index in requested):
        raise ValueError(f"indices={indices!r}: there are {count} stages")

    return {index % count for index in requested}


def blocks_per_stage(depth: int, fixed: int) -> int:
    """Return n for a network of depth 6n + fixed.

    Raises:
        ValueError: There is no such n.
    """
    blocks, rest = divmod(depth - fixed, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth={depth}: must be 6n + {fixed} with n at least 1")

    return blocks


def conv3x3(
    inputs: int, outputs: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Create a 3x3 convolution that keeps the map's size, or divides it by the stride."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, groups=groups, bias=bias)


def conv1x1(inputs: int, outputs: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Create a 1x1 convolution without a bias."""
    return nn.Conv2d(inputs, outputs, 1, stride=stride, groups=groups, bias=False)


def initialise(net: nn.Module) -> None:
    """Initialise a network as RepDistiller does.

    Convolution weights are Kaiming-normal in fan-out mode with ReLU's gain, and biases are zero;
    batch norms have weight one and bias zero. For a grouped convolution, PyTorch's fan-out counts
    the outputs of all groups, as in RepDistiller.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def initialise_small(classifier: nn.Module) -> None:
    """Initialise a linear classifier: normal weights with standard deviation 0.01, zero bias."""
    if isinstance(classifier, nn.Linear):
        nn.init.normal_(classifier.weight, std=0.01)
        nn.init.zeros_(classifier.bias)
