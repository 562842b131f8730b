"""Writes the page of all methods: a summary of each, and the kinds of pairs it supports.

A method supports a pair if it can take a real training step on that pair.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import methods
from benchmark import seeds
from benchmark.cli import method_cards
from benchmark.data import Data
from benchmark.markdown_text import Markdown, inline, table
from benchmark.models.create import tapped
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Network, Recipe, Split, make_dataset
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from benchmark.training.writing import Writer
from methods import Method

RECIPE = Recipe(epochs=2, batch_size=16)

INTRODUCTION = """\
# Methods

{count} methods, controls and wrappers. `kdbench methods --page FILE.md` writes this page, and
`kdbench methods NAME` shows one method.

The column "defaults from" says whose settings the defaults are. They are called published only if
the authors' own paper or code has them, for the data or the pair that is named. Where that is not
known, they come from public code of others, or were chosen here.
"""

SETTINGS = "Settings:"
"""Start of the paragraph of a method's description that says where its defaults come from."""

WHERE = """\
## Supported pairs

Each method took one training step on each pair: `+` means that it ran; a number refers to the
reason below why it does not run.
"""


@dataclass(frozen=True)
class ReferencePair:
    """A kind of pair, and two small networks of that kind."""

    name: str
    teacher: Network
    student: Network

    def __str__(self) -> str:
        return f"{self.teacher.model} -> {self.student.model}"


def _pair(name: str, teacher: str, student: str) -> ReferencePair:
    return ReferencePair(name, _network(teacher), _network(student))


def _network(model: str) -> Network:
    """Return a network by name. Networks not made for small images get larger images."""
    small = model.startswith(("cifar_", "row_"))
    return Network(model=model) if small else Network(model=model, image_size=64)


PAIRS = (
    _pair("same family", "cifar_resnet20", "cifar_resnet8"),
    _pair("wide to narrow", "cifar_wrn_16_2", "cifar_wrn_16_1"),
    _pair("ResNet to MobileNet", "cifar_resnet20", "cifar_mobilenetv2_half"),
    _pair("VGG to ShuffleNet", "cifar_vgg8", "cifar_shufflenetv2"),
    _pair("ResNet to ViT", "cifar_resnet20", "test_vit"),
    _pair("ViT to ResNet", "test_vit", "cifar_resnet8"),
    _pair("ConvNeXt to ResNet", "test_convnext", "cifar_resnet8"),
    _pair("Mixer to CNN", "mixer_s32_224", "cifar_resnet8"),
    _pair("CNN to GRU", "cifar_resnet20", "row_gru"),
)


class Bench:
    """The networks of one pair and a few images of digits, for training steps."""

    def __init__(self, pair: ReferencePair):
        self.pair = pair
        with tempfile.TemporaryDirectory() as cache:
            split = Split(val=16, train_samples=32)
            digits, device = make_dataset("digits"), torch.device("cpu")
            self.data = Data(digits, split, device, Path(cache), lambda _: None)
        with seeds.seeded(0, "probe"):
            self.student = self._model(pair.student)
            self.teacher = Teacher(self._model(pair.teacher), "")

    def reason(self, name: str) -> str:
        """Return why a method does not run on the pair; empty if it runs.

        Raises:
            FloatingPointError: A loss is not finite.
        """
        settings = methods.get(name).small
        method = methods.create(name, **settings)
        known = probe(
            self.student,
            self.teacher.model,
            method.tapped(),
            self.data.samples,
            RECIPE.batch_size,
            self.data.labels,
        )
        if reason := method.supports(known):
            return reason

        conditions = Conditions(self.data, RECIPE, 0, "last", self.teacher)
        with tempfile.TemporaryDirectory() as folder:
            task = Task(
                CellFolder(Path(folder)),
                str(self.pair),
                {},
                self.pair.student,
                name,
                settings,
                self.pair.teacher,
            )
            _take_steps(Member(task, conditions, Progress(), Writer()), conditions)
        return ""

    def _model(self, network: Network) -> TappedModel:
        data = self.data
        return tapped(network, str(self.pair), data.size, data.classes, data.mean, data.std)


def _take_steps(member: Member, conditions: Conditions) -> None:
    """Take a step of the early stage, if there is one, and one of the training itself."""
    assert conditions.teacher is not None
    for epoch in [-1, 0] if member.length.early else [0]:
        member.state.enter(epoch)
        batch = next(conditions.data.epoch(0, 0, RECIPE, views=member.needs.views))
        teacher = conditions.teacher.output(batch) if member.taught else None
        if not member.step(batch, teacher, 0).isfinite().all():
            raise FloatingPointError(
                f"{member.task.label}: the loss of {member.task.method} is not finite"
            )


def reasons_by_pair(names: Sequence[str], say: Callable[[str], None]) -> dict[str, dict[str, str]]:
    """Run methods on all pairs.

    Args:
        names: The methods.
        say: Receives a line per pair.

    Returns:
        Method -> name of the pair -> why it does not run there; empty if it runs.
    """
    reasons: dict[str, dict[str, str]] = {name: {} for name in names}
    for pair in PAIRS:
        say(f"{pair.name}: {pair}")
        bench = Bench(pair)
        for name in names:
            reasons[name][pair.name] = bench.reason(name)
    return reasons


def page(say: Callable[[str], None]) -> str:
    """Return the page of this package's methods as Markdown.

    Methods of plug-ins are not on it, and broken ones are only reported.

    Args:
        say: Receives a line per pair and per broken method.
    """
    package = f"{methods.__name__}."
    broken = methods.broken()
    for reason in broken.values():
        say(f"{reason}; left out")

    known = [name for name in methods.names() if name not in broken]
    names = [name for name in known if methods.origin(name).startswith(package)]
    runs = reasons_by_pair(names, say)

    about_headers = [
        *("method", "kind", "paper", "loss, in short", "defaults", "defaults from", "needs")
    ]
    about = [_about(name, methods.get(name)) for name in names]
    pairs = "\n".join(f"* **{pair.name}**: {pair}" for pair in PAIRS)

    texts = [reason for row in runs.values() for reason in row.values() if reason]
    reasons = list(dict.fromkeys(texts))
    where = [[name, *_marks(row, reasons)] for name, row in runs.items()]
    numbered = "\n".join(
        f"{number}. {inline(reason)}" for number, reason in enumerate(reasons, start=1)
    )

    parts = [
        INTRODUCTION.format(count=len(names)),
        table(about_headers, about),
        WHERE,
        pairs,
        table(["method", *(pair.name for pair in PAIRS)], where),
        numbered,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def kind(method: type[Method]) -> str:
    """Return the kind of a method, in one word."""
    needs = method.needs
    if method.control:
        return "control"
    if method.wraps:
        return "wrapper"
    if needs.companion:
        return "online"
    return "features" if needs.embedding or needs.stages else "logits"


def _about(name: str, method: type[Method]) -> list[str]:
    paper = method.paper
    source = ""
    if paper is not None:
        source = f"{paper.authors.rstrip('.')}, {paper.venue} {paper.year}, {paper.link}"

    schema = methods.schema(name)
    defaults = [f"{key} {_number(setting.default)}" for key, setting in schema.items()]
    return [
        Markdown(f"`{name}`"),
        kind(method),
        source,
        method.formula,
        ", ".join(defaults),
        defaults_from(name),
        method_cards.needs(method.needs),
    ]


def defaults_from(name: str) -> str:
    """Return whose settings a method's defaults are, in short; "not stated" if it does not say.

    The description of a method has a paragraph on this that starts with "Settings:".
    """
    paragraphs = methods.description(name).split("\n\n")
    stated = next((text for text in paragraphs if text.startswith(SETTINGS)), "")
    first = " ".join(stated.removeprefix(SETTINGS).split()).partition(". ")[0]
    return first.rstrip(".") or "not stated"


def _marks(row: Mapping[str, str], reasons: Sequence[str]) -> list[str]:
    """Return the mark of each pair: `+`, or the number of the reason."""
    texts = (row[pair.name] for pair in PAIRS)
    return [str(reasons.index(text) + 1) if text else "+" for text in texts]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
