"""Where images come from: a name in a study -> the training and test images of a data set, decoded one at a time.

`digits` needs no files. `torch/<name>` is torchvision's and `hfds/<name>` a Hugging Face data set, from a folder or the
hub, both through timm. `folder/<path>` holds a folder per class under `train` and `test`, `validation` or `val`.
"""

from __future__ import annotations

from benchmark.data.sources.base import Located
from benchmark.data.sources.digits import digits
from benchmark.data.sources.folders import folder
from benchmark.data.sources.huggingface import hugging_face
from benchmark.data.sources.torchvision import torch_data
from benchmark.errors import InputError
from benchmark.study.schema import ClassFolders, Dataset, Digits, HuggingFace, Torchvision


def locate(dataset: Dataset) -> Located:
    """The data set of a study. Raises InputError for a folder that is missing."""
    if isinstance(dataset, Digits):
        return Located(None, lambda _: digits())

    if dataset.train_split is not None and dataset.train_split == dataset.test_split:
        raise InputError(f"dataset: train_split and test_split are both {dataset.train_split!r}")

    name = dataset.name.partition("/")[2]
    match dataset:
        case Torchvision():
            return torch_data(dataset)
        case HuggingFace():
            return hugging_face(dataset, name)
        case ClassFolders():
            return folder(dataset, name)
