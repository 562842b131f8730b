"""Checks a study against its data and networks, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

import methods
from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.execution.output_space import report_space
from benchmark.execution.own_parts import check_own_parts
from benchmark.execution.pair_networks import PairNetworks
from benchmark.execution.required_teachers import RequiredTeacher, required_teachers
from benchmark.execution.steps import told
from benchmark.execution.teacher_store import TeacherStore
from benchmark.hashing import canonical, identity
from benchmark.models.pairing import probe
from benchmark.models.tapped import TappedModel
from benchmark.plugins.active import metrics_of
from benchmark.plugins.kinds import Metric
from benchmark.records.layout import Workspace
from benchmark.study.schema import Dataset, Pair, Split
from benchmark.study.study import Cell, Study
from benchmark.training import own_metrics
from benchmark.training.precision import LOWER, slowdown
from methods import Method, Shapes, starts_at_zero

NOTICEABLE = 1.3
"""How many times slower than fp32 a precision must be to be reported: more than noise."""


@dataclass(frozen=True)
class Prepared:
    """A study that has been checked against its data and networks.

    Attributes:
        study: The study.
        text: Content of the study's file.
        source: Name of the study's file.
        data: The study's data.
        teachers: The required teachers, in the order of the pairs.
        cells: The cells that can run, in the order of the study.
        not_applicable: Why a method cannot run on a pair, by "pair/row".
        macs: Multiply-accumulates of a forward pass per image, by pair and `teacher` or `student`.
        shapes: Shapes of the taps, by the same.
        metrics: The metrics of the study's plug-ins.
    """

    study: Study
    text: str
    source: str
    data: Data
    teachers: list[RequiredTeacher]
    cells: list[Cell]
    not_applicable: dict[str, str]
    macs: dict[tuple[str, str], int]
    shapes: dict[tuple[str, str], Shapes]
    metrics: list[Metric]

    def teacher_of(self, pair: str) -> RequiredTeacher:
        """Return the teacher of a pair.

        Args:
            pair: Name of the pair.
        """
        return next(teacher for teacher in self.teachers if pair in teacher.pairs)

    def stream_of(self, cell: Cell) -> tuple[int, str, str]:
        """Return what all cells have in common that can share batches and the teacher's outputs."""
        teacher = self.teacher_of(cell.pair.name)
        return cell.seed, teacher.key, canonical(cell.recipe.stream)

    def cohorts(self, cells: Sequence[Cell], size: int | None) -> list[list[Cell]]:
        """Divide cells into cohorts that share a teacher, a seed and the batches of their recipes.

        Args:
            cells: Some of the study's cells.
            size: Maximum number of cells per cohort; None for no limit.

        Returns:
            The cohorts, in the order in which the study first needs what each of them shares.
        """
        groups: dict[tuple[int, str, str], list[Cell]] = {
            self.stream_of(cell): [] for cell in self.cells
        }
        for cell in cells:
            groups[self.stream_of(cell)].append(cell)

        limit = size or max(1, len(cells))
        return [
            group[start : start + limit]
            for group in groups.values()
            for start in range(0, len(group), limit)
        ]


def prepare(
    study: Study,
    text: str,
    source: str,
    device: torch.device,
    workspace: Workspace,
    say: Callable[[str], None],
) -> Prepared:
    """Load the data of a study, build each network once, and check that the methods apply.

    Args:
        study: The study.
        text: Content of the study's file.
        source: Name of the study's file, for messages.
        device: Device for the data.
        workspace: The workspace, which contains decoded data and stored teachers.
        say: Receives a line when something slow begins, and other notices for the user.

    Raises:
        InputError: The study cannot run as specified. The message names the file and the key.
    """
    with errors_in(source):
        data = load_data(study.dataset, study.split, device, workspace, say)
        _report_overlap(data, say)
        _check_batch_sizes(study, data)
        check_own_parts(study, data)
        teachers = required_teachers(study, data, TeacherStore(workspace))
        networks = PairNetworks(study, teachers, data)

        macs: dict[tuple[str, str], int] = {}
        shapes: dict[tuple[str, str], Shapes] = {}
        not_applicable: dict[str, str] = {}
        numbered = [*enumerate(study.pairs)]
        for index, pair in told(numbered, say, "checking pair {} of {}".format):
            data.steps((pair.teacher.recipe or study.recipe).batch_size)
            teacher, student = networks.of_pair(index)
            macs[pair.name, "teacher"] = teacher.macs()
            macs[pair.name, "student"] = student.macs()
            shapes[pair.name, "teacher"] = teacher.shapes
            shapes[pair.name, "student"] = student.shapes
            not_applicable |= _unsupported(study, pair, teacher, student, data)
            _report_cautions(study, pair, teacher, student, data, say)

        metrics = metrics_of(study.plugins, source)
        own_metrics.check(metrics, data.classes)
        _refuse_duplicates(study)
        _report_batch_sizes(study, say)
        _report_slow_precisions(study, device, say)
        for reason in methods.broken().values():
            say(f"{reason}; left out")

    cells = [
        cell for cell in study.cells() if f"{cell.pair.name}/{cell.row.name}" not in not_applicable
    ]
    prepared = Prepared(
        study, text, source, data, teachers, cells, not_applicable, macs, shapes, metrics
    )
    report_space(prepared, say)
    return prepared


def _report_overlap(data: Data, say: Callable[[str], None]) -> None:
    """Report that test images are also among the training images."""
    if data.trained_on is not None:
        equal, tested = data.trained_on
        say(
            f"dataset {data.name}: {equal:,} of {tested:,} test images "
            f"{'is' if equal == 1 else 'are'} also among the training images"
        )


def _report_slow_precisions(study: Study, device: torch.device, say: Callable[[str], None]) -> None:
    """Report a precision for which the processor has no instructions of its own."""
    if device.type != "cpu":
        return

    own = [pair.teacher.recipe for pair in study.pairs if pair.teacher.recipe is not None]
    recipes = [study.recipe, *map(study.recipe_of, study.methods), *own]
    for precision in dict.fromkeys(recipe.precision for recipe in recipes):
        if precision not in LOWER:
            continue

        factor = slowdown(precision)
        if factor > NOTICEABLE:
            say(
                f"recipe.precision: a convolution in {precision} takes {factor:.1f} times as long "
                "as in fp32 on this processor; use fp32 here"
            )


def load_data(
    dataset: Dataset,
    split: Split,
    device: torch.device,
    workspace: Workspace,
    say: Callable[[str], None],
) -> Data:
    """Load the data of a study, and keep the decoded images in the workspace.

    Args:
        dataset: The data set.
        split: How the training images are divided.
        device: Device for the images.
        workspace: The workspace.
        say: Receives a line when something slow begins.

    Raises:
        InputError: The data are missing or damaged, or the split leaves no images.
    """
    return Data(dataset, split, device, workspace.data, say)


@contextmanager
def errors_in(source: str) -> Iterator[None]:
    """Prefix each line of the message of an InputError with the name of the study's file."""
    try:
        yield
    except InputError as error:
        lines = [f"{source}: {line}" for line in str(error).splitlines()]
        raise InputError(*lines) from error


def _check_batch_sizes(study: Study, data: Data) -> None:
    """Raise InputError if there are too few images for a batch of any student."""
    data.steps(study.recipe.batch_size)
    for index, row in enumerate(study.methods):
        try:
            data.steps(study.recipe_of(row).batch_size)
        except InputError as error:
            raise InputError(f"methods[{index}].{error} (row {row.name!r})") from None


def _unsupported(
    study: Study, pair: Pair, teacher: TappedModel, student: TappedModel, data: Data
) -> dict[str, str]:
    """Return the reason by "pair/row" for every method that cannot run on a pair."""
    reasons: dict[str, str] = {}

    for row in study.methods:
        batch_size = study.recipe_of(row).batch_size
        method = methods.create(row.method, **row.settings)
        shapes = probe(student, teacher, method.tapped(), data.samples, batch_size, data.labels)
        if reason := method.supports(shapes):
            reasons[f"{pair.name}/{row.name}"] = reason

    return reasons


def _report_cautions(
    study: Study,
    pair: Pair,
    teacher: TappedModel,
    student: TappedModel,
    data: Data,
    say: Callable[[str], None],
) -> None:
    """Report the methods that run on a pair but may derail its student."""
    if not starts_at_zero(student.classifier()):
        return

    rows: dict[str, list[str]] = {}
    for row in study.methods:
        batch_size = study.recipe_of(row).batch_size
        method = methods.create(row.method, **row.settings)
        shapes = probe(student, teacher, method.tapped(), data.samples, batch_size, data.labels)
        if method.supports(shapes) is None and (warning := method.caution(shapes)):
            rows.setdefault(warning, []).append(row.name)

    for warning, names in rows.items():
        say(f"{pair.name}: {', '.join(names)}: {warning}")


def _refuse_duplicates(study: Study) -> None:
    """Raise InputError if two rows or two pairs are identical."""
    rows = {
        row.name: [
            row.method,
            methods.create(row.method, **row.settings).settings,
            study.recipe_of(row).identity,
        ]
        for row in study.methods
        if not row.found  # a search may choose the published settings
    }
    pairs = {pair.name: pair.model_dump(exclude={"name"}) for pair in study.pairs}

    for key, contents in (("methods", rows), ("pairs", pairs)):
        names: dict[str, str] = {}
        for name, content in contents.items():
            first = names.setdefault(identity(content), name)
            if first != name:
                raise InputError(f"{key}: {first!r} and {name!r} are identical; remove one")


def _report_batch_sizes(study: Study, say: Callable[[str], None]) -> None:
    """Report the rows whose published loss weights were chosen for another batch size."""
    rows: dict[tuple[int, int], list[str]] = {}
    for row in study.methods:
        batch_size = study.recipe_of(row).batch_size
        modules = methods.create(row.method, **row.settings).modules()
        assumed = {module.assumes_batch for module in modules if isinstance(module, Method)}
        for other_size in assumed - {None, batch_size}:
            rows.setdefault((other_size or 0, batch_size), []).append(row.name)

    for (other_size, batch_size), names in rows.items():
        say(
            f"{', '.join(names)}: the published loss weights were chosen for batches of "
            f"{other_size}; this recipe uses batches of {batch_size}"
        )
