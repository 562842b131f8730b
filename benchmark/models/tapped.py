"""Any timm model as a tapped model: logits, pooled embedding and stage maps from one forward pass.

A tapped model resizes and normalises for itself, so teacher and student can share a batch and still see what each was
made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import first_line
from benchmark.models.routes import Route, Taps, by_hooks, by_intermediates, chosen, same
from methods import Classifier, Needs, Output, Shapes


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
        self.register_buffer(
            "mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False
        )
        with self._quietly():
            self.shapes = self._probe()

    def forward(self, images: Tensor, needs: Needs) -> Output:
        """Logits always, the rest as asked for.  images: float32 [N, C, H, W] in [0, 1]."""
        prepared = self.prepared(images)
        seen: list[Tensor] = []
        remove = (
            self._watch_embedding(seen)
            if needs.embedding and "embedding" not in self.notes
            else None
        )
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
        wanted = seen_size(self.size, self.image_size)[1:]
        if self.image_size is not None and images.shape[2:] != wanted:
            images = F.interpolate(
                images, wanted, mode="bilinear", align_corners=False, antialias=True
            )
        return (images - self.mean) / self.std

    def taps(self) -> Needs:
        """Everything that this network can give."""
        maps, embedding = bool(self.shapes.maps), bool(self.shapes.embedding)
        pooled, classifier = bool(self.shapes.pooled), self.shapes.classifier
        return Needs(
            True, embedding, maps, preactivations=maps, pooled=pooled, classifier=classifier
        )

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
            return count_macs(lambda: self(self._image(), Needs()))

    def _watch_embedding(self, seen: list[Tensor]) -> Callable[[], None]:
        """The classifier's input is the embedding, whatever the head does before it."""
        classifier = self._head()
        if not isinstance(classifier, nn.Module) or isinstance(classifier, nn.ModuleList):
            raise TypeError("the network has several classifiers")
        return classifier.register_forward_pre_hook(
            lambda _, inputs: seen.append(_vector(inputs[0]))
        ).remove

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
                    if mean.shape == embedding.shape and torch.allclose(
                        mean, embedding, rtol=1e-4, atol=1e-5
                    ):
                        self._axes = axes
                        return tuple(turned.shape[1:])
        self.notes["pooled"] = "the embedding is not the average of a map"
        return ()

    def _pooled(self, last: Tensor | None) -> Tensor | None:
        """The map that is averaged into the embedding, as NCHW."""
        return last.permute(self._axes) if last is not None and self._axes else None

    def _probe_maps(self) -> tuple[tuple[int, ...], ...]:
        """Takes the first route to maps that leaves the logits as they are; notes the reasons where there is none."""
        if not any(
            hasattr(self.network, name) for name in ("forward_intermediates", "feature_info")
        ):
            self.notes["maps"] = "the network has no feature maps"
            return ()
        image = self.prepared(self._image())
        logits = self.network(image)
        reasons = []
        for route in (by_intermediates, by_hooks):
            try:
                stages = chosen(
                    [tuple(one.shape) for one in route(self.network, image, None, False).maps]
                )
                found = route(self.network, image, stages, True)
                if not same(found.logits, logits):
                    raise ValueError(
                        "the head makes other logits of the last map than the network does"
                    )
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
        noise = torch.rand(
            1, *self.size, generator=torch.Generator("cpu").manual_seed(0), device="cpu"
        )
        return noise.to(self.mean.device)


def count_macs(run: Callable[[], object]) -> int:
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
            found = count_macs(lambda: self(image, Needs()))
        self.train(mode)
        return found


Evaluated = TappedModel | DeployedModel
"""What is measured and tested."""


def seen_size(size: tuple[int, ...], image_size: int | None) -> tuple[int, ...]:
    """Shape (C, H, W) of what a network sees of images of `size`."""
    return size if image_size is None else (size[0], image_size, image_size)


def _vector(taken: Tensor) -> Tensor:
    """A map of one position, which classifiers that are 1x1 convolutions take, is a vector."""
    return taken.flatten(1) if taken.dim() == 4 and taken.shape[2:] == (1, 1) else taken
