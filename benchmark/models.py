"""Any timm model as a tapped model: logits, pooled embedding and stage maps from one forward pass.

A tapped model resizes and normalises for itself, so teacher and student can share a batch and still see what each was
made for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import InputError, first_line
from benchmark.schema import Network
from methods import Classifier, Needs, Output, Shapes

MAX_STAGES = 4
"""So many stage maps are tapped at most, counted from the deepest."""

RESERVED = {"num_classes": "the data set", "in_chans": "the data set", "features_only": "the engine"}


@dataclass(frozen=True)
class Taps:
    """What a route gives.  maps: NCHW; before: the same before the last activation; last: what the head takes."""

    logits: Tensor
    maps: list[Tensor]
    before: list[Tensor]
    last: Tensor | None = None


Route = Callable[[Any, Tensor, Sequence[int] | None, bool], Taps]
"""A way to the maps: network, its input, the stages (all where None), and whether `before` is wanted."""


class TappedModel(nn.Module):
    """A timm network that resizes and normalises its input and gives what methods ask for.

    network: any timm model. size: (C, H, W) of the images in a batch. mean, std: per channel, in the range [0, 1].
    image_size: height and width that the network sees; by default those of the batch.
    `notes` says for `embedding`, `maps`, `pooled` and `classifier` why they cannot be tapped, where they cannot.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        size: tuple[int, ...],
        mean: Sequence[float],
        std: Sequence[float],
        image_size: int | None = None,
    ):
        super().__init__()
        self.network: Any = network
        self.size = size
        self.image_size = image_size
        self.notes: dict[str, str] = {}
        self.stages: list[int] = []
        self._route: Route | None = None
        self._axes: tuple[int, ...] = ()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        with self._quietly():
            self.shapes = self._probe()

    def forward(self, images: Tensor, needs: Needs) -> Output:
        """Logits always, the rest as asked for.  images: float32 [N, C, H, W] in [0, 1]."""
        prepared = self.prepared(images)
        seen: list[Tensor] = []
        remove = self._watch_embedding(seen) if needs.embedding and "embedding" not in self.notes else None
        try:
            if needs.stages and self._route is not None and self.stages:
                taps = self._route(self.network, prepared, self.stages, needs.preactivations)
            else:
                taps = Taps(self.network(prepared), [], [])
        finally:
            if remove is not None:
                remove()
        return Output(
            taps.logits,
            seen[0] if seen else None,
            tuple(taps.maps) if needs.maps else (),
            tuple(taps.before) if needs.preactivations else (),
            self._pooled(taps.last) if needs.pooled else None,
            self.classifier() if needs.classifier else None,
        )

    def prepared(self, images: Tensor) -> Tensor:
        """What the network sees of a batch: resized where it wants another size, and normalised."""
        wanted = _seen(self.size, self.image_size)[1:]
        if self.image_size is not None and images.shape[2:] != wanted:
            images = F.interpolate(images, wanted, mode="bilinear", align_corners=False, antialias=True)
        return (images - self.mean) / self.std

    def taps(self) -> Needs:
        """Everything that this network can give."""
        maps, embedding = bool(self.shapes.maps), bool(self.shapes.embedding)
        pooled, classifier = bool(self.shapes.pooled), self.shapes.classifier
        return Needs(True, embedding, maps, preactivations=maps, pooled=pooled, classifier=classifier)

    def classifier(self) -> Classifier | None:
        """The layer from embedding to logits; None if there is no embedding or the layer is not a linear one."""
        if "embedding" in self.notes:
            return None
        layer: Any = self._head()
        weight = getattr(layer, "weight", None)
        if not isinstance(layer, nn.Linear | nn.Conv2d) or not isinstance(weight, Tensor):
            return None
        flat = weight.flatten(1)
        return Classifier(flat, layer.bias) if flat.shape[1:] == self.shapes.embedding else None

    def parameter_count(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image: half of what PyTorch's counter calls FLOPs."""
        with self._quietly():
            return _count_macs(lambda: self(self._image(), Needs()))

    def _watch_embedding(self, seen: list[Tensor]) -> Callable[[], None]:
        """The classifier's input is the embedding, whatever the head does before it."""
        classifier = self._head()
        if not isinstance(classifier, nn.Module) or isinstance(classifier, nn.ModuleList):
            raise TypeError("the network has several classifiers")
        return classifier.register_forward_pre_hook(lambda _, inputs: seen.append(_vector(inputs[0]))).remove

    def _head(self) -> Any:
        """The layer that makes the logits, also where timm names the head around it."""
        classifier = self.network.get_classifier()
        return getattr(classifier, "fc", classifier)

    def _probe(self) -> Shapes:
        """Finds out by small forward passes what can be tapped, and with which shapes."""
        maps = self._probe_maps()
        output = self(self._image(), Needs())
        logits = tuple(output.logits.shape[1:])
        try:
            embedding = self(self._image(), Needs(embedding=True)).embedding
        except (AttributeError, TypeError) as error:
            self.notes["embedding"] = str(error)
            embedding = None
        else:
            if embedding is None or embedding.dim() != 2:
                self.notes["embedding"] = "the classifier does not take one vector per image"
                embedding = None
        if embedding is None:
            self.notes["classifier"] = self.notes["pooled"] = "there is no embedding"
            return Shapes(logits, (), maps)
        self.shapes = Shapes(logits, tuple(embedding.shape[1:]), maps)
        linear = self.classifier() is not None
        if not linear:
            self.notes["classifier"] = "it is not a linear layer"
        return Shapes(logits, self.shapes.embedding, maps, self._probe_pooled(embedding), linear)

    def _probe_pooled(self, embedding: Tensor) -> tuple[int, ...]:
        """Finds out whether the embedding is the average of the map that the head takes, and that map's axes."""
        if self._route is not None and self.stages and not embedding.is_meta:
            last = self._route(self.network, self.prepared(self._image()), self.stages, False).last
            for axes in ((0, 1, 2, 3), (0, 3, 1, 2)):  # NCHW, and NHWC
                if last is not None and last.dim() == 4:
                    turned = last.permute(axes)
                    mean = turned.mean(dim=(2, 3))
                    if mean.shape == embedding.shape and torch.allclose(mean, embedding, rtol=1e-4, atol=1e-5):
                        self._axes = axes
                        return tuple(turned.shape[1:])
        self.notes["pooled"] = "the embedding is not the average of a map"
        return ()

    def _pooled(self, last: Tensor | None) -> Tensor | None:
        """The map that is averaged into the embedding, as NCHW."""
        return last.permute(self._axes) if last is not None and self._axes else None

    def _probe_maps(self) -> tuple[tuple[int, ...], ...]:
        """Takes the first route to maps that leaves the logits as they are; notes the reasons where there is none."""
        if not any(hasattr(self.network, name) for name in ("forward_intermediates", "feature_info")):
            self.notes["maps"] = "the network has no feature maps"
            return ()
        image = self.prepared(self._image())
        logits = self.network(image)
        reasons = []
        for route in (_by_intermediates, _by_hooks):
            try:
                stages = _chosen([tuple(one.shape) for one in route(self.network, image, None, False).maps])
                found = route(self.network, image, stages, True)
                if not _same(found.logits, logits):
                    raise ValueError("the head makes other logits of the last map than the network does")
            except Exception as error:  # whatever 1,300 models make of it
                reasons.append(first_line(error))
            else:
                self._route, self.stages = route, stages
                return tuple(tuple(one.shape[1:]) for one in found.maps)
        self.notes["maps"] = "; ".join(dict.fromkeys(reasons))
        return ()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Eval mode without gradients; afterwards the mode is as it was."""
        mode = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(mode)

    def _image(self) -> Tensor:
        """One image of noise: in a blank one, two different networks could agree. Draws from no global stream."""
        noise = torch.rand(1, *self.size, generator=torch.Generator("cpu").manual_seed(0), device="cpu")
        return noise.to(self.mean.device)


def _count_macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of what `run` does: half of what PyTorch's counter calls FLOPs."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    # Fused attention is counted on some devices only; as plain matrix products it is counted on all.
    with sdpa_kernel(SDPBackend.MATH), counter:
        run()
    return int(counter.get_total_flops()) // 2


class DeployedModel(nn.Module):
    """A student whose logits come from a head that its method brought; otherwise it is used as a tapped model is.

    head: takes the student's `Output`, as far as `needs` asks for it, and gives logits.
    """

    def __init__(self, student: TappedModel, head: nn.Module, needs: Needs):
        super().__init__()
        self.student, self.head, self.needs = student, head, needs
        self.size: tuple[int, ...] = student.size
        self.mean: Tensor = student.mean

    def forward(self, images: Tensor, needs: Needs) -> Output:
        """Logits alone.  images: float32 [N, C, H, W] in [0, 1]."""
        return Output(self.head(self.student(images, self.needs)))

    def parameter_count(self) -> int:
        """How many numbers the student learns, and those of the head, whether learned or taken from the teacher."""
        extra = sum(int(value.numel()) for value in self.head.state_dict().values())
        return self.student.parameter_count() + extra

    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image."""
        mode = self.training
        self.eval()
        image = torch.zeros(1, *self.size, device=self.mean.device)
        with torch.no_grad():
            found = _count_macs(lambda: self(image, Needs()))
        self.train(mode)
        return found


Evaluated = TappedModel | DeployedModel
"""What is measured and tested."""


def create(network: Network, where: str, size: tuple[int, ...], classes: int) -> nn.Module:
    """A timm model for a batch of images of `size` (C, H, W): pretrained, or fresh from torch's global stream.

    where: the network's place in the study, for the message. Raises InputError if timm has no such model or weights,
    or refuses.
    """
    name = network.model
    if not _timm().is_model(name):
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`timm.list_models()` lists what there is"
        raise InputError(f"{where}: timm has no model {name!r}; {hint}")
    for key, owner in RESERVED.items():
        if key in network.kwargs:
            raise InputError(f"{where}.kwargs.{key}: is set by {owner}; leave it out")
    if "pretrained_cfg_overlay" in network.kwargs and not network.pretrained:
        raise InputError(f"{where}.kwargs.pretrained_cfg_overlay: has no effect without `pretrained: true`")
    try:
        return _made(network, _seen(size, network.image_size), classes)
    except Exception as error:  # whatever 1,300 models make of wrong arguments
        wanted, remedy = f"with {network.kwargs}", ""
        if network.pretrained:
            wanted = f"from pretrained weights {wanted}"
            remedy = "; train it without `pretrained`, or name a file: kwargs.pretrained_cfg_overlay: {file: ...}"
        raise InputError(f"{where}: timm cannot make {name!r} {wanted}: {first_line(error)}{remedy}") from error


def tapped(
    network: Network, where: str, size: tuple[int, ...], classes: int, mean: Sequence[float], std: Sequence[float]
) -> TappedModel:
    """`create`, tapped, with a normalisation of its own where it has one.

    mean, std: of the data set's training images. Raises InputError if the model cannot take images of this size.
    """
    made = create(network, where, size, classes)
    seen = _seen(size, network.image_size)
    colours = _colours(network, made, where, size[0]) or (mean, std)
    try:
        model = TappedModel(made, size, *colours, network.image_size)
        if model.shapes.logits != (classes,):
            raise ValueError(f"it gives {model.shapes.logits} per image where {classes} logits are expected")
    except (AssertionError, AttributeError, IndexError, RuntimeError, ValueError, TypeError) as error:
        shape, known = "x".join(map(str, seen)), "x".join(map(str, _config(network).input_size))
        reason = f"cannot take images of {shape}: {first_line(error)}; it was made for {known}, see image_size"
        raise InputError(f"{where}: {network.model!r} {reason}") from error
    return model


def names(pattern: str = "*") -> list[str]:
    """Names of the models that match, where `*`, `?` and `[...]` stand for letters: timm's, and this package's own."""
    found: list[str] = _timm().list_models(pattern)
    return found


def head_is_pretrained(network: Network, classes: int) -> bool:
    """Whether the pretrained weights' classes are as many as the data set's, so that timm keeps their head."""
    try:
        return network.pretrained and bool(_config(network).num_classes == classes)
    except Exception:  # a tag or an overlay that timm does not know; `create` says so
        return False


def has_fixed_size(network: Network) -> bool:
    """Whether the model is built for one image size, which `create` tells it."""
    return bool(_config(network).fixed_input_size)


def _timm() -> Any:
    """timm, which knows this package's own networks as well."""
    import timm

    import benchmark.zoo  # noqa: F401

    return timm


def _config(network: Network) -> Any:
    """What timm knows of a model and its pretrained weights: `timm.models.PretrainedCfg`."""
    _timm()
    from timm.models import resolve_pretrained_cfg

    given = [network.kwargs.get(key) for key in ("pretrained_cfg", "pretrained_cfg_overlay")]
    return resolve_pretrained_cfg(network.model, *given)


def _made(network: Network, seen: tuple[int, ...], classes: int) -> nn.Module:
    """The model, told the size of the images that it sees, where it is built for one size."""
    sized = {"img_size": seen[1:]} if has_fixed_size(network) else {}
    kwargs = {**sized, **network.kwargs}
    made: nn.Module = _timm().create_model(
        network.model, pretrained=network.pretrained, num_classes=classes, in_chans=seen[0], **kwargs
    )
    return made


def _colours(
    network: Network, made: nn.Module, where: str, channels: int
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and deviation that the study or the pretrained weights give. Raises InputError for other channels."""
    mean, std = network.mean, network.std
    if mean is None and network.pretrained:
        config: Any = made.pretrained_cfg
        mean, std = config["mean"], config["std"]
    if mean is None or std is None:
        return None
    for key, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise InputError(f"{where}.{key}: has {len(values)} values, but the images have {channels} channels")
    return mean, std


def _seen(size: tuple[int, ...], image_size: int | None) -> tuple[int, ...]:
    """Shape (C, H, W) of what a network sees of images of `size`."""
    return size if image_size is None else (size[0], image_size, image_size)


def _vector(taken: Tensor) -> Tensor:
    """A map of one position, which classifiers that are 1x1 convolutions take, is a vector."""
    return taken.flatten(1) if taken.dim() == 4 and taken.shape[2:] == (1, 1) else taken


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether all bits agree; on the meta device, where there are none, whether the shapes do."""
    return one.shape == other.shape and (one.is_meta or torch.equal(one, other))


def _chosen(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """The stages to tap: the last map of each size, or evenly spaced ones where all have the same size.

    shapes: of all maps, [N, C, H, W]. Raises ValueError where one is no map, or there is none.
    """
    for shape in shapes:
        if len(shape) != 4:
            raise ValueError(f"a tap of shape {shape} is not a map")
    if not shapes:
        raise ValueError("the network names no stages")
    by_size = {shape[2:]: place for place, shape in enumerate(shapes)}
    if len(by_size) > 1:
        return sorted(by_size.values())[-MAX_STAGES:]
    count = min(MAX_STAGES, len(shapes))
    return [len(shapes) * (n + 1) // count - 1 for n in range(count)]


def _by_intermediates(network: Any, images: Tensor, stages: Sequence[int] | None, before: bool) -> Taps:
    """The route that timm offers: it gives the last map and the stages', and the head makes the logits."""
    if before and stages is not None and hasattr(network, "forward_taps"):  # the zoo's own nets
        last, maps, early = network.forward_taps(images, stages)
    else:
        last, maps = network.forward_intermediates(images, indices=stages, output_fmt="NCHW")
        early = maps
    return Taps(network.forward_head(last), maps, early, last if isinstance(last, Tensor) else None)  # CoaT: a list


def _by_hooks(network: Any, images: Tensor, stages: Sequence[int] | None, before: bool) -> Taps:
    """The other route: the network runs as ever, and the modules that `feature_info` names are watched."""
    every = getattr(network.feature_info, "info", network.feature_info)
    features = every if stages is None else [every[stage] for stage in stages]
    seen: dict[int, Tensor] = {}
    handles = [_watch(network, feature, place, seen) for place, feature in enumerate(features)]
    try:
        logits = network(images)
    finally:
        for handle in handles:
            handle.remove()
    unused = [feature["module"] for place, feature in enumerate(features) if place not in seen]
    if unused:
        raise ValueError(f"the network does not call its {unused[0]!r}")
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
    maps = [_nchw(seen[place], feature["num_chs"], channels_last) for place, feature in enumerate(features)]
    return Taps(logits, maps, maps)


def _watch(network: nn.Module, feature: Any, place: int, seen: dict[int, Tensor]) -> Any:
    """Writes what a module gives, or takes (`hook_type`), into `seen` at `place`.  -> the hook's handle."""
    module = network.get_submodule(feature["module"])

    def note(_: nn.Module, inputs: Any, output: Any = None) -> None:
        tap = inputs if output is None else output
        seen[place] = tap[0] if isinstance(tap, tuple | list) else tap

    if feature.get("hook_type") == "forward_pre":
        return module.register_forward_pre_hook(note)
    return module.register_forward_hook(note)


def _nchw(tap: Tensor, channels: int, last: bool) -> Tensor:
    """A map with its channels, of which there are so many, at axis 1; `last` decides where both axes could be meant."""
    if tap.dim() != 4:
        return tap
    axes = [axis for axis in ((3, 1) if last else (1, 3)) if tap.shape[axis] == channels]
    if not axes:
        raise ValueError(f"a tap of shape {tuple(tap.shape)} has no axis of {channels} channels")
    return tap if axes[0] == 1 else tap.permute(0, 3, 1, 2).contiguous()
