"""The folder is the registry, `kd+at` is a union of terms, and every file says what it is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import methods
from methods import (
    Batch,
    Method,
    Needs,
    Output,
    Probe,
    SettingError,
    Shapes,
    UnknownMethodError,
    create,
)
from methods._composition import Composition
from methods.at import attention_loss, attention_map
from methods.fitnet import hint_loss
from methods.kd import kd_loss

FOLDER = Path(methods.__file__).parent
BATCH = Batch(torch.tensor([0, 1, 2, 0]), torch.arange(4))
MAPS = ((4, 8, 8), (6, 4, 4))
PROBE = Probe(Shapes((3,), (6,), MAPS), Shapes((3,), (6,), MAPS), samples=16, batch_size=4)


def output(seed, grad=False):
    draw = torch.Generator().manual_seed(seed)
    logits, embedding, *maps = (
        torch.randn(4, *shape, generator=draw).requires_grad_(grad) for shape in ((3,), (6,), *MAPS)
    )
    return Output(logits, embedding, tuple(maps))


def built(name, **settings):
    method = create(name, **settings)
    method.build(PROBE)
    return method


@pytest.mark.subprocess
def test_names_are_the_folders_files_and_no_method_is_imported_for_them():
    code = (
        "import sys, methods;"
        "print(*[name for name in methods.names() if f'methods.{name}' not in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=FOLDER.parent, check=True
    )
    files = sorted(
        file.stem for file in FOLDER.iterdir() if file.suffix == ".py" and file.stem[0] != "_"
    )
    assert process.stdout.split() == files == methods.names()
    assert {"student", "kd", "fitnet", "at"} <= set(files)


def test_methods_is_a_library_of_its_own_that_imports_nothing_of_the_engine():
    for file in FOLDER.glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported = [name.name for name in node.names]
            else:
                imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "benchmark" not in {name.partition(".")[0] for name in imported}, file
            assert getattr(node, "level", 0) == 0, f"{file}: a relative import"


@pytest.mark.parametrize("name", methods.names())
def test_a_methods_file_says_where_it_comes_from(name):
    method = methods.get(name)
    assert method.__module__ == f"methods.{name}"
    assert method.__doc__
    assert method.formula
    assert methods.module(name).__doc__
    assert method.paper is not None or method.control
    assert "ce" in methods.schema(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("studnet", "unknown method 'studnet'; did you mean 'student'?"),
        ("fitnets", "unknown method 'fitnets'; did you mean 'fitnet'?"),
        ("kd+fitnt", "unknown method 'fitnt'; did you mean 'fitnet'?"),
        ("zzzzzz", f"unknown method 'zzzzzz'; choose from {', '.join(methods.names())}"),
        ("kd+", f"unknown method ''; choose from {', '.join(methods.names())}"),
        ("_settings", None),
        ("../kd", None),
        ("kd\0", None),
        ("kd+at+kd", "'kd+at+kd' contains 'kd' twice; raise its weight instead"),
    ],
)
def test_an_unknown_method_is_refused_with_a_suggestion(name, message):
    with pytest.raises(UnknownMethodError) as error:
        create(name)
    assert message is None or str(error.value) == message


def test_a_composition_is_the_union_of_its_parts_terms_with_each_parts_weights():
    both = built("kd + at", kd={"temperature": 2}, at={"beta": 500.0})
    student, teacher = output(0), output(1)
    terms = both(student, teacher, BATCH)
    alone = create("kd", temperature=2)(student, teacher, BATCH) | create("at", beta=500)(
        student, teacher, BATCH
    )
    assert list(terms) == ["kd", "at"]
    assert {name: (weight, value.item()) for name, (weight, value) in terms.items()} == {
        name: (weight, value.item()) for name, (weight, value) in alone.items()
    }
    assert both.tapped() == Needs(logits=True, maps=True)
    assert both.settings == {
        "kd": {"temperature": 2.0, "weight": 0.9, "ce": 0.1},
        "at": {"beta": 500.0, "p": 2, "ce": 1.0},
        "ce": 1.0,
    }


@pytest.mark.parametrize(
    ("settings", "ce"),
    [
        ({}, 1.0),
        ({"ce": 0.25}, 0.25),
        ({"ce": 0}, 0.0),
        ({"kd": {"ce": 3}}, 3.0),
        ({"kd": {"ce": 3}, "ce": 0.5}, 0.5),
    ],
)
def test_a_compositions_cross_entropy_is_its_parts_largest_unless_given(settings, ce):
    method = create("kd+at", **settings)
    assert (method.ce, method.settings["ce"]) == (ce, ce)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kd": {"temprature": 2.0}}, "kd: no setting 'temprature'; did you mean 'temperature'?"),
        ({"temperature": 2.0}, "kd+at: no setting 'temperature'; it has kd, at, ce"),
        ({"att": {}}, "kd+at: no setting 'att'; did you mean 'at'?"),
        ({"kd": 4.0}, "kd+at: kd is 4.0; write its settings as a mapping"),
        ({"at": {"p": 0}}, "at: p is 0; it must be >= 1"),
        ({"ce": -1}, "kd+at: ce is -1.0; it must be >= 0"),
        ({"ce": True}, "kd+at: ce is True; it must be of type float"),
    ],
)
def test_a_wrong_setting_in_a_composition_is_refused_with_its_owner(settings, message):
    with pytest.raises(SettingError) as error:
        create("kd+at", **settings)
    assert str(error.value) == message


def test_terms_of_one_name_are_told_apart_in_a_composition():
    class Same(Method):
        def __init__(self, ce: float = 1.0):
            super().__init__()

        def forward(self, student, teacher, batch):
            return {"kd": (1.0, student.logits.sum())}

    both = Composition({"first": create("kd"), "second": Same()})
    assert list(both(output(0), output(1), BATCH)) == ["kd", "second.kd"]


def test_a_compositions_adapters_train_with_it():
    names = {name for name, _ in built("kd+fitnet").named_parameters()}
    assert (
        names == {f"parts.fitnet.{name}" for name, _ in built("fitnet").named_parameters()} != set()
    )


@pytest.mark.parametrize(
    ("name", "probe", "reason"),
    [
        ("kd", Probe(Shapes((3,)), Shapes((3,)), 16, 4), None),
        ("at", PROBE, None),
        (
            "at",
            Probe(Shapes((3,)), Shapes((3,), maps=MAPS), 16, 4, {"student.maps": "no stages"}),
            "maps of the student: no stages",
        ),
        (
            "at",
            Probe(Shapes((3,), maps=MAPS), Shapes((3,)), 16, 4),
            "maps of the teacher: cannot be tapped",
        ),
        (
            "at",
            Probe(Shapes((3,), maps=((4, 1, 1),)), Shapes((3,), maps=((4, 4, 4),)), 16, 4),
            "all maps have a single position, so there is no attention to transfer",
        ),
        (
            "fitnet",
            Probe(Shapes((3,), maps=MAPS[:1]), Shapes((3,), maps=MAPS[:1]), 16, 4),
            "stage -2 is out of range; number of stages: 1",
        ),
        (
            "kd+at",
            Probe(Shapes((3,)), Shapes((3,)), 16, 4),
            "at: maps of the student: cannot be tapped",
        ),
    ],
)
def test_a_method_says_why_it_cannot_run_on_a_pair(name, probe, reason):
    assert create(name).supports(probe) == reason


@pytest.mark.parametrize("loss", [kd_loss, attention_loss, hint_loss])
def test_a_duplicated_batch_has_the_same_loss(loss):
    shape = (4, 3) if loss is kd_loss else (4, 6, 5, 5)
    student, teacher = torch.randn(
        2, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert loss(
        student.repeat(2, *[1] * (len(shape) - 1)), teacher.repeat(2, *[1] * (len(shape) - 1))
    ).item() == (pytest.approx(loss(student, teacher).item(), rel=1e-12))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("gap", [120.0, 500.0])
def test_kd_of_logits_far_apart_is_exact_in_single_precision(gap, temperature):
    student = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    loss = kd_loss(student, torch.tensor([[0.0, gap, 0.0]]), temperature)
    loss.backward()
    exact = kd_loss(
        student.detach().double(), torch.tensor([[0.0, gap, 0.0]]).double(), temperature
    )
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert loss.item() == pytest.approx(gap * temperature, rel=1e-6)
    assert student.grad.flatten().tolist() == pytest.approx(
        [temperature, -temperature, 0.0], abs=1e-6
    )


def test_kd_of_constant_logits_is_zero_with_a_zero_gradient():
    student = torch.full((2, 5), 7.0, requires_grad=True)
    loss = kd_loss(student, torch.full((2, 5), -3.0))
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad.abs().max() < 1e-7


@pytest.mark.parametrize("p", [1, 2, 4])
def test_the_attention_of_a_dead_map_is_zero_and_its_gradient_is_finite(p):
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    assert attention_map(dead, p).eq(0).all()
    attention_loss(dead, torch.ones(2, 5, 4, 4), p).backward()
    assert dead.grad.isfinite().all()


def test_attention_ignores_the_scale_of_a_map_and_the_number_of_its_channels():
    features = torch.randn(
        2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert attention_loss(features * 7, features.repeat(1, 5, 1, 1)).item() == pytest.approx(
        0, abs=1e-15
    )
    assert attention_map(features).norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
