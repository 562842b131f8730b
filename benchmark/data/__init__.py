"""Data sets -> splits -> batches on the device. Test images stay sealed until a cell is finished.

A source (`sources`) is read once and described by its facts (`cache`), divided (`split`), and handed out in batches:
from the device's memory (`resident`) or decoded whenever they are needed (`streamed`). Images of a batch are augmented
(`augmentation`) and mixed (`mixing`); each network normalises for itself.
"""

from __future__ import annotations

from benchmark.data.dataset import Data
from benchmark.data.images import Images, Loaded
from benchmark.data.resident import Resident
from benchmark.data.split import stratified

__all__ = ["Data", "Images", "Loaded", "Resident", "stratified"]
