"""Strict models of the parts of a study file: unknown keys are errors, no values are converted."""

from benchmark.study.schema.base import Name, Seed, Shorthand, Strict, short_repr
from benchmark.study.schema.dataset import (
    TORCHVISION,
    ClassFolders,
    Dataset,
    Digits,
    FileDataset,
    HuggingFace,
    OtherFiles,
    OwnData,
    Split,
    Torchvision,
    check_dataset,
    make_dataset,
    stored_dataset,
)
from benchmark.study.schema.network import Network, Pair, Teacher
from benchmark.study.schema.recipe import Augmentation, Optimizer, RandAugment, Recipe
from benchmark.study.schema.row import Row, TunedSettings
from benchmark.study.schema.schedule import Schedule
from benchmark.study.schema.search import Search
from benchmark.study.schema.tracking import Tracking

__all__ = [
    "TORCHVISION",
    "Augmentation",
    "ClassFolders",
    "Dataset",
    "Digits",
    "FileDataset",
    "HuggingFace",
    "Name",
    "Network",
    "Optimizer",
    "OtherFiles",
    "OwnData",
    "Pair",
    "RandAugment",
    "Recipe",
    "Row",
    "Schedule",
    "Search",
    "Seed",
    "Shorthand",
    "Split",
    "Strict",
    "Teacher",
    "Torchvision",
    "Tracking",
    "TunedSettings",
    "check_dataset",
    "make_dataset",
    "short_repr",
    "stored_dataset",
]
