"""A plug-in is loaded from a file or a module; one that cannot be is explained in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import methods
from benchmark.errors import InputError, Stopped
from benchmark.plugins import loading
from benchmark.plugins.kinds import METRICS
from benchmark.plugins.loading import Plugin
from tests.plugins.conftest import Write
from tests.support.commandline import kdbench
from tests.support.studies import tiny, write_study

METHOD = """
from typing import Annotated
from methods import Method, Needs, NonNegative, register

@register("{name}")
class Own(Method):
    formula = "mean |a - b|"
    needs = Needs(logits=True)

    def __init__(self, weight: Annotated[float, NonNegative] = {weight}, ce: float = 1.0):
        super().__init__()
        self.weight, self.ce = weight, ce

    def forward(self, student, teacher, batch):
        return {{"own": (self.weight, (student.logits - teacher.logits).abs().mean())}}
"""

METRIC = """
from benchmark.plugins import metric

@metric("own", title="Own", help="Own metric.")
def own(logits, labels, teacher):
    return {value}
"""


def method(name: str = "own_method", weight: float = 1.0) -> str:
    return METHOD.format(name=name, weight=weight)


def study(folder: Path, *plugins: str, rows: tuple[str, ...] = ("student",)) -> Path:
    return write_study(folder / "study.yaml", {**tiny(rows), "plugins": list(plugins)})


def test_a_file_is_relative_to_the_study_and_a_module_may_lie_beside_it(
    tmp_path: Path, write: Write
) -> None:
    write("parts/own_file.py", method("from_file"))
    write("own_package/__init__.py", "")
    write("own_package/tricks.py", method("from_module"))
    file = study(
        tmp_path, "./parts/own_file.py", "own_package.tricks", rows=("from_file+from_module",)
    )

    done = kdbench("--workspace", tmp_path / "runs", "run", file, "--dry-run", "--device", "cpu")
    assert done.code == 0
    assert methods.origin("from_file") == "own_file"
    assert methods.origin("from_module") == "own_package.tricks"
    assert methods.create("ls(from_file)").settings == {"weight": 1.0, "ce": 1.0}


def test_a_file_may_import_another_file_beside_it(tmp_path: Path, write: Write) -> None:
    write("own_helpers.py", "WEIGHT = 3.0\n")
    write("own_main.py", "from own_helpers import WEIGHT\n" + method().replace("1.0", "WEIGHT", 1))
    loading.load(Plugin("own_main.py", tmp_path), "here")
    assert methods.create("own_method").settings["weight"] == 3.0


def test_an_edited_plug_in_is_loaded_again(tmp_path: Path, write: Write) -> None:
    write("own_helpers.py", "WEIGHT = 3.0\n")
    path = write(
        "own_edited.py", "import own_helpers\n" + method(weight=1.0) + METRIC.format(value=1)
    )
    plugin = Plugin("own_edited.py", tmp_path)
    loading.load(plugin, "here")
    before = methods.get("own_method")

    loading.unload_changed()
    loading.load(plugin, "here")
    assert methods.get("own_method") is before

    path.write_text(method(weight=2.0))
    os.utime(path, ns=(1, 1))
    loading.unload_changed()
    loading.load(plugin, "here")
    assert methods.create("own_method").settings["weight"] == 2.0
    assert METRICS.names() == []


def test_an_option_of_the_command_line_adds_a_plug_in(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("own_option.py", method("by_option"))
    assert "own_option" in kdbench("--plugin", "own_option.py", "methods", "by_option").out


def test_the_plug_ins_of_installed_packages_are_found_by_their_entry_points(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("own_installed.py", method("installed"))
    name = "own_distribution-1.0.dist-info"
    write(f"{name}/METADATA", "Metadata-Version: 2.1\nName: own-distribution\nVersion: 1.0\n")
    write(f"{name}/entry_points.txt", "[kdbench.plugins]\nown = own_installed\nbad = not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as error:
        loading.load_installed()
    assert str(error.value) == (
        "plug-in 'bad' of own-distribution: not_there: no module 'not_there'; install it, or "
        "correct the name"
    )

    write(f"{name}/entry_points.txt", "[kdbench.plugins]\nown = own_installed\n")
    loading.load_installed()
    assert methods.origin("installed") == "own_installed"


BROKEN = {
    "own_raises.py": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "own_exits.py": ("import sys; sys.exit(0)", "ends the program when it is imported"),
    "own_base.py": ("class Own(BaseException): pass\nraise Own", "cannot be imported: Own: Own"),
    "own_leaves.py": ("import os; os._exit(3)", "ends the program when it is imported"),
    "own_syntax.py": ("def f(:", "not valid Python: line 1: "),
    "own_needs.py": ("import not_installed_here", "no module 'not_installed_here'; install it"),
    "own_taken.py": (method("kd"), "method 'kd' of own_taken: the name is taken by methods.kd"),
    "own_named.py": (method("a+b"), "method 'a+b' of own_named: not a name"),
    "own_metric.py": (
        METRIC.format(value=1).replace('"own"', '"acc1"'),
        "metric 'acc1' of own_metric: the name is taken by kdbench itself; choose another name",
    ),
    "own_class.py": (
        "from methods import register\n@register('x')\nclass X: pass",
        "is not a subclass of Method",
    ),
    "own_flag.py": (
        method().replace('formula = "', 'baseline = True\n    formula = "'),
        "only kdbench's own methods can be the baseline or the reference",
    ),
    "own_bytes.py": ("x = '\0'", "not valid Python"),
    "statistics.py": ("x = 1", "another module has the name 'statistics'"),
    "methods.py": ("x = 1", "another module has the name 'methods'"),
    "not-a-name.py": ("x = 1", "the name is not usable in Python; use letters, digits and _"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plug_in_is_one_line_with_the_place_and_the_reason(
    tmp_path: Path, write: Write, name: str
) -> None:
    text, reason = BROKEN[name]
    write(name, text)
    file = study(tmp_path, name)
    done = kdbench("--workspace", tmp_path / "runs", "run", file, "--device", "cpu")
    (line,) = done.err.splitlines()
    assert done.code == 2
    assert line.startswith(f"kdbench: {file}:")
    assert f": plugins[0]: {name}: " in line
    assert reason in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("missing.py", "no such file; there is none at "),
        ("missing_module", "no module 'missing_module'; install it, or correct the name"),
        ("missing_package.module", "no module 'missing_package'"),
        ("not a module", "not a plug-in; write a path that ends in .py, or the name of a module"),
        ("", "not a plug-in"),
        ("folder.py", "is a folder; name a .py file, or a module"),
    ],
)
def test_a_missing_plug_in_is_one_line_with_the_remedy(
    tmp_path: Path, write: Write, reference: str, reason: str
) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError) as error:
        loading.load(Plugin(reference, tmp_path), "study.yaml:2:3: plugins[0]")
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"study.yaml:2:3: plugins[0]: {reference}: ")
    assert reason in line


def test_a_constructor_that_raises_is_one_line_that_names_the_row(
    tmp_path: Path, write: Write
) -> None:
    write("own_broken.py", method().replace("super().__init__()", "raise KeyError('x')"))
    file = study(tmp_path, "own_broken.py", rows=("student", "own_method"))
    done = kdbench("--workspace", tmp_path / "runs", "run", file, "--device", "cpu")
    (line,) = done.err.splitlines()
    assert done.code == 2
    assert line.endswith("methods[1]: own_method: KeyError: 'x'")


def test_a_signal_during_the_import_of_a_plug_in_ends_the_program(
    tmp_path: Path, write: Write
) -> None:
    write("own_signalled.py", "from benchmark.errors import Stopped; raise Stopped(143)")
    with pytest.raises(Stopped):
        loading.load(loading.Plugin("own_signalled.py", tmp_path), "here")


def test_a_plug_in_that_calls_exit_does_not_end_another_program_either(
    tmp_path: Path, write: Write
) -> None:
    write("own_leaves.py", "import os; os._exit(3)")
    code = (
        "from pathlib import Path\nfrom benchmark.errors import InputError\n"
        "from benchmark.plugins import loading\n"
        "try:\n    loading.load(loading.Plugin('own_leaves.py', Path()), 'here')\n"
        "except InputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(loading.__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ends the program when it is imported; remove the call of exit" in done.stdout
