"""A study is checked against its data and networks before anything is trained or written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import InputError
from benchmark.execution.prepare import Prepared
from benchmark.models import create
from benchmark.study.schema import Network
from tests.execution.helpers import pairs, prepared
from tests.support.networks import STUDENT, TEACHER
from tests.support.studies import run, tiny

pytestmark = pytest.mark.trains


def labels(cohorts: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [[str(cell) for cell in cohort] for cohort in cohorts]


@pytest.fixture(scope="module")
def wide() -> Prepared:
    """Three pairs, the first and last with one teacher, two seeds, three rows."""
    every = pairs(one={}, two={"seed": 1}, three={})
    return prepared(tiny(["student", "kd", "at"], pairs=every, seeds=[3, 1]))


def test_a_cohort_holds_the_cells_of_one_seed_and_one_teacher_in_the_order_of_the_study(
    wide: Prepared,
) -> None:
    rows = ("student", "kd", "at")
    expected = [
        (("one", "three"), 3),
        (("one", "three"), 1),
        (("two",), 3),
        (("two",), 1),
    ]
    assert labels(wide.cohorts(wide.cells, None)) == [
        [f"{pair} / {row} / seed {seed}" for pair in together for row in rows]
        for together, seed in expected
    ]


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(4, [4, 2, 4, 2, 3, 3]), (1, [1] * 18), (6, [6, 6, 3, 3]), (99, [6, 6, 3, 3])],
)
def test_a_cohort_is_no_larger_than_allowed_and_every_cell_is_in_one(
    size: int, sizes: list[int], wide: Prepared
) -> None:
    cohorts = wide.cohorts(wide.cells, size)
    assert [len(cohort) for cohort in cohorts] == sizes

    cells = [str(cell) for cohort in cohorts for cell in cohort]
    assert sorted(cells) == sorted(map(str, wide.cells))
    for cohort in cohorts:
        shared = {(cell.seed, wide.teacher_of(cell.pair.name).key) for cell in cohort}
        assert len(shared) == 1


def test_rows_whose_recipe_decides_the_batches_form_cohorts_of_their_own() -> None:
    rows = [
        "student",
        {"name": "long", "method": "kd", "recipe": {"epochs": 3, "optimizer": {"lr": 0.1}}},
        {"name": "big", "method": "kd", "recipe": {"batch_size": 24}},
        {"name": "mixed", "method": "kd", "recipe": {"mixup": 0.4}},
        {"name": "half", "method": "kd", "recipe": {"precision": "bf16"}},
        {"name": "still", "method": "kd", "recipe": {"augmentation": {"flip": False}}},
        {"name": "big at", "method": "at", "recipe": {"batch_size": 24, "ema": 0.9}},
        {"name": "cut", "method": "kd", "recipe": {"cutmix": 1.0}},
    ]
    study = prepared(tiny(rows))
    cohorts = study.cohorts(study.cells, None)
    assert [[cell.row.name for cell in cohort] for cohort in cohorts] == [
        ["student", "long"],
        ["big", "big at"],
        ["mixed"],
        ["half"],
        ["still"],
        ["cut"],
    ]


def test_rows_that_differ_in_their_recipes_alone_are_not_identical() -> None:
    rows = ["kd", {"name": "long", "method": "kd", "recipe": {"epochs": 3}}]
    assert len(prepared(tiny(rows)).cells) == 2

    same = ["kd", {"name": "long", "method": "kd", "recipe": {"epochs": 2}}]
    with pytest.raises(InputError, match="methods: 'kd' and 'long' are identical; remove one"):
        prepared(tiny(same))


def test_a_batch_of_a_row_that_is_larger_than_the_data_is_refused_with_its_name() -> None:
    rows = ["student", {"name": "big", "method": "kd", "recipe": {"batch_size": 49}}]
    message = (
        r"methods\[1\]\.recipe\.batch_size is 49, but there are only 48 training images; choose a "
        r"smaller batch size \(row 'big'\)"
    )
    with pytest.raises(InputError, match=message):
        prepared(tiny(rows))


def test_cells_that_are_left_form_cohorts_among_themselves(wide: Prepared) -> None:
    left = [cell for cell in wide.cells if cell.row.name == "at"]
    assert [len(cohort) for cohort in wide.cohorts(left, None)] == [2, 2, 1, 1]
    assert wide.cohorts([], None) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ["kd", {"name": "again", "method": "kd", "settings": {"temperature": 4}}],
            "study.yaml: methods: 'kd' and 'again' are identical; remove one",
        ),
        (
            [
                {"name": "a", "method": "kd+at"},
                "student",
                {"name": "b", "method": "kd + at", "settings": {"ce": 1}},
            ],
            "study.yaml: methods: 'a' and 'b' are identical; remove one",
        ),
    ],
)
def test_rows_that_would_train_the_same_are_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        prepared(tiny([row if isinstance(row, dict) else {"method": row} for row in rows]))
    assert str(error.value) == message


def test_pairs_that_would_train_the_same_are_refused() -> None:
    (pair,) = tiny()["pairs"]
    message = r"^study\.yaml: pairs: 'pair' and 'twin' are identical; remove one$"
    with pytest.raises(InputError, match=message):
        prepared(tiny(pairs=[pair, {**pair, "name": "twin"}]))


def test_rows_of_one_method_with_different_settings_are_no_duplicates() -> None:
    warm = {"name": "warm", "method": "kd", "settings": {"temperature": 8.0}}
    assert len(prepared(tiny(["kd", warm])).cells) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            tiny(pairs=pairs(pair={"model": "test_resnett"})),
            "pairs[0].teacher: timm has no model 'test_resnett'",
        ),
        (
            tiny(pairs=pairs(one={}, two={"kwargs": {"num_classes": 3}})),
            "pairs[1].teacher.kwargs.num_classes: is set by",
        ),
        (
            tiny(recipe={"batch_size": 49}),
            "recipe.batch_size is 49, but there are only 48 training images",
        ),
        (
            tiny(pairs=pairs(one={"recipe": {"epochs": 1, "batch_size": 50}})),
            "recipe.batch_size is 50, but there are only 48",
        ),
    ],
)
def test_an_impossible_demand_is_refused_with_file_and_key_before_anything_is_written(
    content: dict[str, Any], message: str, workspace: Path
) -> None:
    with pytest.raises(InputError) as error:
        run(workspace, content)
    assert str(error.value).startswith(f"{workspace / 'study.yaml'}: {message}")
    assert [path.name for path in workspace.iterdir()] == ["study.yaml"]


def test_preparing_counts_each_network_without_touching_torchs_stream() -> None:
    state = torch.get_rng_state()
    study = prepared(tiny(["student", "kd", "at"]))
    assert torch.equal(torch.get_rng_state(), state)

    for role, name in (("teacher", TEACHER), ("student", STUDENT)):
        model = create.tapped(Network(model=name), "here", (3, 32, 32), 10, (0.5,) * 3, (0.5,) * 3)
        assert study.macs["pair", role] == model.macs()
