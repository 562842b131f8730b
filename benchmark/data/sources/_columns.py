"""Checks the columns of a Hugging Face data set before any image is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def column_problems(name: str, features: Any, input_key: str, target_key: str) -> list[str]:
    """Return what is wrong with the columns of images and labels, a line per problem.

    Args:
        name: Name of the data set, for messages.
        features: Type of each column, a `datasets.Features`.
        input_key: Name of the column of images.
        target_key: Name of the column of labels.
    """
    problems = []
    if input_key not in features:
        remedy = _remedy("input_key", _typed(features, _is_image) or list(features))
        problems.append(f"dataset: {name} has no column {input_key!r}; {remedy}")
    elif not _may_be_image(features[input_key]):
        held = _kind(features[input_key])
        remedy = _remedy("input_key", _typed(features, _is_image))
        problems.append(
            f"dataset: {name}: column {input_key!r} contains no images but {held}; {remedy}"
        )

    if target_key not in features:
        remedy = _remedy("target_key", _typed(features, _is_label) or list(features))
        problems.append(f"dataset: {name} has no column {target_key!r}; {remedy}")
    elif not _is_label(features[target_key]):
        held = _kind(features[target_key])
        remedy = _remedy("target_key", _typed(features, _is_label))
        problems.append(
            f"dataset: {name}: column {target_key!r} contains {held}; labels must be integers "
            f"counted from 0; {remedy}"
        )
    return problems


def _remedy(key: str, names: Sequence[str]) -> str:
    return f"set {key} to one of {', '.join(names)}" if names else f"set {key}"


def _typed(features: Any, is_wanted: Any) -> list[str]:
    return [name for name, feature in features.items() if is_wanted(feature)]


def _is_image(feature: Any) -> bool:
    import datasets

    return isinstance(feature, datasets.Image)


def _may_be_image(feature: Any) -> bool:
    """Return whether the library can turn a column into images: files, their paths or contents."""
    if isinstance(feature, dict):
        return {"bytes", "path"} <= feature.keys()
    text = ("binary", "large_binary", "string", "large_string")
    return _is_image(feature) or getattr(feature, "dtype", "") in text


def _is_label(feature: Any) -> bool:
    import datasets

    is_number = "int" in str(getattr(feature, "dtype", ""))
    return isinstance(feature, datasets.ClassLabel | datasets.Value) and is_number


def _kind(feature: Any) -> str:
    """Describe the content of a column."""
    import datasets

    if _is_image(feature):
        return "images"
    if isinstance(feature, datasets.ClassLabel):
        return "classes"
    if isinstance(feature, datasets.Value):
        return f"values of type {feature.dtype}"
    return "structured values"
