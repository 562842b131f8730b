"""A broken file in `methods/` is a broken method, not a broken program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import methods
from benchmark.errors import Stopped
from methods._loading import load_class
from methods.testing import Subject
from methods.testing._cases import Conformance
from tests.support.commandline import kdbench
from tests.support.studies import tiny, write_study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "methods"
KD = (FOLDER / "kd.py").read_text()
NAME = "sick"

ONE = """
from methods import Method


class Sick(Method):
    formula = "nothing"
"""

BROKEN: dict[str, tuple[str | bytes, str]] = {
    "a syntax error": ("x = 1\ndef (:\n", "importing it fails at sick.py:2: SyntaxError: "),
    "an unknown module": (
        "import no_such_module\n",
        "importing it fails at sick.py:1: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "an unknown name of a module": (
        "from methods import NoSuchClass\n",
        "importing it fails at sick.py:1: ImportError: cannot import name 'NoSuchClass'",
    ),
    "an error": ("\n\nraise RuntimeError('a\\nb')\n", "sick.py:3: RuntimeError: a"),
    "an error of its own": (
        "class Stop(BaseException):\n    pass\n\n\nraise Stop\n",
        "importing it fails at sick.py:5: Stop: Stop",
    ),
    "an exit": ("import sys\nsys.exit(0)\n", "importing it fails at sick.py:2: SystemExit: 0"),
    "an exit at once": (
        "import os\n\nos._exit(3)\n",
        "importing it fails at sick.py:3: SystemExit: 3",
    ),
    "endless recursion": ("def f():\n    f()\n\n\nf()\n", "RecursionError: maximum recursion"),
    "bytes that are no text": (b"\xff\xfe\x00x", "SyntaxError: "),
    "null bytes": (b"x = 1\n\x00\n", "source code string cannot contain null bytes"),
    "no class": ("x = 1\n", "exactly one subclass of Method, not 0 (none)"),
    "two classes": (
        f"{ONE}\n\nclass Other(Sick):\n    pass\n",
        "it must define exactly one subclass of Method, not 2 (Sick, Other)",
    ),
    "a setting without a type": (
        f"{ONE}\n    def __init__(self, rate=1.0, ce: float = 1.0):\n        super().__init__()\n",
        "Sick: rate has no type; write, for instance, rate: float",
    ),
    "a paper that is text": (
        f"{ONE}    paper = 'A Paper'\n",
        "paper of Sick is 'A Paper'; it must be a Paper",
    ),
    "a constructor that fails": (
        f"{ONE}\n    def __init__(self, ce: float = 1.0):\n        raise ValueError('no')\n",
        "creating it fails: ValueError: no",
    ),
    "the flag of another method": (KD, "only kd may set reference; leave it out of"),
}

Write = Callable[[str | bytes], Path]
"""Writes the file of the method `sick`."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of methods with links to all files, which the registry reads in place of its own."""
    folder = tmp_path / "methods"
    folder.mkdir()
    for file in FOLDER.glob("[a-z]*.py"):
        (folder / file.name).symlink_to(file)

    monkeypatch.setattr("methods._registration.FOLDER", folder)
    monkeypatch.setattr("methods._loading.FOLDER", folder)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    yield folder
    sys.modules.pop(f"methods.{NAME}", None)
    vars(methods).pop(NAME, None)


@pytest.fixture
def write(folder: Path) -> Write:
    file = folder / f"{NAME}.py"

    def written(content: str | bytes) -> Path:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return written


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


every_kind = pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
some_kinds = pytest.mark.parametrize(
    ("content", "reason"),
    [BROKEN[kind] for kind in ("a syntax error", "an exit", "two classes")],
)


@pytest.mark.parametrize(
    "content",
    [
        "raise KeyboardInterrupt\n",
        "from benchmark.errors import Stopped\n\nraise Stopped(143)\n",
        f"from benchmark.errors import Stopped\n{ONE}\n    def __init__(self, ce: float = 1.0):\n"
        "        raise Stopped(143)\n",
    ],
)
def test_a_signal_that_meets_the_code_of_a_method_ends_the_program(
    write: Write, content: str
) -> None:
    write(content)
    with pytest.raises((KeyboardInterrupt, Stopped)):
        methods.broken()


@every_kind
def test_a_broken_method_is_named_and_all_others_work(
    write: Write, content: str | bytes, reason: str
) -> None:
    write(content)
    assert NAME in methods.names()
    assert NAME not in methods.usable()
    assert list(methods.broken()) == [NAME]
    line = methods.broken()[NAME]
    assert line.startswith("method 'sick' is broken: methods/sick.py: ")
    assert reason in line
    assert len(line.splitlines()) == 1

    assert (methods.baseline(), methods.reference()) == ("student", "kd")
    assert methods.create("kd+at").settings
    with pytest.raises(ValueError if "creating" in reason else methods.BrokenMethodError):
        methods.create("kd+sick")


@some_kinds
def test_a_broken_method_is_listed_with_the_reason(
    write: Write, here: Path, content: str, reason: str
) -> None:
    write(content)
    listed = kdbench("methods")
    assert (listed.code, listed.err) == (0, "")
    rows = {line.split()[0] for line in listed.out.splitlines() if line.strip()}
    assert {*methods.names()} <= rows
    assert "method 'sick' is broken: methods/sick.py: " in listed.out
    assert kdbench("methods", "kd").code == 0

    card = kdbench("methods", "sick")
    assert (card.code, card.out, len(card.err.splitlines())) == (2, "", 1)
    assert reason in card.err


@some_kinds
def test_only_studies_that_want_a_broken_method_are_refused(
    write: Write, here: Path, content: str, reason: str
) -> None:
    write(content)
    for rows in (["student", "kd"], ["*"]):
        study = write_study(here / "study.yaml", tiny(rows))
        found = kdbench("run", str(study), "--dry-run", "--device", "cpu")
        assert found.code == 0, found.err
        assert "method 'sick' is broken: methods/sick.py: " in found.out + found.err
        assert "left out" in found.out + found.err

    study = write_study(here / "study.yaml", tiny(["student", "kd", "kd+sick"]))
    found = kdbench("run", str(study), "--dry-run", "--device", "cpu")
    assert (found.code, found.out, len(found.err.splitlines())) == (2, "", 1)
    assert "methods[2]: method 'sick' is broken: methods/sick.py: " in found.err
    assert reason in found.err


@pytest.mark.parametrize("flag", ["baseline", "reference"])
def test_the_baseline_and_the_reference_are_known_even_if_their_files_are_broken(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = getattr(methods, flag)()
    load = load_class

    def failing(wanted: str) -> type[methods.Method]:
        if wanted == name:
            raise methods.BrokenMethodError("broken")
        return load(wanted)

    monkeypatch.setattr("methods._registry.load_class", failing)
    assert list(methods.broken()) == [*sorted({name, "ls"} if name == "kd" else {name})]
    assert (methods.baseline(), methods.reference()) == ("student", "kd")


def test_files_that_only_look_like_methods_are_none(folder: Path) -> None:
    before = methods.names()
    for name in (".#kd.py", "._kd.py", "kd.py~", "kd.pyc", "_private.py"):
        (folder / name).write_bytes(b"\x00")
    assert methods.names() == before
    assert methods.broken() == {}


@pytest.mark.parametrize("name", ["kd copy", "my-method", "kd.bak", "2kd"])
def test_a_file_whose_name_no_study_can_write_is_a_broken_method(folder: Path, name: str) -> None:
    (folder / f"{name}.py").write_text(ONE)
    assert methods.broken() == {
        name: f"method {name!r} is broken: methods/{name}.py: its name is not that of a method; "
        "use letters, digits and _"
    }


def test_a_file_that_points_nowhere_is_a_broken_method(folder: Path) -> None:
    (folder / "sick.py").symlink_to(folder / "gone.py")
    assert list(methods.broken()) == [NAME]
    assert "there is no such file" in methods.broken()[NAME]


def test_a_mended_file_is_a_method_again(write: Write) -> None:
    write("def (:\n")
    assert list(methods.broken()) == [NAME]
    os.utime(write(ONE), (0, 0))
    assert methods.broken() == {}
    assert methods.create(NAME).settings == {"ce": 1.0}


def test_a_method_that_cannot_be_created_leaves_the_conformance_tests_of_others_alone() -> None:
    class Failing(methods.Method):
        def __init__(self, ce: float = 1.0):
            raise RuntimeError("no")

    class Tests(Conformance):
        subjects = (Subject.of_class(Failing), Subject.named("kd"), Subject.named("nkd"))

    class Function:
        fixturenames = ("bounded",)

        def parametrize(self, argument: str, values: list[Subject], ids: list[str]) -> None:
            self.ids = ids

    function = Function()
    Tests().pytest_generate_tests(function)  # type: ignore[arg-type]
    assert function.ids == ["Failing", "kd"]


@pytest.mark.slow
@pytest.mark.subprocess
def test_the_conformance_tests_of_all_others_run_and_the_broken_one_is_reported(
    tmp_path: Path,
) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("benchmark", "methods", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    (tmp_path / "methods" / "sick.py").write_text("import sys\nsys.exit(1)\n")

    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-header", "-q"),
            *("tests/methods/test_conformance.py", "tests/methods/test_built.py", "-n", "0"),
            *("-k", "(runs_on_at_least_one or usable or names_itself) and (kd or none_is_broken)"),
        ],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    lines = [line for line in process.stdout.splitlines() if line.startswith("FAILED")]
    assert len(lines) == 1, process.stdout
    assert "method 'sick' is broken" in process.stdout
