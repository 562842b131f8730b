"""The code of docs/library.md and of the README runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import methods
from methods import Shapes, scoped_registrations, tap

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

PAGE = (ROOT / "docs" / "library.md").read_text()
LOOP, NETWORK, METHOD = CODE.findall(PAGE)
(README_LOOP,) = CODE.findall((ROOT / "README.md").read_text())


def run(source: str) -> dict[str, Any]:
    """Run code as a module of its own, and return its names."""
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "library_docs"}
    exec(compile(source, "docs/library.md", "exec"), names)
    return names


@pytest.mark.parametrize("loop", [LOOP, README_LOOP])
def test_a_loop_takes_25_lines_at_most(loop):
    assert len([line for line in loop.splitlines() if line.strip()]) <= 25


@pytest.mark.trains
def test_the_loop_of_the_readme_trains_a_student():
    names = run(README_LOOP)
    assert names["loss"].isfinite()
    assert all(parameter.grad is not None for parameter in names["student"].parameters())


@pytest.mark.trains
@pytest.mark.parametrize("name", ["reviewkd", "crd"])
def test_the_loop_trains_a_student_with_a_feature_method(name):
    assert LOOP.count('"reviewkd"') == 1
    names = run(LOOP.replace('"reviewkd"', f'"{name}"'))
    method = names["method"]
    assert list(names["terms"]) == [name]
    assert names["loss"].isfinite()

    learned = [*names["student"].parameters(), *method.parameters()]
    assert all(parameter.grad is not None for parameter in names["student"].parameters())
    assert any(parameter.grad.any() for parameter in method.parameters())
    assert all(parameter.grad is None for parameter in names["teacher"].parameters())
    assert all(parameter.isfinite().all() for parameter in learned)

    untrained = run(LOOP.replace("range(2)", "range(0)"))["student"]
    before, after = untrained.parameters(), names["student"].parameters()
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_network_of_ones_own_is_tapped():
    tapped = tap(run(NETWORK)["Small"](), torch.rand(2, 3, 32, 32))
    maps = ((8, 15, 15), (16, 7, 7))
    assert tapped.shapes == Shapes((10,), (16,), maps, (16, 7, 7), True)


def test_a_method_of_ones_own_can_be_created_wrapped_and_added():
    with scoped_registrations():
        run(METHOD)
        assert methods.origin("soft_mse") == "library_docs"
        assert methods.create("soft_mse", temperature=2.0).settings["temperature"] == 2.0
        for name in ("soft_mse+at", "ls(soft_mse)"):
            assert f'create("{name}")' in PAGE
            methods.create(name)


@pytest.mark.subprocess
def test_a_method_of_ones_own_passes_the_command_of_the_page(elsewhere):
    folder, conform = elsewhere
    assert "\npython -m pytest --pyargs methods.testing --methods my_methods.py\n" in PAGE
    (folder / "my_methods.py").write_text(METHOD)
    process = conform("--methods", "my_methods.py")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "soft_mse" not in methods.names()


def test_the_messages_of_the_page_are_what_the_program_says():
    with pytest.raises(methods.NotBuiltError) as error:
        methods.create("crd")(None, None, None)
    assert str(error.value).startswith("crd: call build(probe) before the first batch")
    assert "`crd: call build(probe) before the first batch`" in PAGE
