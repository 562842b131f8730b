"""A valid study file, and functions that change it and load it."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from benchmark.errors import InputError
from benchmark.study.study import Study, load

GOOD = """\
name: first
question: Which one?
dataset: digits
split: {val: 0.2, train_samples: 300, seed: 1}
pairs:
  - teacher: {model: resnet14, recipe: {epochs: 4}, seed: 2, min_accuracy: 90}
    student: resnet8
  - {name: same, teacher: resnet8, student: {model: resnet8, kwargs: {drop: 0.1}}}
methods:
  - student
  - {name: warm, method: kd, settings: {temperature: 2}}
  - {method: kd+at, settings: {at: {beta: 500}}}
seeds: [3, 1]
recipe:
  epochs: 10
  batch_size: 32
  optimizer: {name: sgd, lr: 5e-2, weight_decay: 5e-4}
  schedule: {name: step, milestones: [4, 8], warmup_epochs: 1}
  augmentation: {crop_padding: 2, flip: true}
select: best_val
tracking: {experiment: mine}
"""


def changed(old: str, new: str) -> str:
    """Return the study file with one change."""
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def load_text(file: Path, text: str = GOOD) -> Study:
    """Write a study file and load it."""
    file.write_text(text)
    return load(file, methods)


def refused(file: Path, text: str) -> list[str]:
    """Return the lines of the error message for a study file, without the name of the file."""
    with pytest.raises(InputError) as error:
        load_text(file, text)
    return str(error.value).replace(f"{file}:", "").splitlines()
