"""A study: one question, read from a YAML file and expanded into cells, each with an identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from benchmark import RULES
from benchmark.errors import InputError, first_line
from benchmark.plugins import loading
from benchmark.plugins.loading import Plugin
from benchmark.study import yamlfile
from benchmark.study.messages import location_of, message_of, without_misspelt
from benchmark.study.names import why_reserved
from benchmark.study.overrides import overridden, problems
from benchmark.study.schema import (
    Dataset,
    Name,
    Pair,
    Recipe,
    Row,
    Search,
    Seed,
    Shorthand,
    Split,
    Strict,
    Tracking,
    check_dataset,
)
from benchmark.study.study_file import StudyFile
from benchmark.study.yamlfile import Document, Location

LEGACY = {"legacy": {"val": 0}}
"""Splits that have a name."""


class Study(Strict):
    """One question, and everything that is needed to answer it."""

    name: Name
    """Name of the study. It is also the name of its results folder."""

    question: str = ""
    """The question that the study asks, in a sentence."""

    plugins: Annotated[list[str], Field(default_factory=list)]
    """Plug-ins with your own methods, models, data and metrics: modules, or files relative to the
    study's file that end in `.py`."""

    dataset: Annotated[Dataset, BeforeValidator(check_dataset), Shorthand.for_key("name")]
    """The data set, or its name."""

    split: Annotated[Split, Shorthand(lambda text: LEGACY.get(text, text), tuple(LEGACY))] = Split()
    """How the training images are divided, or `legacy`: train on all, validate on none."""

    pairs: Annotated[list[Pair], Field(min_length=1)]
    """The teacher-student pairs."""

    methods: Annotated[
        list[Annotated[Row, Shorthand.for_key("method")]],
        Field(min_length=1),
        Shorthand(lambda text: text, ("*",)),  # `load` replaces it
    ]
    """The rows of the leaderboard: methods, by name or with settings. `"*"`, alone or as an item,
    stands for every method that the list does not name."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    """Seeds that every student is trained with."""

    recipe: Recipe
    """How all students, and teachers without a recipe of their own, are trained."""

    select: Literal["last", "best_val"] = "last"
    """The epoch that is tested: the last, or the one with the best validation accuracy."""

    tracking: Tracking = Tracking()
    """Where runs are recorded."""

    search: Search | None = None
    """How `kdbench tune` searches for settings. Without this section, there is no search."""

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        reason = why_reserved(name)
        if reason is not None:
            raise ValueError(f"is {name!r}; {reason}")
        return name

    @field_validator("pairs", "methods", "seeds")
    @classmethod
    def _check_unique(cls, entries: list[Any]) -> list[Any]:
        names = [getattr(entry, "name", entry) for entry in entries]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"{duplicates[0]!r} occurs twice; make every entry unique")
        return entries

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.search is None:
            return self

        if self.split.legacy:
            raise ValueError(
                "search needs validation images, but split 'legacy' has none; set split.val"
            )

        shared = sorted(set(self.seeds) & set(self.search.seeds))
        if shared:
            problem = f"search.seeds and seeds both contain {shared[0]}"
            raise ValueError(f"{problem}; compare methods on seeds that the search has not used")
        return self

    @model_validator(mode="after")
    def _check_select(self) -> Self:
        if self.split.legacy and self.select != "last":
            problem = f"select is {self.select!r}, but split 'legacy' has no validation images"
            raise ValueError(f"{problem}; use 'last'")
        return self

    @property
    def experiment(self) -> str:
        """Name of the study's experiment in MLflow."""
        return self.tracking.experiment or f"kd/{self.name}"

    def data(self, fingerprint: str) -> dict[str, Any]:
        """Return everything that determines the images on which this study trains and tests."""
        split = self.split.model_dump(exclude_none=True)
        return {"source": self.dataset.identity, "fingerprint": fingerprint, "split": split}

    def recipe_of(self, row: Row) -> Recipe:
        """Return the recipe of a row: the study's, with the row's own changes.

        Raises:
            ValidationError: The changes don't result in a valid recipe; `load` has checked them.
        """
        return overridden(self.recipe, row.recipe)

    def cells(self) -> list[Cell]:
        """Return all cells: pair by pair and seed by seed, so that comparisons finish early."""
        return [
            Cell(self, pair, row, seed)
            for pair in self.pairs
            for seed in self.seeds
            for row in self.methods
        ]


@dataclass(frozen=True)
class Cell:
    """One training run of one student, identified by its configuration."""

    study: Study
    pair: Pair
    row: Row
    seed: int

    def __str__(self) -> str:
        return f"{self.pair.name} / {self.row.name} / seed {self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the method from the study or a search; all others have their defaults."""
        tuned = self.row.found.get(self.pair.name)
        return self.row.settings if tuned is None else {**self.row.settings, **tuned.settings}

    @property
    def recipe(self) -> Recipe:
        """The row's recipe, with the learning rate and weight decay that a search chose."""
        recipe = self.study.recipe_of(self.row)
        tuned = self.row.found.get(self.pair.name)
        if tuned is None:
            return recipe

        searched = tuned.model_dump(include={"lr", "weight_decay"}, exclude_none=True)
        if not searched:
            return recipe

        optimizer = recipe.optimizer.model_copy(update=searched)
        return recipe.model_copy(update={"optimizer": optimizer})

    def configuration(
        self, data: str, teacher: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return everything that determines the results of this cell.

        Args:
            data: Fingerprint of the data set.
            teacher: Identity of the teacher's network, and the SHA-256 of its weights.
            settings: All settings of the method, defaults included.
        """
        return {
            "rules": RULES,
            "data": self.study.data(data),
            "teacher": teacher,
            "student": self.pair.student.identity,
            "method": {"name": self.row.method, "settings": settings},
            "recipe": self.recipe.identity,
            "select": self.study.select,
            "seed": self.seed,
        }


class MethodRegistry(Protocol):
    """Interface to all methods that a study can use, such as the package `methods`."""

    @property
    def SettingError(self) -> type[Exception]:  # noqa: N802
        """Raised for an unknown setting or an invalid value."""

    @property
    def UnknownMethodError(self) -> type[Exception]:  # noqa: N802
        """Raised for an unknown method."""

    def usable(self) -> list[str]:
        """Return the names of all methods that can be created: what `"*"` stands for."""

    def create(self, name: str, /, **settings: Any) -> object:
        """Create a method, or a composition such as `kd+at`, with settings."""


def load(path: Path, methods: MethodRegistry) -> Study:
    """Read a study file, and load its plug-ins.

    Args:
        path: The YAML file.
        methods: The registry of all methods. The names of those that are not broken replace `"*"`,
            and it checks the settings of every row.

    Raises:
        InputError: The file is invalid. The message has one line per mistake, with the file, the
            line, the column and the key.
    """
    return load_document(yamlfile.read(path), methods)


def load_document(document: Document, methods: MethodRegistry) -> Study:
    """Check the content of a study, and load its plug-ins; see `load`.

    Raises:
        InputError: The content is invalid.
    """
    _load_plugins(document)

    file = StudyFile(document, methods.usable)
    try:
        study = Study.model_validate(file.data)
    except ValidationError as error:
        lines = [
            file.line(location_of(problem, Study), message_of(problem, Study))
            for problem in without_misspelt(error.errors(), Study)
        ]
        raise InputError(*lines) from None

    lines = []
    for index, row in enumerate(study.methods):
        try:
            methods.create(row.method, **row.settings)
        except (methods.SettingError, methods.UnknownMethodError) as error:
            lines.append(file.line(("methods", index), str(error)))
        except Exception as error:  # the constructor of a plug-in may raise anything
            reason = f"{row.method}: {type(error).__name__}: {first_line(error)}"
            lines.append(file.line(("methods", index), reason))
    lines += [file.line(location, message) for location, message in _problems(study)]
    if lines:
        raise InputError(*lines)

    return study


def _load_plugins(document: Document) -> None:
    """Load the plug-ins that a study names, before the rest of it is checked."""
    loading.load_installed()

    references = document.data.get("plugins", [])
    if not isinstance(references, list):
        return  # the schema reports it

    loading.unload_changed()
    for index, reference in enumerate(references):
        if isinstance(reference, str):
            where = f"{document.where(('plugins', index))}: plugins[{index}]"
            loading.load(Plugin(reference, document.path.parent), where)


def _problems(study: Study) -> Iterator[tuple[Location, str]]:
    """Yield the location and the message of every mistake in the recipes.

    Those of the study and of teachers are valid by themselves, but may not suit the images.
    """
    streamed = study.dataset.loading == "streamed"
    common = list(_unsuitable(study.recipe, streamed))
    for location, message in common:
        yield ("recipe", *location), message

    for index, pair in enumerate(study.pairs):
        place = ("pairs", index, "teacher", "recipe")
        recipe = pair.teacher.recipe
        if recipe is None:
            continue

        for location, message in _unsuitable(recipe, streamed):
            yield (*place, *location), message
        if recipe.teacher_cache is not None:
            yield (*place, "teacher_cache"), "a teacher has no teacher of its own; remove it"

    for index, row in enumerate(study.methods):
        mistakes = list(problems(study.recipe, row.recipe))
        if not mistakes and not common:
            mistakes = list(_unsuitable(study.recipe_of(row), streamed))
        for location, message in mistakes:
            yield ("methods", index, "recipe", *location), f"{message} (row {row.name!r})"


def _unsuitable(recipe: Recipe, streamed: bool) -> Iterator[tuple[Location, str]]:
    """Yield the options of a recipe that don't suit the kind of images."""
    augmentation = recipe.augmentation
    if streamed and augmentation.crop_padding:
        message = "applies only to resident images; use resized_crop"
        yield ("augmentation", "crop_padding"), message
    if not streamed and augmentation.resized_crop is not None:
        message = "applies only to streamed images; use crop_padding"
        yield ("augmentation", "resized_crop"), message
    if streamed and recipe.teacher_cache is not None:
        yield ("teacher_cache",), "applies only to resident images; remove it"
