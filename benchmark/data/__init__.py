"""Data sets, split and read in batches on the device. Test inputs are sealed during training.

A source (`sources`) is read once and described by its facts (`cache`), split (`split`), and read
in batches: from memory (`resident`) or from its files (`streamed`). Batches are augmented
(`augmentation`, `randaugment` with its `operations`) and mixed (`mixing`). Each network resizes and
normalises its inputs itself.
"""

from __future__ import annotations

from benchmark.data.dataset import Data
from benchmark.data.inputs import Inputs, Loaded
from benchmark.data.resident import Resident
from benchmark.data.split import stratified

__all__ = ["Data", "Inputs", "Loaded", "Resident", "stratified"]
