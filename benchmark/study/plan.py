"""The plan of a study: what its leaderboard must contain, and the cells to train.

One class serves all places where a plan is stored: `plan.json` in the study's folder, the tag of
the study's experiment in MLflow, and `summary.json` beside a leaderboard.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.files import write_json
from benchmark.hashing import digest
from benchmark.measures import Measure
from benchmark.study.plan_names import Folder, Identity, StudyName

TEACHER = "teacher"
"""Row name of the teacher."""

SUFFIX = " (tuned)"
"""Suffix of the name of a row whose settings were found by a search."""

_IGNORE = ConfigDict(extra="ignore")


@dataclass(frozen=True, config=_IGNORE)
class PlannedTeacher:
    """A teacher of the plan.

    Attributes:
        id: Its key in the teacher store.
        folder: Folder of its record, relative to the study's folder.
        pairs: Names of the pairs that share it.
        model: Name of the network.
        seed: Seed of its training.
        teacher_id: First 12 digits of the SHA-256 of its weights; empty until the weights exist.
        recipe: The main settings of its recipe, for display.
    """

    id: Identity
    folder: Folder
    pairs: tuple[str, ...]
    model: str
    seed: int
    teacher_id: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=_IGNORE)
class PlannedCell:
    """A cell of the plan.

    Attributes:
        id: Its identity, the hash of its configuration.
        folder: Folder of its record, relative to the study's folder.
        pair: Name of its pair.
        row: Name of its row in the leaderboard.
        method: Name of its method.
        settings: All settings of the method.
        seed: Its seed.
        teacher: Name of the teacher's network.
        teacher_id: First 12 digits of the SHA-256 of the teacher's weights.
        student: Name of the student's network.
        recipe: The main settings of its recipe, for display.
        length: Number of training epochs, by stage (`early`, `epochs`).
    """

    id: Identity
    folder: Folder
    pair: str
    row: str
    method: str
    settings: Mapping[str, Any]
    seed: int
    teacher: str
    teacher_id: str
    student: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    length: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, config=_IGNORE)
class PlannedPlugin:
    """A plug-in of the plan.

    Attributes:
        reference: How the study names it.
        folder: The folder of the study's file.
    """

    reference: str
    folder: str

    @property
    def folder_path(self) -> Path:
        """The folder as a path."""
        return Path(self.folder)


@dataclass(frozen=True, config=_IGNORE)
class PlannedInputs:
    """The inputs of all networks of the plan.

    Attributes:
        classes: Number of classes.
        samples: Number of training samples.
        size: Shape of an image, (C, H, W).
        mean: Mean per channel of the training images, in [0, 1].
        std: Standard deviation of the same images, per channel.
    """

    classes: int
    samples: int
    size: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, config=_IGNORE)
class Plan:
    """What a study compares: the rows and seeds that its leaderboard must contain.

    Attributes:
        study: Name of the study.
        question: The question that the study asks.
        pairs: Names of the teacher-student pairs.
        methods: Names of the rows, in the study's order.
        seeds: Seeds of every row.
        select: Which epoch is tested: `last` or `best_val`.
        baseline: The row that trains the student alone, if there is one.
        not_applicable: "pair/row" -> why the method cannot run on the pair.
        datasets: Pair -> name of its data set, for titles only.
        classes: Pair -> number of classes of its data set; empty in plans of older versions.
        protocol: `legacy` if no images were held out for validation, else `validated`.
        trials: Row -> number of trials in the search for its settings. Rows that are not listed
            have published settings.
        search_tmac: "pair/row" -> compute of the search for the row's settings on the pair, in
            10^12 multiply-accumulates, if known.
        altered: Rows whose settings the study's author changed, or that are named after another
            method. They have no published accuracy.
        reference: The row, besides the baseline, that other rows are compared with: plain
            distillation. None if there is none. It need not be among `methods`.
        measures: Metrics of the study's plug-ins.
        stale: "pair/row" -> the modules whose code has changed since cells of the row were trained.
        overrides: Row -> how its recipe differs from the study's, for rows with a recipe of their
            own. They are neither ranked nor compared with other rows.
        test_images: Number of test images that networks were tested on, and number of all test
            images, if the study tests on a part of them.
        fixed_views: Number of views in which each training image was shown, from the recipe's
            `teacher_cache`; None if every epoch had its own.
        trained_on: Number of test images that are identical to training images, and number of all
            test images that are used, if there are such images.
        experiment: Name of the study's experiment in MLflow.
        inputs: The inputs of all networks; None in plans of older versions.
        plugins: The plug-ins that the study names.
        teachers: The teachers, in the order of the pairs.
        cells: The cells whose identity is known, which requires their teacher's weights.

    Raises:
        ValueError: `pairs`, `methods` or `seeds` is empty or has duplicates, a method has the name
            of the teacher's row, `select` is unknown, or `baseline` is not among `methods`.
    """

    study: StudyName
    question: str
    pairs: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    select: str
    baseline: str | None
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    datasets: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    protocol: str = "validated"
    trials: Mapping[str, int] = field(default_factory=dict)
    search_tmac: Mapping[str, float] = field(default_factory=dict)
    altered: tuple[str, ...] = ()
    reference: str | None = None
    measures: tuple[Measure, ...] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    test_images: tuple[int, int] | None = None
    fixed_views: int | None = None
    trained_on: tuple[int, int] | None = None
    experiment: str = ""
    inputs: PlannedInputs | None = None
    plugins: tuple[PlannedPlugin, ...] = ()
    teachers: tuple[PlannedTeacher, ...] = ()
    cells: tuple[PlannedCell, ...] = ()

    def __post_init__(self) -> None:
        named: dict[str, tuple[Any, ...]] = {
            "pairs": self.pairs,
            "methods": self.methods,
            "seeds": self.seeds,
        }
        for name, values in named.items():
            if not values:
                raise ValueError(f"study {self.study!r} has no {name}")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} of study {self.study!r} has duplicates: {values}")

        if self.select not in ("last", "best_val"):
            raise ValueError(f"select must be 'last' or 'best_val', not {self.select!r}")
        if TEACHER in self.methods:
            raise ValueError(f"{TEACHER!r} is the name of the teacher's row; rename the method")
        if self.baseline is not None and self.baseline not in self.methods:
            raise ValueError(f"baseline {self.baseline!r} is not among the methods {self.methods}")

    @property
    def dataset(self) -> str:
        """Name of the study's data set."""
        return next(iter(self.datasets.values()), "")

    def why_not(self, pair: str, method: str) -> str | None:
        """Return why `method` cannot run on `pair`, or None if it can."""
        return self.not_applicable.get(f"{pair}/{method}")

    @property
    def budgets(self) -> list[int]:
        """Numbers of trials that rows were tuned with, highest first; empty if no row was tuned."""
        return sorted({count for count in self.trials.values() if count}, reverse=True)

    @property
    def unequal(self) -> str:
        """Why tuned rows are not ranked, if their numbers of trials differ; otherwise empty."""
        if len(self.budgets) < 2:
            return ""
        counts = ", ".join(map(str, self.budgets))
        return (
            f"rows were tuned with different numbers of trials ({counts}), so they are not ranked"
        )

    def published(self, method: str) -> str | None:
        """Return the row with published settings that corresponds to a tuned row, or None."""
        name = method.removesuffix(SUFFIX)
        return name if name != method and self.trials.get(method) and name in self.methods else None

    @property
    def alone(self) -> frozenset[str]:
        """The rows that train the student alone, with published or tuned settings."""
        names = (name for name in self.methods if (self.published(name) or name) == self.baseline)
        return frozenset(names)

    def rival(self, method: str, reference: str | None) -> str | None:
        """Return the row that a method is tested against.

        Args:
            method: A row.
            reference: The row to compare with, or None.

        Returns:
            The reference or its tuned row, whichever has the same number of trials as `method`.
            None if neither has, if `method` is itself the reference or its tuned row, or if
            `method` has a recipe of its own.
        """
        if method in self.overrides:
            return None

        name = (reference or "").removesuffix(SUFFIX)
        if method.removesuffix(SUFFIX) == name:
            return None

        trials = self.trials.get(method, 0)
        for row in (name, name + SUFFIX):
            if row in self.methods and self.trials.get(row, 0) == trials:
                return row
        return None

    def for_tables(self) -> Plan:
        """Return the part of the plan that a leaderboard needs."""
        return dataclasses.replace(self, cells=(), teachers=(), plugins=(), inputs=None)


_ADAPTER: TypeAdapter[Plan] = TypeAdapter(Plan)


def to_dict(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data."""
    content: dict[str, Any] = _ADAPTER.dump_python(plan, mode="json")
    return content


def from_dict(content: Mapping[str, Any]) -> Plan:
    """Return the plan from plain data that this or an older version of kdbench wrote.

    Raises:
        ValueError: The data is not a plan.
    """
    content = dict(content)
    if "datasets" not in content:  # older plans have a single name
        content["datasets"] = dict.fromkeys(content.get("pairs", ()), content.get("dataset", ""))
    if "reference" not in content:  # implied by older plans
        content["reference"] = "kd"
    return _ADAPTER.validate_python(content)


def write_plan(path: Path, plan: Plan) -> None:
    """Write `plan.json` atomically, with a digest of the plan.

    Raises:
        InputError: The file cannot be written.
    """
    content = to_dict(plan)
    write_json(path, {"digest": digest(content), "plan": content})


def read_plan(path: Path) -> Plan:
    """Read `plan.json`.

    Raises:
        InputError: The file cannot be read, is not a plan, or differs from its digest.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "plan" in content:  # older plans have no digest
            stated, content = content.get("digest"), content["plan"]
            if stated != digest(content):
                raise ValueError("the plan differs from its digest")
        return from_dict(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValidationError, ValueError, TypeError, AttributeError, RecursionError):
        remedy = "run the study again to rebuild it"
        raise InputError(f"{path}: damaged; {remedy}") from None
