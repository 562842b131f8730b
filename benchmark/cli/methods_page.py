"""Which method runs on which kind of pair: one real step of the engine for each, and the page that shows it."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import methods
from benchmark import seeds
from benchmark.cli import method_cards
from benchmark.data import Data
from benchmark.models import create, tapped
from benchmark.models.pairing import probe
from benchmark.records.checkpoints import CellFolder
from benchmark.study.schema import Dataset, Network, Recipe, Split
from benchmark.training.conditions import Conditions, Task
from benchmark.training.member import Member
from benchmark.training.progress import Progress
from benchmark.training.teacher import Teacher
from methods import Method

RECIPE = Recipe(epochs=2, batch_size=16)


@dataclass(frozen=True)
class ReferencePair:
    """A kind of pair, and two small networks of it."""

    name: str
    teacher: Network
    student: Network

    def __str__(self) -> str:
        return f"{self.teacher.model} -> {self.student.model}"


def _larger(model: str) -> Network:
    """A network that wants larger images than the others."""
    return Network(model=model, image_size=64)


RESNET, SMALL_RESNET = Network(model="cifar_resnet20"), Network(model="cifar_resnet8")

PAIRS = (
    ReferencePair("same family", RESNET, SMALL_RESNET),
    ReferencePair(
        "wide to narrow", Network(model="cifar_wrn_16_2"), Network(model="cifar_wrn_16_1")
    ),
    ReferencePair("ResNet to MobileNet", RESNET, Network(model="cifar_mobilenetv2_half")),
    ReferencePair(
        "VGG to ShuffleNet", Network(model="cifar_vgg8"), Network(model="cifar_shufflenetv2")
    ),
    ReferencePair("ResNet to ViT", RESNET, _larger("test_vit")),
    ReferencePair("ViT to ResNet", _larger("test_vit"), SMALL_RESNET),
    ReferencePair("ConvNeXt to ResNet", _larger("test_convnext"), SMALL_RESNET),
    ReferencePair("Mixer to CNN", _larger("mixer_s32_224"), SMALL_RESNET),
    ReferencePair("CNN to GRU", RESNET, Network(model="row_gru")),
)


class Bench:
    """A few digits and the networks of a pair, on which methods take a step."""

    def __init__(self, pair: ReferencePair):
        self.pair = pair
        with tempfile.TemporaryDirectory() as cache:
            split = Split(val=16, train_samples=32)
            self.data = Data(
                Dataset(name="digits"), split, torch.device("cpu"), Path(cache), lambda _: None
            )
        with seeds.seeded(0, "probe"):
            self.student = self._made(pair.student)
            self.teacher = Teacher(self._made(pair.teacher), "")

    def _made(self, network: Network) -> tapped.TappedModel:
        data = self.data
        return create.tapped(network, str(self.pair), data.size, data.classes, data.mean, data.std)

    def reason(self, name: str) -> str:
        """Why a method does not run on the pair; "" where it took a step of each of its stages with finite numbers."""
        settings = methods.get(name).small
        method = methods.create(name, **settings)
        sizes = self.data.samples, RECIPE.batch_size
        known = probe(self.student, self.teacher.model, method.tapped(), *sizes, self.data.labels)
        if reason := method.supports(known):
            return reason
        conditions = Conditions(self.data, RECIPE, 0, "last", self.teacher)
        with tempfile.TemporaryDirectory() as folder:
            cell, pair = CellFolder(Path(folder)), self.pair
            task = Task(cell, str(pair), {}, pair.student, name, settings, pair.teacher)
            _take_steps(Member(task, conditions, Progress()), conditions)
        return ""


def _take_steps(member: Member, conditions: Conditions) -> None:
    """One step of the stage before the training, where there is one, and one of the training."""
    assert conditions.teacher is not None
    for stage in [-1, 0] if member.length.early else [0]:
        member.enter(stage)
        loaded = next(conditions.data.epoch(0, 0, RECIPE, views=member.needs.views))
        seen = conditions.teacher.output(loaded) if member.taught else None
        if not member.step(loaded, seen, 0).isfinite().all():
            raise FloatingPointError(
                f"{member.task.label}: {member.task.method} gives numbers that are not finite"
            )


def table(names: Sequence[str], say: Callable[[str], None]) -> dict[str, dict[str, str]]:
    """Method -> pair's name -> why it does not run there, "" where it does.  say: is told how far it is."""
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for pair in PAIRS:
        say(f"{pair.name}: {pair}")
        bench = Bench(pair)
        for name in names:
            found[name][pair.name] = bench.reason(name)
    return found


def page(say: Callable[[str], None]) -> str:
    """The methods, one by one, and where they run, as Markdown."""
    names = methods.names()
    runs = table(names, say)
    lines = [
        "# Methods",
        "",
        f"{len(names)} methods, controls and wrappers, as `kdbench methods --page` writes them; `kdbench methods NAME`",
        "shows the card of one. Settings are the published ones, which are the defaults.",
        "",
        "| method | kind | paper | loss, in short | defaults | needs |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(name, methods.get(name)) for name in names),
        "",
        "## Where they run",
        "",
        "One step of the engine on each pair: `+` where it ran, a number where the method says why it cannot.",
        "",
        *(f"* **{pair.name}**: {pair}" for pair in PAIRS),
        "",
        f"| method | {' | '.join(pair.name for pair in PAIRS)} |",
        f"| --- |{' --- |' * len(PAIRS)}",
    ]
    reasons = list(
        dict.fromkeys(reason for row in runs.values() for reason in row.values() if reason)
    )
    for name, row in runs.items():
        marks = (
            str(reasons.index(row[pair.name]) + 1) if row[pair.name] else "+" for pair in PAIRS
        )
        lines.append(f"| {name} | {' | '.join(marks)} |")
    lines += ["", *(f"{number}. {_cell(reason)}" for number, reason in enumerate(reasons, start=1))]
    return "\n".join(lines) + "\n"


def kind(method: type[Method]) -> str:
    """The sort of a method, in a word."""
    needs = method.needs
    sorts = {
        "control": method.control,
        "wrapper": bool(method.wraps),
        "online": bool(needs.companion),
        "features": needs.embedding or needs.stages,
    }
    return next((name for name, fits in sorts.items() if fits), "logits")


def _row(name: str, method: type[Method]) -> str:
    paper = method.paper
    where = (
        ""
        if paper is None
        else f"{paper.authors.rstrip('.')}, {paper.venue} {paper.year}, {paper.link}"
    )
    settings = ", ".join(
        f"{key} {_number(setting.default)}" for key, setting in methods.schema(name).items()
    )
    about = [
        f"`{name}`",
        kind(method),
        where,
        method.formula,
        settings,
        method_cards.needs(method.needs),
    ]
    return f"| {' | '.join(map(_cell, about))} |"


def _cell(text: str) -> str:
    return inspect.cleandoc(text).replace("|", "\\|").replace("\n", " ")


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
