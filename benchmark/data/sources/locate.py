"""Where images come from: a name in a study -> the training and test images of a data set, decoded one at a time.

`digits` needs no files. `torch/<name>` is torchvision's and `hfds/<name>` a Hugging Face data set, from a folder or the
hub, both through timm. `folder/<path>` holds a folder per class under `train` and `test`, `validation` or `val`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from benchmark.data.sources.base import Located
from benchmark.data.sources.digits import digits
from benchmark.data.sources.folders import folder
from benchmark.data.sources.huggingface import hugging_face
from benchmark.data.sources.torchvision import TORCH, torch_data
from benchmark.errors import InputError
from benchmark.study.schema import Dataset


def locate(dataset: Dataset) -> Located:
    """The data set of a study. Raises InputError for a name that is none, or a folder that is missing."""
    kind, _, rest = dataset.name.partition("/")
    if dataset.name == "digits":
        return Located(None, lambda _: digits())
    if kind in SOURCES and rest:
        if dataset.train_split is not None and dataset.train_split == dataset.test_split:
            raise InputError(
                f"dataset: train_split and test_split are both {dataset.train_split!r}"
            )
        return SOURCES[kind](dataset, rest)
    near = difflib.get_close_matches(
        dataset.name, ["digits", *(f"torch/{name}" for name in TORCH)], n=1
    )
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else "there are digits, torch/<name>, hfds/<name> and folder/<path>"
    )
    raise InputError(f"dataset: no data set {dataset.name!r}; {hint}")


SOURCES: dict[str, Callable[[Dataset, str], Located]] = {
    "torch": torch_data,
    "hfds": hugging_face,
    "folder": folder,
}
