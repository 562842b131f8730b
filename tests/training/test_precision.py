"""Precisions: TF32 only where a recipe asks for it, and weights of a teacher converted once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.data import Loaded
from benchmark.execution import prepare
from benchmark.execution.environment import make_repeatable
from benchmark.models import create
from benchmark.study.schema import Network
from benchmark.training import evaluate, member
from benchmark.training import precision as precision_module
from benchmark.training.precision import float32_products, lowered, slowdown
from benchmark.training.teacher import Teacher
from tests.execution.helpers import prepared
from tests.support.studies import bits, folders, run, tiny

SIZE = (3, 32, 32)
BACKENDS: Any = torch.backends


def products() -> set[str]:
    """Return how torch computes products of float32."""
    settings = (BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn)
    return {setting.fp32_precision for setting in settings}


def network(name: str) -> Any:
    torch.manual_seed(0)
    return create.tapped(Network(model=name), name, SIZE, 10, (0.5,) * 3, (0.25,) * 3).eval()


def batch() -> Loaded:
    return Loaded(torch.rand(4, *SIZE), torch.zeros(4, dtype=torch.int64), torch.arange(4))


def test_products_of_float32_are_exact_unless_a_recipe_asks_for_tf32() -> None:
    make_repeatable()
    assert products() == {"ieee"}
    with float32_products("tf32"):
        assert products() == {"tf32"}
    for precision in ("fp32", "bf16", "fp16"):
        with float32_products(precision):
            assert products() == {"ieee"}


@pytest.mark.trains
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_cohort_trains_in_the_products_of_its_recipe(
    precision: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    step: Callable[..., Any] = member.Member.step

    def spy(*arguments: Any) -> Any:
        seen.append(products())
        return step(*arguments)

    monkeypatch.setattr(member.Member, "step", spy)
    run(workspace, tiny(["kd"], recipe={"precision": precision}))
    assert seen[-1] == {"tf32" if precision == "tf32" else "ieee"}
    assert products() == {"ieee"}


@pytest.mark.trains
def test_networks_are_evaluated_in_exact_products(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    predict = evaluate.predict

    def spy(*arguments: Any) -> Any:
        seen.append(products())
        return predict(*arguments)

    monkeypatch.setattr(evaluate, "predict", spy)
    run(workspace, tiny(["kd"], recipe={"precision": "tf32"}))
    assert len(seen) > 3
    assert all(each == {"ieee"} for each in seen)


@pytest.mark.trains
def test_a_cell_in_tf32_is_another_cell_with_the_same_bits_on_a_cpu(workspace: Path) -> None:
    run(workspace, tiny(["kd"]))
    run(workspace, tiny(["kd"], name="rounded", recipe={"precision": "tf32"}))
    plain, rounded = folders(workspace)["kd/0"], folders(workspace, "rounded")["kd/0"]
    assert plain.name != rounded.name
    assert bits(plain) == bits(rounded)


@pytest.mark.parametrize(
    "name", ["cifar_resnet8", "cifar_mobilenetv2_half", "test_vit", "test_resnet"]
)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_teacher_with_converted_weights_computes_the_bits_of_autocast(
    name: str, precision: str
) -> None:
    model = network(name)
    teacher, loaded = Teacher(model, ""), batch()
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.no_grad(), torch.autocast("cpu", kind):
        expected = model(loaded.inputs, model.taps())

    output = teacher.output(loaded, precision)
    assert torch.equal(output.logits, expected.logits.float())
    assert all(
        torch.equal(own, other.float())
        for own, other in zip(output.maps, expected.maps, strict=True)
    )
    assert output.classifier is not None
    assert output.classifier.weight.dtype == torch.float32
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert kind in {value.dtype for value in lowered(model, precision).parameters()}


def test_a_slow_precision_is_reported_before_anything_is_trained(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "slowdown", lambda *_: 7.96)
    run(workspace, tiny(["student"], recipe={"precision": "bf16", "epochs": 1}))
    told = "recipe.precision: a convolution in bf16 takes 8.0 times as long as in fp32"
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("study", "told"),
    [
        ({"recipe": {"precision": "bf16"}}, True),
        ({"methods": [{"method": "kd", "recipe": {"precision": "bf16"}}]}, True),
        ({"recipe": {"precision": "tf32"}}, False),
        ({}, False),
    ],
)
def test_the_precisions_of_all_recipes_are_looked_at(
    study: dict[str, Any],
    told: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(prepare, "slowdown", lambda _: 2.0)
    prepared(tiny(study.pop("methods", ["student"]), **study))
    assert ("takes 2.0 times as long" in capsys.readouterr().out) == told


def test_a_difference_that_may_be_noise_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "slowdown", lambda _: 1.1)
    prepared(tiny(["student"], recipe={"precision": "bf16"}))
    assert "as long as" not in capsys.readouterr().out


def test_the_slowdown_is_the_median_ratio_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"fp32": iter([1.0, 1.0, 1.0, 1.0, 1.0]), "bf16": iter([9.0, 3.0, 4.0, 1.0, 2.0])}
    monkeypatch.setattr(
        precision_module, "_time_convolution", lambda _, __, precision: next(times[precision])
    )
    assert slowdown("bf16") == 3.0
