"""Discovers, by small forward passes, what can be tapped in a network and in which shapes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from methods._head import Head, linear_classifier, split_head, watched_embedding, whole_head
from methods._routes import Route, Taps, by_hooks, by_intermediates
from methods._settings import first_line
from methods._taps import Classifier, Needs, Output, Shapes

MAX_STAGES = 4
"""Maximum number of stages to tap."""

NCHW = (0, 1, 2, 3)
NHWC = (0, 3, 1, 2)
"""Order of axes that turns NHWC into NCHW."""


@dataclass(frozen=True)
class StageMaps:
    """How to tap the stage maps of a network.

    Attributes:
        route: The function that taps the maps.
        stages: Indices of the tapped stages, shallow to deep.
        shapes: Shape of each map without the batch axis, (C, H, W).
    """

    route: Route
    stages: list[int]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Tappable:
    """What can be tapped in a network.

    Attributes:
        shapes: Shapes of all taps.
        notes: Why each missing tap is missing, by the tap's name.
        stage_maps: How to tap the stage maps, if that is possible.
        pooled_axes: Order of axes that turns the head's input into the pooled map; empty if the
            embedding is not the average of a map.
        splits: Whether the head can compute the embedding first, and the logits from it; if not,
            the embedding is tapped with a hook.
    """

    shapes: Shapes
    notes: dict[str, str]
    stage_maps: StageMaps | None
    pooled_axes: tuple[int, ...] = ()
    splits: bool = False

    @property
    def stages(self) -> list[int]:
        """Indices of the tapped stages, shallow to deep."""
        return [] if self.stage_maps is None else self.stage_maps.stages

    def output(self, network: Any, inputs: Tensor, needs: Needs) -> Output:
        """Run the network and return its logits and the requested taps, as far as it has them.

        Args:
            network: The network in which all this was found.
            inputs: A preprocessed batch, [N, C, H, W].
            needs: What to tap besides the logits.
        """
        has_embedding = needs.embedding and "embedding" not in self.notes
        watch: AbstractContextManager[list[Tensor]] = nullcontext([])
        if has_embedding and not self.splits:
            watch = watched_embedding(network)
        head = split_head if has_embedding and self.splits else whole_head
        with watch as embeddings:
            taps = self._run(network, inputs, needs, head)

        return Output(
            logits=taps.logits,
            embedding=embeddings[0] if embeddings else taps.embedding,
            maps=tuple(taps.maps) if needs.maps else (),
            preactivations=tuple(taps.preactivations) if needs.preactivations else (),
            pooled=self._pooled(taps.last) if needs.pooled else None,
            classifier=self.classifier(network) if needs.classifier else None,
        )

    def classifier(self, network: Any) -> Classifier | None:
        """Return the layer that maps the embedding to logits; None if there is no such layer."""
        if "embedding" in self.notes:
            return None

        return linear_classifier(network, self.shapes.embedding)

    def _run(self, network: Any, inputs: Tensor, needs: Needs, head: Head) -> Taps:
        """Run the network, and tap its stages if the method needs taps from them."""
        maps = self.stage_maps
        if maps is not None and needs.stages:
            return maps.route(network, inputs, maps.stages, needs.preactivations, head)

        if head is whole_head:
            return Taps(network(inputs), [], [])

        logits, embedding = head(network, network.forward_features(inputs))
        return Taps(logits, [], [], embedding=embedding)

    def _pooled(self, last: Tensor | None) -> Tensor | None:
        """Return the feature map that is pooled into the embedding, [N, D, H, W]."""
        if last is None or not self.pooled_axes:
            return None

        return last.permute(self.pooled_axes)


def discover(network: Any, inputs: Tensor) -> Tappable:
    """Find out what can be tapped in a network.

    Args:
        network: A timm network in eval mode. The caller should disable gradients.
        inputs: One preprocessed example, [1, C, H, W]. The example must not be blank: two
            different computations could agree on a blank image.
    """
    notes: dict[str, str] = {}
    logits = network(inputs)
    stage_maps = find_stage_maps(network, inputs, logits, notes)
    logits_shape = tuple(logits.shape[1:])
    map_shapes = () if stage_maps is None else stage_maps.shapes

    embedding = _find_embedding(network, inputs, notes)
    if embedding is None:
        notes["classifier"] = "there is no embedding"
        notes["pooled"] = "there is no embedding"
        return Tappable(Shapes(logits_shape, (), map_shapes), notes, stage_maps)

    embedding_shape = tuple(embedding.shape[1:])
    is_linear = linear_classifier(network, embedding_shape) is not None
    if not is_linear:
        notes["classifier"] = "it is not a linear layer"

    pooled_axes, pooled_shape = _find_pooled(network, inputs, stage_maps, embedding)
    if not pooled_axes:
        notes["pooled"] = "the embedding is not the average of a map"

    shapes = Shapes(logits_shape, embedding_shape, map_shapes, pooled_shape, is_linear)
    splits = _splits(network, inputs, stage_maps, logits, embedding)
    return Tappable(shapes, notes, stage_maps, pooled_axes, splits)


def find_stage_maps(
    network: Any, inputs: Tensor, logits: Tensor, notes: dict[str, str]
) -> StageMaps | None:
    """Return the first route to the stage maps that leaves the logits unchanged.

    Args:
        network: A timm network in eval mode.
        inputs: One preprocessed example.
        logits: The network's output for this example without taps.
        notes: Receives the reasons under "maps" if there is no such route.
    """
    if not any(hasattr(network, name) for name in ("forward_intermediates", "feature_info")):
        notes["maps"] = "the network has no feature maps"
        return None

    reasons: list[str] = []
    for route in (by_intermediates, by_hooks):
        try:
            return _try_route(route, network, inputs, logits)
        except Exception as error:  # timm's 1,300 models raise errors of many kinds
            reasons.append(first_line(error))

    notes["maps"] = "; ".join(dict.fromkeys(reasons))
    return None


def _try_route(route: Route, network: Any, inputs: Tensor, logits: Tensor) -> StageMaps:
    """Tap all stages, choose some, and check the logits of a forward pass that taps only these."""
    every_stage = route(network, inputs, None, False, whole_head)
    stages = choose_stages([tuple(stage_map.shape) for stage_map in every_stage.maps])
    taps = route(network, inputs, stages, True, whole_head)
    if not _equal(taps.logits, logits):
        raise ValueError("the head computes other logits from the last map than the network does")

    return StageMaps(route, stages, tuple(tuple(tap.shape[1:]) for tap in taps.maps))


def choose_stages(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Choose the stages to tap.

    If the maps differ in size, the last stage of each size is chosen. If all maps have the same
    size, evenly spaced stages up to the last are chosen.

    Args:
        shapes: Shape of each stage's map, (N, C, H, W).

    Raises:
        ValueError: A tap is not a map, or there are no stages.
    """
    for shape in shapes:
        if len(shape) != 4:
            raise ValueError(f"a tap of shape {shape} is not a map")
    if not shapes:
        raise ValueError("the network declares no stages")

    last_of_size = {shape[2:]: index for index, shape in enumerate(shapes)}
    if len(last_of_size) > 1:
        return sorted(last_of_size.values())[-MAX_STAGES:]

    count = min(MAX_STAGES, len(shapes))
    return [len(shapes) * (n + 1) // count - 1 for n in range(count)]


def _equal(first: Tensor, second: Tensor) -> bool:
    """Compare all values; on the meta device, which has none, compare the shapes."""
    return first.shape == second.shape and (first.is_meta or torch.equal(first, second))


def _find_embedding(network: Any, inputs: Tensor, notes: dict[str, str]) -> Tensor | None:
    """Return the embedding of the example, [1, D], or note why there is none."""
    try:
        with watched_embedding(network) as embeddings:
            network(inputs)
    except (AttributeError, TypeError) as error:
        notes["embedding"] = str(error)
        return None

    if not embeddings or embeddings[0].dim() != 2:
        notes["embedding"] = "the classifier does not take one vector per image"
        return None

    return embeddings[0]


def _drops(network: Any) -> bool:
    """Return whether a network drops values at random in training."""
    layers = [
        module for module in network.modules() if isinstance(module, nn.modules.dropout._DropoutNd)
    ]
    return bool(getattr(network, "drop_rate", 0)) or any(layer.p > 0 for layer in layers)


def _splits(
    network: Any,
    inputs: Tensor,
    stage_maps: StageMaps | None,
    logits: Tensor,
    embedding: Tensor,
) -> bool:
    """Return whether embedding and logits stay the same if the head computes them one by one."""
    if stage_maps is not None and stage_maps.route is not by_intermediates:
        return False
    if _drops(network):  # in training, the head may drop values in only one of the two ways
        return False

    try:
        own_logits, own = split_head(network, network.forward_features(inputs))
    except Exception:  # timm's 1,300 models raise errors of many kinds
        return False
    return _equal(own_logits, logits) and _equal(own, embedding)


def _find_pooled(
    network: Any, inputs: Tensor, stage_maps: StageMaps | None, embedding: Tensor
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes and shape of the map whose average is the embedding, or two empty tuples."""
    if stage_maps is None or embedding.is_meta:
        return (), ()

    last = stage_maps.route(network, inputs, stage_maps.stages, False, whole_head).last
    if last is None or last.dim() != 4:
        return (), ()

    for axes in (NCHW, NHWC):
        pooled = last.permute(axes)
        mean = pooled.mean(dim=(2, 3))
        if mean.shape == embedding.shape and _close(mean, embedding):
            return axes, tuple(pooled.shape[1:])

    return (), ()


def _close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-4, atol=1e-5)
