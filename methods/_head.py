"""The head of a network: its classifier, and the embedding that the classifier takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from methods._taps import Classifier


def classifier_layer(network: Any) -> Any:
    """Return the layer that computes the logits, even if timm returns the head around it."""
    classifier = network.get_classifier()
    return getattr(classifier, "fc", classifier)


def linear_classifier(network: Any, embedding: tuple[int, ...]) -> Classifier | None:
    """Return the layer from the embedding to the logits.

    Args:
        network: A timm network.
        embedding: Shape of the embedding without the batch axis.

    Returns:
        The layer's weight and bias; None if the layer is not linear in the embedding.
    """
    layer = classifier_layer(network)
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, nn.Linear | nn.Conv2d) or not isinstance(weight, Tensor):
        return None

    matrix = weight.flatten(1)
    if matrix.shape[1:] != embedding:
        return None

    return Classifier(matrix, layer.bias)


Head = Callable[[Any, Any], tuple[Tensor, Tensor | None]]
"""Computes the logits from the output of `forward_features`, and may return the embedding too."""


def whole_head(network: Any, features: Any) -> tuple[Tensor, None]:
    """Compute the logits with the network's own head."""
    return network.forward_head(features), None


def split_head(network: Any, features: Any) -> tuple[Tensor, Tensor]:
    """Compute the embedding with the network's head, and the logits from it.

    Unlike a hook, this can be compiled, and costs nothing in each forward pass.
    """
    embedding = network.forward_head(features, pre_logits=True)
    return classifier_layer(network)(embedding), embedding


@contextmanager
def watched_embedding(network: Any) -> Iterator[list[Tensor]]:
    """Collect the inputs of the classifier in all forward passes within a `with` block.

    Raises:
        AttributeError: The network does not declare which layer is its classifier.
        TypeError: The network has several classifiers.
    """
    classifier = classifier_layer(network)
    if not isinstance(classifier, nn.Module) or isinstance(classifier, nn.ModuleList):
        raise TypeError("the network has several classifiers")

    embeddings: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(
        lambda _, inputs: embeddings.append(_as_vectors(inputs[0]))
    )
    try:
        yield embeddings
    finally:
        handle.remove()


def _as_vectors(embedding: Tensor) -> Tensor:
    """Flatten 1x1 maps, which are the input of classifiers that are 1x1 convolutions."""
    if embedding.dim() == 4 and embedding.shape[2:] == (1, 1):
        return embedding.flatten(1)

    return embedding
