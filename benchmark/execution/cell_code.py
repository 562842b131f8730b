"""The code that decides the results of a cell or teacher, besides kdbench's own engine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.code import Code, code_of, has_file, sources_of
from benchmark.execution.rows import method_classes
from benchmark.models.create import definition
from benchmark.plugins.kinds import AUGMENTATIONS, DATA_SOURCES, OPTIMIZERS, SCHEDULES
from benchmark.study.schema import Dataset, Network, OwnData, Recipe
from benchmark.study.study import Cell, Study

if TYPE_CHECKING:
    from benchmark.execution.prepare import Prepared


def code_of_cell(cell: Cell, teacher: Network) -> Code:
    """Return the code of a cell: of its method, of its networks, and of what a plug-in adds.

    Args:
        cell: The cell.
        teacher: The network of its teacher.
    """
    return _code(_objects(cell, teacher))


def sources(prepared: Prepared) -> dict[str, Path]:
    """Return the files of all modules whose code decides results of a study, by module name."""
    files: dict[str, Path] = {}
    for cell in prepared.cells:
        if cell.seed == prepared.study.seeds[0]:
            teacher = prepared.teacher_of(cell.pair.name).network
            files |= sources_of(*_objects(cell, teacher))
    return files


def code_of_teacher(study: Study, network: Network, method: str, recipe: Recipe) -> Code:
    """Return the code of a teacher that is trained here.

    Args:
        study: The study.
        network: The teacher's network.
        method: The method that it is trained with.
        recipe: Its recipe.
    """
    networks = _definitions(network)
    parts = (*method_classes(method), *networks, *_own_data(study.dataset), *own_parts(recipe))
    return _code(parts)


def code_of_network(network: Network) -> Code:
    """Return the code of a network."""
    return _code(tuple(_definitions(network)))


def code_of_parts(
    method: str, networks: Sequence[Network], dataset: Dataset, recipe: Recipe
) -> Code:
    """Return the code of a cell, given what its configuration names.

    Args:
        method: The method.
        networks: The student and the teacher.
        dataset: The data set.
        recipe: The recipe.
    """
    return _code(_parts(method, networks, dataset, recipe))


def _objects(cell: Cell, teacher: Network) -> tuple[Any, ...]:
    """Return the functions and classes whose code decides the results of a cell."""
    networks = (cell.pair.student, teacher)
    return _parts(cell.row.method, networks, cell.study.dataset, cell.recipe)


def _parts(
    method: str, networks: Sequence[Network], dataset: Dataset, recipe: Recipe
) -> tuple[Any, ...]:
    definitions = _definitions(*networks)
    return (*method_classes(method), *definitions, *_own_data(dataset), *own_parts(recipe))


def _own_data(dataset: Dataset) -> Iterator[Callable[..., Any]]:
    """Yield the function of a plug-in that provides the data, if one does."""
    if isinstance(dataset, OwnData):
        source = DATA_SOURCES.get(dataset.name)
        assert source is not None
        yield source


def own_parts(recipe: Recipe) -> Iterator[Callable[..., Any]]:
    """Yield the functions of plug-ins that a recipe uses."""
    for entry, registry in (
        (recipe.optimizer, OPTIMIZERS),
        (recipe.schedule, SCHEDULES),
        *((own, AUGMENTATIONS) for own in recipe.augmentation.own or ()),
    ):
        function = registry.get(entry.name)
        if function is not None:
            yield function


def _definitions(*networks: Network) -> Iterator[Callable[..., Any]]:
    """Yield the functions that create networks which are not timm's own."""
    for network in networks:
        function = definition(network)
        if function is not None:
            yield function


def _code(objects: tuple[Any, ...]) -> Code:
    """Return the code of objects, which is remembered unless a notebook may change it."""
    return dict(_remembered(objects)) if all(map(has_file, objects)) else code_of(*objects)


@functools.cache
def _remembered(objects: tuple[Any, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(code_of(*objects).items())
