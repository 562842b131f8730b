"""Sections of the reference for study files, with an example for each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.study.schema import (
    Augmentation,
    ClassFolders,
    Digits,
    HuggingFace,
    Network,
    Optimizer,
    OtherFiles,
    OwnAugmentation,
    OwnData,
    OwnOptimizer,
    OwnSchedule,
    Pair,
    RandAugment,
    Recipe,
    Row,
    Schedule,
    Search,
    Split,
    Strict,
    Teacher,
    Torchvision,
    Tracking,
    TunedSettings,
)
from benchmark.study.study import Study

COMPLETE = """\
name: first-study
question: Does attention transfer help a small student when labels are few?
dataset: digits
split: {val: 0.2, train_samples: 300}
pairs:
  - teacher: {model: resnet18, min_accuracy: 90}
    student: test_byobnet
methods: [student, kd, at]
seeds: [0, 1, 2]
recipe:
  epochs: 12
  batch_size: 32
  optimizer: {name: sgd, lr: 0.05}
"""
"""A complete study. The other examples replace some of its keys."""


@dataclass(frozen=True)
class Section:
    """A section of the reference.

    Attributes:
        title: Heading of the section.
        model: The model whose keys the section lists.
        example: YAML that replaces keys of `COMPLETE`.
    """

    title: str
    model: type[Strict]
    example: str


SECTIONS = (
    Section(
        "The study",
        Study,
        """\
question: Which methods help, at their published settings?
methods: [student, "*"]
select: best_val
""",
    ),
    Section("Digits", Digits, "dataset: digits\n"),
    Section("Torchvision data set", Torchvision, "dataset: torch/cifar100\n"),
    Section(
        "Hugging Face data set",
        HuggingFace,
        """\
# the folder data/uoft-cs/cifar100 or, without it, the data set on the hub;
# a folder by its absolute path has two slashes: hfds//data/cifar100
dataset: {name: hfds/uoft-cs/cifar100, input_key: img, target_key: fine_label}
""",
    ),
    Section(
        "Class folders",
        ClassFolders,
        """\
# data/flowers/train/daisy/1.jpg, data/flowers/test/daisy/2.jpg, ...
dataset:
  name: folder/flowers
  image_size: 224
  loading: streamed
  workers: 8
""",
    ),
    Section("Custom data set", OtherFiles, "dataset: mine/flowers\n"),
    Section(
        "Data set of a plug-in",
        OwnData,
        """\
plugins: [./flowers.py]
dataset: {name: flowers, settings: {petals: 5}, image_size: 32}
""",
    ),
    Section("Split", Split, "split: {val: 0.2, train_samples: 300, test_samples: 200}\n"),
    Section(
        "Pair",
        Pair,
        """\
pairs:
  - {teacher: resnet34, student: resnet18}
  - {name: wide, teacher: wide_resnet50_2, student: resnet18}
""",
    ),
    Section(
        "Teacher",
        Teacher,
        """\
pairs:
  - teacher:
      model: resnet18
      min_accuracy: 90
      recipe: {epochs: 40, schedule: {name: cosine, warmup_epochs: 1}}
    student: test_byobnet
""",
    ),
    Section(
        "Network",
        Network,
        """\
pairs:
  - teacher: {model: resnet18, kwargs: {channels: [32, 64, 128, 256]}}
    student: {model: cifar_resnet8, image_size: 16, mean: [0.5], std: [0.25]}
""",
    ),
    Section(
        "Row",
        Row,
        """\
methods:
  - student
  - kd
  - {name: kd-warm, method: kd, settings: {temperature: 8}}
  - {name: kd-long, method: kd, recipe: {epochs: 24, optimizer: {lr: 0.1}}}
  - {method: kd+at, settings: {at: {beta: 500}}}
""",
    ),
    Section(
        "Tuned settings",
        TunedSettings,
        """\
methods:
  - student
  - name: kd (tuned)
    method: kd
    found: {resnet18-test_byobnet: {settings: {temperature: 6.5}, lr: 0.1}}
    trials: 20
""",
    ),
    Section(
        "Recipe",
        Recipe,
        """\
recipe:
  epochs: 240
  batch_size: 64
  optimizer: {name: sgd, lr: 0.05, weight_decay: 5e-4}
  schedule: {name: step, milestones: [150, 180, 210]}
  augmentation: {crop_padding: 4, flip: true}
  ema: 0.999
  clip_norm: 5
""",
    ),
    Section("Optimizer", Optimizer, "recipe: {epochs: 12, optimizer: {name: adamw, lr: 1e-3}}\n"),
    Section(
        "Optimizer of a plug-in",
        OwnOptimizer,
        """\
plugins: [./parts.py]
recipe:
  epochs: 12
  optimizer: {name: nadam, lr: 1e-3, settings: {decay: 0.01}}
""",
    ),
    Section(
        "Schedule",
        Schedule,
        """\
recipe:
  epochs: 240
  schedule: {name: step, milestones: [150, 180, 210], gamma: 0.1, warmup_epochs: 5}
""",
    ),
    Section(
        "Schedule of a plug-in",
        OwnSchedule,
        """\
plugins: [./parts.py]
recipe:
  epochs: 240
  schedule: {name: stable_decay, warmup_epochs: 5, settings: {decay: 0.1}}
""",
    ),
    Section(
        "Augmentation",
        Augmentation,
        "recipe: {epochs: 12, augmentation: {crop_padding: 4, flip: true, cutout: 8}}\n",
    ),
    Section(
        "Augmentation of a plug-in",
        OwnAugmentation,
        """\
plugins: [./parts.py]
recipe:
  epochs: 12
  augmentation: {flip: true, own: [{name: noise, settings: {deviation: 0.1}}]}
""",
    ),
    Section(
        "RandAugment",
        RandAugment,
        "recipe: {epochs: 12, augmentation: {randaugment: {operations: 2, magnitude: 9}}}\n",
    ),
    Section(
        "Search",
        Search,
        """\
search:
  trials: 20
  seeds: [1000, 1001]
  lr: [0.01, 0.2]
  sampler: tpe
  pruner: median
""",
    ),
    Section("Tracking", Tracking, "tracking: {experiment: kd/first, uri: http://localhost:5000}\n"),
)
