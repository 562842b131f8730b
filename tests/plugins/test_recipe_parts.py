"""Optimizers, schedules and augmentations of plug-ins: they train as kdbench's own ones do."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import InputError
from benchmark.execution.run import Summary
from benchmark.plugins import Moment, augmentation, optimizer, schedule
from tests.plugins.conftest import Write
from tests.support.networks import TEACHER
from tests.support.studies import Interrupt, Listening, bits, folders, plan, run, tiny

PARTS = """
import math
import torch
from benchmark.plugins import augmentation, optimizer, schedule

@optimizer("my_sgd")
def my_sgd(parameters, lr, weight_decay, momentum=0.9):
    return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay)

@optimizer("my_adam")
def my_adam(parameters, lr, weight_decay):
    return torch.optim.NAdam(parameters, lr, weight_decay=weight_decay)

@schedule("my_cosine")
def my_cosine(moment):
    return 0.5 * (1 + math.cos(math.pi * moment.now / moment.total))

@schedule("my_decay")
def my_decay(moment, rate=1.0):
    return math.exp(-rate * moment.now / moment.total)

@augmentation("my_noise")
def my_noise(images, generator, deviation=0.1):
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return (images + deviation * noise).clamp(0, 1)
"""

OWN = {
    "optimizer": {"name": "my_adam", "lr": 0.002},
    "schedule": {"name": "my_decay", "settings": {"rate": 3.0}},
    "augmentation": {"own": ["my_noise", {"name": "my_noise", "settings": {"deviation": 0.02}}]},
}


def study(rows: list[Any], recipe: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a study that uses the plug-in, except for its teacher."""
    return tiny(rows, plugins=["./my_parts.py"], recipe=recipe, **changes)


@pytest.fixture
def parts(write: Write) -> Path:
    """The plug-in."""
    return write("my_parts.py", PARTS)


@pytest.mark.trains
def test_parts_like_kdbenchs_own_give_the_same_weights(tmp_path: Path, parts: Path) -> None:
    own = {
        "optimizer": {"name": "my_sgd", "lr": 0.05, "settings": {"momentum": 0.8}},
        "schedule": {"name": "my_cosine", "warmup_epochs": 1},
        "augmentation": {"own": [{"name": "my_noise", "settings": {"deviation": 0.0}}]},
    }
    built_in = {
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.8},
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "augmentation": {"crop_padding": 0},
    }
    rows = ["student", {"name": "same", "method": "student", "recipe": built_in}]
    run(tmp_path, study(rows, own))
    first, second = (bits(folders(tmp_path)[f"{row}/0"]) for row in ("student", "same"))
    assert first["sha256"] == second["sha256"]


@pytest.mark.trains
@pytest.mark.parametrize("cohort_size", [None, 1])
def test_an_interrupted_training_equals_an_uninterrupted_one_alone_and_in_a_cohort(
    tmp_path: Path, parts: Path, cohort_size: int | None
) -> None:
    content = {**study(["student", "kd", "crld"], OWN), "plugins": ["../my_parts.py"]}
    run(tmp_path / "whole", content)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", content, Interrupt(after=2), cohort_size=cohort_size)
    run(tmp_path / "broken", content, cohort_size=cohort_size)

    whole, broken = folders(tmp_path / "whole"), folders(tmp_path / "broken")
    assert {row: bits(folder) for row, folder in broken.items()} == {
        row: bits(folder) for row, folder in whole.items()
    }


@pytest.mark.trains
def test_an_edited_part_trains_the_rows_that_use_it_again(tmp_path: Path, parts: Path) -> None:
    row = {"name": "slow", "method": "student", "recipe": {"schedule": "my_decay"}}
    content = study(["student", row], {})
    assert run(tmp_path, content) == Summary(planned=2, trained=2)
    recorded = {cell["row"]: cell["recipe"]["schedule"] for cell in plan(tmp_path)["cells"]}
    assert recorded == {"student": "cosine", "slow": "my_decay"}

    parts.write_text(PARTS.replace("math.exp(-rate", "math.exp(-2 * rate"))
    os.utime(parts, ns=(1, 1))
    listening = Listening()
    assert run(tmp_path, content, listening) == Summary(planned=2, trained=1, already_done=1)
    assert "slow: 1 finished cell is stale: my_parts has changed since" in listening.warnings[0]


@pytest.mark.trains
def test_a_teacher_may_have_an_optimizer_of_a_plug_in(tmp_path: Path, parts: Path) -> None:
    recipe = {"epochs": 1, "batch_size": 16, "optimizer": "my_adam"}
    pair = {
        "name": "pair",
        "teacher": {"model": TEACHER, "recipe": recipe},
        "student": "test_byobnet",
    }
    content = study(["kd"], {"epochs": 1}, pairs=[pair])
    assert run(tmp_path, content) == Summary(planned=1, trained=1)
    (teacher,) = plan(tmp_path)["teachers"]
    assert teacher["recipe"]["optimizer"] == "my_adam"

    parts.write_text(PARTS.replace("torch.optim.NAdam", "torch.optim.Adam"))
    os.utime(parts, ns=(1, 1))
    assert run(tmp_path, content) == Summary(planned=1, trained=1)
    (other,) = plan(tmp_path)["teachers"]
    assert other["id"] != teacher["id"]


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (
            {"optimizer": "my_sdg"},
            "recipe.optimizer: no optimizer 'my_sdg'; did you mean 'my_",
        ),
        ({"schedule": "my_cosin"}, "recipe.schedule: no schedule 'my_cosin'; did you mean"),
        (
            {"augmentation": {"own": ["my_nois"]}},
            "recipe.augmentation.own[0]: no augmentation 'my_nois'; did you mean 'my_noise'?",
        ),
        (
            {"optimizer": {"name": "my_sgd", "momentum": 0.8}},
            "recipe.optimizer.momentum: has no effect here; remove it",
        ),
        (
            {"schedule": {"name": "my_decay", "settings": {"rat": 3.0}}},
            "recipe.schedule: schedule 'my_decay' cannot take these settings: got an unexpected",
        ),
    ],
)
def test_a_wrong_name_or_setting_is_one_line_that_names_the_key(
    tmp_path: Path, parts: Path, recipe: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError) as error:
        run(tmp_path, study(["student"], recipe))
    (line,) = str(error.value).splitlines()
    assert reason in line


class Counting(torch.optim.SGD):
    """Remembers a number that is no tensor."""

    count = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.count += 1
        for group in self.param_groups:
            group["lr"] /= self.count
        super().step()


calls: list[int] = []


def raises(*_: Any) -> Any:
    raise KeyError("beta")


def drawn_elsewhere(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images + torch.rand(1).to(images.device)


def counted(moment: Moment) -> float:
    calls.append(moment.now)
    return 1 / len(calls)


MISTAKES: list[tuple[Callable[[str], Any], Callable[..., Any], str]] = [
    (optimizer, lambda parameters, lr, decay: None, "returns NoneType, not a torch.optim.Optim"),
    (
        optimizer,
        lambda parameters, lr, decay: Counting(parameters, lr),
        "cannot be resumed exac",
    ),
    (optimizer, raises, "fails: KeyError: 'beta'"),
    (
        optimizer,
        lambda parameters, lr, decay: torch.optim.LBFGS(parameters, lr),
        "fails: TypeError: ",
    ),
    (schedule, lambda moment: -1.0, "returns -1 at step 0; it must be finite and not negative"),
    (schedule, lambda moment: math.nan, "returns nan at step 0; it must be finite"),
    (schedule, lambda moment: None, "fails: TypeError: "),
    (schedule, counted, "returns another value when it is called again with the same moment"),
    (
        augmentation,
        lambda images, generator: images[:, :1],
        "returns float32 [4, 1, 32, 32] on ",
    ),
    (augmentation, lambda images, generator: None, "returns NoneType, not a tensor"),
    (augmentation, lambda images, generator: images.double(), "returns float64 [4, "),
    (augmentation, lambda images, generator: images / 0, "returns values that are not finite"),
    (augmentation, drawn_elsewhere, "draw all random numbers from the generator"),
]


@pytest.mark.parametrize(("register", "function", "reason"), MISTAKES)
def test_a_mistake_in_a_part_is_one_line_before_anything_is_trained(
    tmp_path: Path,
    clean: None,
    register: Callable[[str], Any],
    function: Callable[..., Any],
    reason: str,
) -> None:
    register("mine")(function)
    kind = register.__name__
    recipe = {"augmentation": {"own": ["mine"]}} if kind == "augmentation" else {kind: "mine"}
    with pytest.raises(InputError) as error:
        run(tmp_path, tiny(["student"], recipe=recipe))

    (line,) = str(error.value).splitlines()
    assert f": recipe.{kind}" in line
    assert f"{kind} 'mine'" in line
    assert reason in line
    assert not (tmp_path / "tiny").exists()
