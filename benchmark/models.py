"""Any timm model as a tapped model: logits, pooled embedding and stage maps from one forward pass.

A tapped model normalises for itself, so teacher and student can share a batch and still see what each was made for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import InputError, first_line
from benchmark.study import Network
from methods import Needs, Output, Shapes

MAX_STAGES = 4
"""So many stage maps are tapped at most, counted from the deepest."""

RESERVED = {"num_classes": "the data set", "in_chans": "the data set", "features_only": "the engine"}


class TappedModel(nn.Module):
    """A timm network that normalises its input and gives what methods ask for.

    network: any timm model for images of `size` (C, H, W). mean, std: per channel, in the range [0, 1].
    `notes` says for `embedding` and `maps` why they cannot be tapped, where they cannot.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, size: tuple[int, ...], mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.network: Any = network
        self.size = size
        self.notes: dict[str, str] = {}
        self.stages: list[int] = []
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.shapes = self._probe()

    def forward(self, images: Tensor, needs: Needs) -> Output:
        """Logits always, the rest as asked for.  images: float32 [N, C, H, W] in [0, 1]."""
        normalised = (images - self.mean) / self.std
        seen: list[Tensor] = []
        remove = self._watch_embedding(seen) if needs.embedding and "embedding" not in self.notes else None
        try:
            if needs.maps and self.stages:
                last, maps = self.network.forward_intermediates(normalised, indices=self.stages, output_fmt="NCHW")
                logits = self.network.forward_head(last)
            else:
                logits, maps = self.network(normalised), []
        finally:
            if remove is not None:
                remove()
        return Output(logits, seen[0] if seen else None, tuple(maps))

    def taps(self) -> Needs:
        """Everything that this network can give."""
        return Needs(logits=True, embedding=bool(self.shapes.embedding), maps=bool(self.shapes.maps))

    def parameter_count(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def macs(self) -> int:
        """Multiply-accumulates of one forward pass of one image: half of what PyTorch's counter calls FLOPs."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        # Fused attention is counted on some devices only; as plain matrix products it is counted on all.
        with sdpa_kernel(SDPBackend.MATH), counter:
            self._quiet_forward(Needs())
        return int(counter.get_total_flops()) // 2

    def _watch_embedding(self, seen: list[Tensor]) -> Callable[[], None]:
        """The classifier's input is the embedding, whatever the head does before it."""
        classifier = self.network.get_classifier()
        if not isinstance(classifier, nn.Module):
            raise TypeError("the network has several classifiers")
        return classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])).remove

    def _probe(self) -> Shapes:
        """Finds out by small forward passes what can be tapped, and with which shapes."""
        maps = self._probe_maps()
        logits = self._quiet_forward(Needs()).logits
        try:
            embedding = self._quiet_forward(Needs(embedding=True)).embedding
        except (AttributeError, TypeError) as error:
            self.notes["embedding"] = str(error)
        else:
            if embedding is not None and embedding.dim() == 2:
                return Shapes(tuple(logits.shape[1:]), tuple(embedding.shape[1:]), maps)
            self.notes["embedding"] = "the classifier does not take one vector per image"
        return Shapes(tuple(logits.shape[1:]), (), maps)

    def _probe_maps(self) -> tuple[tuple[int, ...], ...]:
        """Chooses the stages: the last map of each size, or evenly spaced ones where all have the same size."""
        try:
            with torch.no_grad():
                self.network.eval()
                found = self.network.forward_intermediates(self._blank(), output_fmt="NCHW", intermediates_only=True)
        except (AttributeError, AssertionError, TypeError, ValueError) as error:
            self.notes["maps"] = first_line(error)
            return ()
        shapes = [tuple(one.shape[1:]) for one in found]
        by_size = {shape[1:]: place for place, shape in enumerate(shapes)}
        if len(by_size) > 1:
            self.stages = sorted(by_size.values())[-MAX_STAGES:]
        else:
            count = min(MAX_STAGES, len(shapes))
            self.stages = [len(shapes) * (n + 1) // count - 1 for n in range(count)]
        return tuple(shapes[place] for place in self.stages)

    def _quiet_forward(self, needs: Needs) -> Output:
        """One blank image through the network in eval mode; leaves the mode as it was."""
        mode = self.training
        self.eval()
        with torch.no_grad():
            output: Output = self(self._blank(), needs)
        self.train(mode)
        return output

    def _blank(self) -> Tensor:
        return torch.zeros(1, *self.size, device=self.mean.device)


def create(network: Network, where: str, size: tuple[int, ...], classes: int) -> nn.Module:
    """A timm model with fresh weights from torch's global stream, for images of `size` (C, H, W).

    where: the network's place in the study, for the message. Raises InputError if timm has no such model, or refuses.
    """
    import timm

    name = network.model
    known = timm.list_models() if not timm.is_model(name) else []
    if known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`timm.list_models()` lists what there is"
        raise InputError(f"{where}: timm has no model {name!r}; {hint}")
    for key, owner in RESERVED.items():
        if key in network.kwargs:
            raise InputError(f"{where}.kwargs.{key}: is set by {owner}; leave it out")
    try:
        made: nn.Module = timm.create_model(name, num_classes=classes, in_chans=size[0], **network.kwargs)
    except Exception as error:  # whatever 1,300 models make of wrong arguments
        raise InputError(f"{where}: timm cannot make {name!r} with {network.kwargs}: {first_line(error)}") from error
    return made


def tapped(
    network: Network, where: str, size: tuple[int, ...], classes: int, mean: Sequence[float], std: Sequence[float]
) -> TappedModel:
    """`create`, tapped. Raises InputError if the model cannot take images of this size."""
    made = create(network, where, size, classes)
    try:
        return TappedModel(made, size, mean, std)
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        shape = "x".join(map(str, size))
        raise InputError(f"{where}: {network.model!r} cannot take images of {shape}: {first_line(error)}") from error
