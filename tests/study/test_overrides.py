"""Rows that change a part of the study's recipe."""

from __future__ import annotations

import pytest

from benchmark.study.overrides import differences, overridden
from benchmark.study.schema import Recipe
from tests.support.studyfile import GOOD, load_text, refused

COMMON = Recipe.model_validate(
    {
        "epochs": 10,
        "optimizer": {"name": "sgd", "lr": 0.05, "nesterov": True},
        "schedule": {"name": "step", "milestones": [4, 8]},
        "augmentation": {"crop_padding": 2, "flip": True, "randaugment": {"magnitude": 5}},
        "mixup": 0.4,
    }
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.yaml"


def with_recipe(recipe: str) -> str:
    """Return the study file whose second row has a recipe of its own."""
    return GOOD.replace("settings: {temperature: 2}}", f"recipe: {recipe}}}")


def test_keys_that_a_row_does_not_name_keep_their_values():
    changes = {
        "epochs": 20,
        "optimizer": {"lr": 0.1},
        "augmentation": {"randaugment": {"operations": 3}},
    }
    recipe = overridden(COMMON, changes)
    assert recipe.epochs == 20
    assert recipe.schedule == COMMON.schedule
    assert recipe.optimizer == COMMON.optimizer.model_copy(update={"lr": 0.1})
    assert recipe.augmentation.randaugment.model_dump() == {"operations": 3, "magnitude": 5}
    assert recipe.augmentation.crop_padding == 2


def test_no_changes_leave_the_recipe_as_it_is():
    assert overridden(COMMON, {}) is COMMON
    assert overridden(COMMON, {"epochs": 10, "optimizer": "sgd"}) == COMMON


def test_null_restores_a_default():
    recipe = overridden(
        COMMON, {"mixup": None, "batch_size": None, "augmentation": {"randaugment": None}}
    )
    assert (recipe.mixup, recipe.batch_size, recipe.augmentation.randaugment) == (None, 64, None)
    assert recipe.augmentation.flip


@pytest.mark.parametrize("schedule", ["cosine", {"name": "cosine"}])
def test_a_section_with_another_name_is_replaced_as_a_whole(schedule):
    recipe = overridden(COMMON, {"schedule": schedule, "optimizer": {"name": "adamw", "lr": 1e-3}})
    assert (recipe.schedule.name, recipe.schedule.milestones) == ("cosine", [])
    assert (recipe.optimizer.name, recipe.optimizer.nesterov) == ("adamw", False)


def test_the_differences_of_recipes_are_named_key_by_key():
    recipe = overridden(
        COMMON, {"epochs": 24, "optimizer": {"lr": 0.1}, "mixup": None, "ema": 0.999}
    )
    assert differences(recipe, COMMON) == (
        "epochs 24 instead of 10, optimizer.lr 0.1 instead of 0.05, ema 0.999 instead of none, "
        "mixup none instead of 0.4"
    )
    assert differences(COMMON, COMMON) == ""
    flipped = overridden(COMMON, {"augmentation": {"flip": False}})
    assert differences(flipped, COMMON) == "augmentation.flip false instead of true"


def test_a_cell_has_the_recipe_of_its_row_and_others_that_of_the_study(file):
    study = load_text(file, with_recipe("{epochs: 12, optimizer: {lr: 0.1}}"))
    student, warm, _ = study.cells()[:3]
    assert student.recipe == study.recipe
    assert (warm.recipe.epochs, warm.recipe.optimizer.lr) == (12, 0.1)
    assert warm.recipe.optimizer.weight_decay == study.recipe.optimizer.weight_decay
    assert warm.configuration("data", {}, {})["recipe"] == warm.recipe.identity


def test_a_searched_learning_rate_is_set_on_top_of_the_recipe_of_a_row(file):
    recipe = "{optimizer: {lr: 0.1}}, found: {same: {lr: 0.3}}"
    study = load_text(file, with_recipe(recipe))
    rates = {
        cell.pair.name: cell.recipe.optimizer.lr
        for cell in study.cells()
        if cell.row.name == "warm"
    }
    assert rates == {"resnet14-resnet8": 0.1, "same": 0.3}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{epoch: 3}", "11:39: methods[1].recipe.epoch: unknown key; did you mean 'epochs'?"),
        (
            "{optimizer: {lr: 0}}",
            "11:51: methods[1].recipe.optimizer.lr: is 0; it must be greater than 0",
        ),
        ("{epochs: 8}", "11:30: methods[1].recipe: schedule.milestones contains 8, and epochs is"),
        (
            "{augmentation: {resized_crop: 0.5}}",
            "11:54: methods[1].recipe.augmentation.resized_crop: applies only to streamed images",
        ),
        ("{precision: fp16, optimizer: dot}", "11:30: methods[1].recipe: optimizer 'dot' has two"),
        ("12", "11:30: methods[1].recipe: is 12; it must be a valid dictionary"),
    ],
)
def test_a_mistake_in_the_recipe_of_a_row_is_one_line_that_names_row_and_key(file, recipe, message):
    (line,) = refused(file, with_recipe(recipe))
    assert line[: len(message)] == message
    assert recipe == "12" or line.endswith("(row 'warm')")


def test_mistakes_of_several_rows_have_a_line_each(file):
    text = with_recipe("{epochs: 0, batch_size: 0}").replace("{beta: 500}", "{beta: true}")
    lines = refused(file, text)
    assert len(lines) == 3
    assert sum("methods[1].recipe" in line for line in lines) == 2
