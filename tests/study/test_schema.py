"""The parts of a study: which keys belong to which kind, defaults, identities."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchmark.hashing import canonical
from benchmark.study.schema import (
    ClassFolders,
    Digits,
    HuggingFace,
    Network,
    Optimizer,
    Pair,
    Recipe,
    Row,
    Search,
    Split,
    Torchvision,
    make_dataset,
    stored_dataset,
)

DATASETS = [
    (
        {"name": "digits"},
        Digits,
        '{"loading":"resident","name":"digits"}',
    ),
    (
        {"name": "torch/cifar100", "root": "x", "test_split": "test"},
        Torchvision,
        '{"loading":"resident","name":"torch/cifar100","test_split":"test"}',
    ),
    (
        {"name": "hfds/uoft-cs/cifar100", "input_key": "img", "target_key": "fine_label"},
        HuggingFace,
        '{"input_key":"img","loading":"resident","name":"hfds/uoft-cs/cifar100",'
        '"target_key":"fine_label"}',
    ),
    (
        {
            "name": "folder/mine",
            "image_size": 56,
            "loading": "streamed",
            "workers": 4,
            "train_split": "a",
        },
        ClassFolders,
        '{"image_size":56,"loading":"streamed","name":"folder/mine","train_split":"a"}',
    ),
]


@pytest.mark.parametrize(("options", "model", "identity"), DATASETS)
def test_a_name_decides_the_kind_of_a_data_set_and_its_identity_is_that_of_earlier_versions(
    options, model, identity
):
    dataset = make_dataset(**options)
    assert type(dataset) is model
    assert canonical(dataset.identity) == identity


@pytest.mark.parametrize(
    "options", [options for options, _, _ in DATASETS], ids=lambda options: options["name"]
)
def test_the_card_of_a_stored_teacher_is_read_as_this_and_earlier_versions_wrote_it(options):
    dataset = make_dataset(**options)
    keys = ("input_key", "target_key", "train_split", "test_split", "image_size")
    earlier = dict.fromkeys(keys) | {"root": "data", "loading": "resident", "workers": 2} | options

    assert stored_dataset(earlier) == dataset
    assert stored_dataset(dataset.model_dump()) == dataset


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", "did you mean 'digits'?"),
        ("cifar100", "did you mean 'torch/cifar100'?"),
        ("torch/cifar1000", "did you mean 'torch/cifar100'?"),
        ("torch/zzzzzzzz", "choose from digits, folder/<path>, hfds/<name>, torch/cifar10, "),
        ("zzz", "choose from digits, folder/<path>, hfds/<name>, torch/cifar10, "),
        ("folder/", "did you mean 'folder/<path>'?"),
        ("hfds", "choose from digits, "),
        ("", "choose from digits, "),
    ],
)
def test_an_unknown_data_set_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(ValidationError) as error:
        make_dataset(name)
    (problem,) = error.value.errors()
    assert problem["msg"].startswith(f"Value error, no data set {name!r}; {hint}")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits", {"root": "x"}),
        ("digits", {"workers": 4}),
        ("digits", {"image_size": 8}),
        ("digits", {"train_split": "train"}),
        ("torch/mnist", {"input_key": "image"}),
        ("folder/mine", {"target_key": "label"}),
    ],
)
def test_a_key_that_has_no_effect_on_a_kind_of_data_set_is_refused(name, options):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        make_dataset(name, **options)


def test_every_kind_of_data_set_answers_whether_it_is_resized():
    assert make_dataset("digits").image_size is None
    assert make_dataset("folder/mine").image_size is None
    assert make_dataset("folder/mine", image_size=8).image_size == 8


def test_a_split_without_validation_images_is_legacy():
    assert Split(val=0).legacy
    assert not Split().legacy


def test_dot_writes_its_default_delta_out_and_other_optimizers_have_none():
    assert Optimizer(name="dot") == Optimizer(name="dot", delta=0.075)
    assert Optimizer(name="dot", delta=None).delta == 0.075
    assert "delta" not in Recipe(epochs=1).identity["optimizer"]
    assert Recipe.model_validate({"epochs": 1, "optimizer": "dot"}).optimizer.delta == 0.075


def test_a_stretched_recipe_stretches_warm_up_and_milestones_with_its_length():
    schedule = {"name": "step", "milestones": [4, 7], "warmup_epochs": 1}
    recipe = Recipe.model_validate({"epochs": 10, "schedule": schedule})
    longer = recipe.stretched(2.5)

    assert recipe.stretched(1) is recipe
    assert (longer.epochs, longer.schedule.warmup_epochs) == (25, 2)
    assert longer.schedule.milestones == [10, 18]
    assert recipe.model_copy(update={"epochs": 1}).stretched(0.1).epochs == 1


def test_a_network_is_known_by_its_own_keys_and_can_be_had_without_pretrained_weights():
    pair = Pair.model_validate(
        {
            "teacher": {
                "model": "resnet18",
                "pretrained": True,
                "seed": 3,
                "kwargs": {"pretrained_cfg": "a1_in1k", "width": 2},
            },
            "student": "resnet8",
        }
    )
    teacher = pair.teacher

    assert pair.name == "resnet18-resnet8"
    assert set(teacher.identity) == {"model", "pretrained", "kwargs"}
    assert teacher.untrained == Network(model="resnet18", kwargs={"width": 2})


def test_a_row_is_named_after_its_method_unless_it_has_a_name():
    assert Row.model_validate({"method": "kd + at"}).name == "kd+at"
    assert Row.model_validate({"method": "kd", "name": "warm"}).name == "warm"


def test_the_same_number_of_trials_for_each_method_is_one_number():
    search = Search.model_validate({"trials": {"kd": 5, "at": 5}})
    assert search.trials == 5
    assert search.maximise
    assert not Search(objective="val/loss").maximise
