"""Creates networks by name, from timm and from the zoo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from benchmark.errors import InputError, first_line, suggest
from benchmark.models.tapped import TappedModel, seen_size
from benchmark.study.schema import Network

RESERVED = {
    "num_classes": "is set by the data set",
    "in_chans": "is set by the data set",
    "features_only": "is not supported",
}
"""timm arguments that a study must not set, each with the reason."""


def create(network: Network, where: str, size: tuple[int, ...], classes: int) -> nn.Module:
    """Create a timm model, pretrained or with fresh weights from torch's global generator.

    Args:
        network: The network's section of the study.
        where: Key of the network in the study, for messages.
        size: Shape of the images in a batch, (C, H, W).
        classes: Number of classes.

    Raises:
        InputError: timm has no such model or weights, or rejects the arguments.
    """
    name = network.model
    if not _timm().is_model(name):
        raise InputError(f"{where}: timm has no model {name!r}; {_suggested(name)}")

    _check_arguments(network, where)
    try:
        return _create(network, seen_size(size, network.image_size), classes)
    except Exception as error:  # timm's 1,300 models raise errors of many kinds
        source = f"with {network.kwargs}"
        remedy = ""
        if network.pretrained:
            source = f"from pretrained weights {source}"
            remedy = (
                "; train it without `pretrained`, or name a file: "
                "kwargs.pretrained_cfg_overlay: {file: ...}"
            )
        raise InputError(
            f"{where}: timm cannot create {name!r} {source}: {first_line(error)}{remedy}"
        ) from error


def tapped(
    network: Network,
    where: str,
    size: tuple[int, ...],
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> TappedModel:
    """Create a timm model, wrapped to return taps.

    Args:
        network: The network's section of the study.
        where: Key of the network in the study, for messages.
        size: Shape of the images in a batch, (C, H, W).
        classes: Number of classes.
        mean: Mean of the data set's training images per channel, used unless the network has
            its own normalisation.
        std: Standard deviation of the same images per channel.

    Raises:
        InputError: The model cannot be created, or cannot take images of this size.
    """
    model = create(network, where, size, classes)
    normalisation = _own_normalisation(network, model, where, size[0]) or (mean, std)
    try:
        tapped_model = TappedModel(model, size, *normalisation, network.image_size)
        if tapped_model.shapes.logits != (classes,):
            raise ValueError(
                f"its output per image is {tapped_model.shapes.logits}, but {classes} logits "
                "are expected"
            )
    except (
        AssertionError,
        AttributeError,
        IndexError,
        RuntimeError,
        ValueError,
        TypeError,
    ) as error:
        seen = _shape(seen_size(size, network.image_size))
        native = _shape(_config(network).input_size)
        raise InputError(
            f"{where}: {network.model!r} cannot take images of {seen}: {first_line(error)}; "
            f"it was designed for {native}; set image_size"
        ) from error

    return tapped_model


def names(pattern: str = "*") -> list[str]:
    """Return the names of all models that match a pattern with `*`, `?` and `[...]`."""
    matches: list[str] = _timm().list_models(pattern)
    return matches


def definition(network: Network) -> Callable[..., nn.Module] | None:
    """Return the function that creates a network; None if it is part of timm itself."""
    from timm.models import model_entrypoint

    if not _timm().is_model(network.model):
        return None
    function: Callable[..., nn.Module] = model_entrypoint(network.model)
    return None if function.__module__.startswith("timm.") else function


def _suggested(name: str) -> str:
    """Return a hint for a misspelt model name, such as `resnet8`, which lacks the prefix."""
    if _timm().is_model(f"cifar_{name}"):
        return f"did you mean 'cifar_{name}'?"
    return suggest(name, names(), fallback="search with `kdbench models PATTERN`")


def head_is_pretrained(network: Network, classes: int) -> bool:
    """Return whether timm keeps the pretrained head, which requires the same number of classes."""
    try:
        return network.pretrained and bool(_config(network).num_classes == classes)
    except Exception:  # unknown tag or invalid overlay; `create` reports it
        return False


def has_fixed_size(network: Network) -> bool:
    """Return whether the model is built for one image size, which `create` sets."""
    return bool(_config(network).fixed_input_size)


def _timm() -> Any:
    """Import timm and register the zoo's networks in it."""
    import timm

    import benchmark.models.zoo  # noqa: F401

    return timm


def _config(network: Network) -> Any:
    """Return timm's configuration of a model and its pretrained weights, a `PretrainedCfg`."""
    _timm()
    from timm.models import resolve_pretrained_cfg

    config = network.kwargs.get("pretrained_cfg")
    overlay = network.kwargs.get("pretrained_cfg_overlay")
    return resolve_pretrained_cfg(network.model, config, overlay)


def _check_arguments(network: Network, where: str) -> None:
    """Reject keyword arguments that the study must not set."""
    for key, reason in RESERVED.items():
        if key in network.kwargs:
            raise InputError(f"{where}.kwargs.{key}: {reason}; leave it out")

    if "pretrained_cfg_overlay" in network.kwargs and not network.pretrained:
        raise InputError(
            f"{where}.kwargs.pretrained_cfg_overlay: has no effect without `pretrained: true`; "
            "set that or leave it out"
        )


def _create(network: Network, seen: tuple[int, ...], classes: int) -> nn.Module:
    """Create the model, with its input size (C, H, W) if it is built for one size."""
    size = {"img_size": seen[1:]} if has_fixed_size(network) else {}
    model: nn.Module = _timm().create_model(
        network.model,
        pretrained=network.pretrained,
        num_classes=classes,
        in_chans=seen[0],
        **{**size, **network.kwargs},
    )
    return model


def _own_normalisation(
    network: Network, model: nn.Module, where: str, channels: int
) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return the mean and deviation that the study or the pretrained weights set, if any."""
    mean, std = network.mean, network.std
    if mean is None and network.pretrained:
        config: Any = model.pretrained_cfg
        mean, std = config["mean"], config["std"]
    if mean is None or std is None:
        return None

    for key, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise InputError(
                f"{where}.{key}: has {len(values)} values, but the images have {channels} channels"
            )

    return mean, std


def _shape(shape: Sequence[int]) -> str:
    """Format a shape, such as 3x32x32."""
    return "x".join(map(str, shape))
