"""Networks by name: timm's and the zoo's."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from torch import nn

from benchmark.errors import InputError, first_line
from benchmark.models.tapped import TappedModel, seen_size
from benchmark.study.schema import Network

RESERVED = {
    "num_classes": "the data set",
    "in_chans": "the data set",
    "features_only": "the engine",
}


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
        raise InputError(
            f"{where}.kwargs.pretrained_cfg_overlay: has no effect without `pretrained: true`"
        )
    try:
        return _made(network, seen_size(size, network.image_size), classes)
    except Exception as error:  # whatever 1,300 models make of wrong arguments
        wanted, remedy = f"with {network.kwargs}", ""
        if network.pretrained:
            wanted = f"from pretrained weights {wanted}"
            remedy = "; train it without `pretrained`, or name a file: kwargs.pretrained_cfg_overlay: {file: ...}"
        raise InputError(
            f"{where}: timm cannot make {name!r} {wanted}: {first_line(error)}{remedy}"
        ) from error


def tapped(
    network: Network,
    where: str,
    size: tuple[int, ...],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> TappedModel:
    """`create`, tapped, with a normalisation of its own where it has one.

    mean, std: of the data set's training images. Raises InputError if the model cannot take images of this size.
    """
    made = create(network, where, size, classes)
    seen = seen_size(size, network.image_size)
    colours = _colours(network, made, where, size[0]) or (mean, std)
    try:
        model = TappedModel(made, size, *colours, network.image_size)
        if model.shapes.logits != (classes,):
            raise ValueError(
                f"it gives {model.shapes.logits} per image where {classes} logits are expected"
            )
    except (
        AssertionError,
        AttributeError,
        IndexError,
        RuntimeError,
        ValueError,
        TypeError,
    ) as error:
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

    import benchmark.models.zoo  # noqa: F401

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
        network.model,
        pretrained=network.pretrained,
        num_classes=classes,
        in_chans=seen[0],
        **kwargs,
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
            raise InputError(
                f"{where}.{key}: has {len(values)} values, but the images have {channels} channels"
            )
    return mean, std
