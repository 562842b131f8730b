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
from benchmark.training import member
from benchmark.training.precision import float32_products, lowered, slowdown
from benchmark.training.teacher import Teacher
from tests.support.studies import bits, folders, run, tiny

CPU = torch.device("cpu")
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
    assert "recipe.precision: bf16 takes 8.0 times as long as fp32" in capsys.readouterr().out


def test_the_slowdown_of_a_precision_is_a_ratio_of_times() -> None:
    assert slowdown("bf16", CPU) > 0
