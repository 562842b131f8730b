"""A study: read from its file, each mistake a line, and expanded to cells with the configuration of each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from benchmark import RULES
from benchmark.errors import InputError
from benchmark.study import yamlfile
from benchmark.study.schema import (
    Dataset,
    Name,
    Pair,
    Recipe,
    Row,
    Search,
    Split,
    Strict,
    Tracking,
    as_mapping,
    shown,
)


def _split_by_name(value: Any) -> Any:
    """`split: legacy` is `split: {val: 0}`."""
    return {"val": 0} if value == "legacy" else value


class Study(Strict):
    """One question, and all that it takes to answer it."""

    name: Name
    question: str = ""
    dataset: Annotated[Dataset, as_mapping("name")]
    split: Annotated[Split, BeforeValidator(_split_by_name)] = Split()
    pairs: Annotated[list[Pair], Field(min_length=1)]
    methods: Annotated[list[Annotated[Row, as_mapping("method")]], Field(min_length=1)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    recipe: Recipe
    select: Literal["last", "best_val"] = "last"
    tracking: Tracking = Tracking()
    search: Search | None = None

    @field_validator("pairs", "methods", "seeds")
    @classmethod
    def _unique(cls, entries: list[Any]) -> list[Any]:
        names = [getattr(entry, "name", entry) for entry in entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice; give each a name of its own")
        return entries

    @model_validator(mode="after")
    def _searched(self) -> Self:
        if self.search is None:
            return self
        if self.split.legacy:
            raise ValueError(
                "search needs validation images, and the split 'legacy' holds none out"
            )
        both = sorted(set(self.seeds) & set(self.search.seeds))
        if both:
            raise ValueError(
                f"search.seeds and seeds both hold {both[0]}; the comparison is made on fresh ones"
            )
        return self

    @model_validator(mode="after")
    def _fits_split_and_loading(self) -> Self:
        if self.split.legacy and self.select != "last":
            raise ValueError(
                f"select is {self.select!r}, but a split without validation images leaves only 'last'"
            )
        streamed = self.dataset.loading == "streamed"
        recipes = [
            self.recipe,
            *(pair.teacher.recipe for pair in self.pairs if pair.teacher.recipe),
        ]
        for augmentation in (recipe.augmentation for recipe in recipes):
            if streamed and augmentation.crop_padding:
                raise ValueError(
                    "augmentation.crop_padding is for resident images; streamed ones have resized_crop"
                )
            if not streamed and augmentation.resized_crop is not None:
                raise ValueError(
                    "augmentation.resized_crop is for streamed images; resident ones have crop_padding"
                )
        return self

    @property
    def experiment(self) -> str:
        """The name of the study's experiment in MLflow."""
        return self.tracking.experiment or f"kd/{self.name}"

    def data(self, fingerprint: str) -> dict[str, Any]:
        """What decides the images that a network of this study sees."""
        split = self.split.model_dump(exclude_none=True)
        return {"source": self.dataset.identity, "fingerprint": fingerprint, "split": split}

    def cells(self) -> list[Cell]:
        """Every (pair, seed, row), pair by pair and seed by seed, so that whole comparisons finish early."""
        return [
            Cell(self, pair, row, seed)
            for pair in self.pairs
            for seed in self.seeds
            for row in self.methods
        ]


@dataclass(frozen=True)
class Cell:
    """One training of one student; its configuration is its identity."""

    study: Study
    pair: Pair
    row: Row
    seed: int

    def __str__(self) -> str:
        return f"{self.pair.name} / {self.row.name} / seed {self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """The method's, as far as the study or a search gives them."""
        found = self.row.found.get(self.pair.name)
        return self.row.settings if found is None else {**self.row.settings, **found.settings}

    @property
    def recipe(self) -> Recipe:
        """The study's, with the learning rate and weight decay that a search found for this row and pair."""
        found, recipe = self.row.found.get(self.pair.name), self.study.recipe
        if found is None:
            return recipe
        new = {
            key: value
            for key in ("lr", "weight_decay")
            if (value := getattr(found, key)) is not None
        }
        return (
            recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update=new)})
            if new
            else recipe
        )

    def configuration(
        self, data: str, teacher: dict[str, Any], settings: dict[str, Any]
    ) -> dict[str, Any]:
        """All that decides this cell's numbers.

        data: the data set's fingerprint. teacher: its network, and the SHA-256 of its weights. settings: the method's,
        resolved.
        """
        study = self.study
        return {
            "rules": RULES,
            "data": study.data(data),
            "teacher": teacher,
            "student": self.pair.student.identity,
            "method": {"name": self.row.method, "settings": settings},
            "recipe": self.recipe.identity,
            "select": study.select,
            "seed": self.seed,
        }


def load(path: Path) -> Study:
    """The study in a YAML file, its methods named, with `"*"` written out. Raises InputError, a line per mistake."""
    document = yamlfile.read(path)
    data, rows = document.data, document.data.get("methods")
    origins: list[int] = []
    if rows == "*" or (isinstance(rows, list) and "*" in rows):
        written, origins = _written_out(rows)
        data = {**data, "methods": written}
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        raise InputError(
            "\n".join(_line(document, problem, origins) for problem in error.errors())
        ) from None
    _check_methods(document, study, origins)
    return study


def _written_out(rows: Any) -> tuple[list[Any], list[int]]:
    """`"*"` stands for every registered method that the list does not name itself; and each row's place in the file."""
    import methods

    rows = [rows] if isinstance(rows, str) else rows
    named = [row.get("method") if isinstance(row, dict) else row for row in rows]
    every = [name for name in methods.names() if name not in named]
    written = [
        (new, place) for place, row in enumerate(rows) for new in (every if row == "*" else [row])
    ]
    return [row for row, _ in written], [place for _, place in written]


def _check_methods(document: yamlfile.Document, study: Study, origins: list[int]) -> None:
    """Builds every row's method once, so that a bad name or setting is known before anything is trained."""
    import methods

    problems = []
    for index, row in enumerate(study.methods):
        try:
            methods.create(row.method, **row.settings)
        except (methods.SettingError, methods.UnknownMethodError) as error:
            place = origins[index] if origins else index
            problems.append(f"{document.where(('methods', place))}: methods[{place}]: {error}")
    if problems:
        raise InputError("\n".join(problems))


def _line(document: yamlfile.Document, problem: Any, origins: list[int]) -> str:
    """One pydantic error as `file:line:column: key: what is wrong`. origins: see `_written_out`."""
    location = problem["loc"]
    if origins and len(location) > 1 and location[0] == "methods":
        location = ("methods", origins[location[1]], *location[2:])
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    where = document.where(location)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(location)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
        return f"{where}: {key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: {key}: missing; this key is required"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{where}: {key + ': ' if key else ''}{message}"
    return f"{where}: {key}: is {shown(problem['input'])}; {message[0].lower()}{message[1:]}"


def _keys_beside(location: tuple[str | int, ...]) -> list[str]:
    """The keys that are known where a location's last one stands."""
    model: type[BaseModel] = Study
    for part in location[:-1]:
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> Any:
    """The model that an annotation such as `list[Pair]` or `Recipe | None` holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        (found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None
    )
