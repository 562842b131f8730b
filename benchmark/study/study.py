"""A study: one question, read from a YAML file and expanded into cells, each with an identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from benchmark import RULES
from benchmark.errors import InputError
from benchmark.study import yamlfile
from benchmark.study.messages import key_of, location_of, message_of, without_misspelt
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
)
from benchmark.study.yamlfile import Location

LEGACY = {"legacy": {"val": 0}}
"""Splits that have a name."""


class Study(Strict):
    """One question, and everything that is needed to answer it."""

    name: Name
    """Name of the study. It is also the name of its results folder."""

    question: str = ""
    """The question that the study asks, in a sentence."""

    dataset: Annotated[Dataset, Shorthand.for_key("name")]
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

    @model_validator(mode="after")
    def _check_augmentation(self) -> Self:
        streamed = self.dataset.loading == "streamed"
        teachers = [pair.teacher.recipe for pair in self.pairs]

        for recipe in (self.recipe, *teachers):
            if recipe is None:
                continue
            if streamed and recipe.augmentation.crop_padding:
                problem = "augmentation.crop_padding applies only to resident images"
                raise ValueError(f"{problem}; use resized_crop")
            if not streamed and recipe.augmentation.resized_crop is not None:
                problem = "augmentation.resized_crop applies only to streamed images"
                raise ValueError(f"{problem}; use crop_padding")
        return self

    @property
    def experiment(self) -> str:
        """Name of the study's experiment in MLflow."""
        return self.tracking.experiment or f"kd/{self.name}"

    def data(self, fingerprint: str) -> dict[str, Any]:
        """Return everything that determines the images on which this study trains and tests."""
        split = self.split.model_dump(exclude_none=True)
        return {"source": self.dataset.identity, "fingerprint": fingerprint, "split": split}

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
        """The study's recipe, with the learning rate and weight decay that a search chose."""
        recipe = self.study.recipe
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

    def names(self) -> list[str]:
        """Return the names of all methods."""

    def create(self, name: str, /, **settings: Any) -> object:
        """Create a method, or a composition such as `kd+at`, with settings."""


def load(path: Path, methods: MethodRegistry) -> Study:
    """Read a study file.

    Args:
        path: The YAML file.
        methods: The registry of all methods. Its names replace `"*"`, and it checks the settings
            of every row.

    Raises:
        InputError: The file is invalid. The message has one line per mistake, with the file, the
            line, the column and the key.
    """
    file = _StudyFile(path, methods.names())
    try:
        study = Study.model_validate(file.data)
    except ValidationError as error:
        lines = [
            file.line(location_of(problem, Study), message_of(problem, Study))
            for problem in without_misspelt(error.errors(), Study)
        ]
        raise InputError("\n".join(lines)) from None

    lines = []
    for index, row in enumerate(study.methods):
        try:
            methods.create(row.method, **row.settings)
        except (methods.SettingError, methods.UnknownMethodError) as error:
            lines.append(file.line(("methods", index), str(error)))
    if lines:
        raise InputError("\n".join(lines))

    return study


class _StudyFile:
    """The content of a study file, with `"*"` replaced by the methods that it stands for.

    Attributes:
        data: The content.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._document = yamlfile.read(path)
        self._indices: list[int] = []
        self.data = self._document.data

        rows = self.data.get("methods")
        if rows == "*":
            rows = ["*"]
        if isinstance(rows, list) and "*" in rows:
            self.data = {**self.data, "methods": self._replace_star(rows, names)}

    def line(self, location: Location, message: str) -> str:
        """Return a line of an error message about the value at a location in `data`."""
        if self._indices and location[:1] == ("methods",) and len(location) > 1:
            index = self._indices[int(location[1])]
            location = ("methods", index, *location[2:])

        parts = (self._document.where(location), key_of(location), message)
        return ": ".join(filter(None, parts))

    def _replace_star(self, rows: list[Any], names: Sequence[str]) -> list[Any]:
        """Replace `"*"`, and record the index that each row has in the file."""
        listed = [row.get("method") if isinstance(row, dict) else row for row in rows]
        others = [name for name in names if name not in listed]

        expanded: list[Any] = []
        for index, row in enumerate(rows):
            new = others if row == "*" else [row]
            expanded += new
            self._indices += [index] * len(new)
        return expanded
