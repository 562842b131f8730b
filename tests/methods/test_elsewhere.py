"""The conformance command on files anywhere: what it tests, and what it says of a wrong file."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from methods import scoped_registrations
from methods.testing._loading import subjects_of

METHOD = '''
from methods import Method, Needs{imports}

{decorator}
class {kind}(Method):
    """Squared error of logits."""

    needs = Needs(logits=True)
    minimum = 0.0

    def forward(self, student, teacher, batch):
        loss = (student.logits - teacher.logits{detached}).pow(2).mean()
        return {{"{kind}": (1.0, loss)}}
'''


def method(kind: str, name: str = "", detached: bool = True) -> str:
    """The source of a method, registered if it has a name."""
    return METHOD.format(
        kind=kind,
        imports=", register" if name else "",
        decorator=f'@register("{name}")' if name else "",
        detached=".detach()" if detached else "",
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder of modules that are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with scoped_registrations():
        yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def names(source: str, folder: Path) -> list[str]:
    return [subject.name for subject in subjects_of(source, folder)]


def test_the_registered_methods_of_a_file_are_tested_and_no_others(folder):
    text = (
        method("First", "elsewhere_first") + method("Second") + method("Third", "elsewhere_third")
    )
    (folder / "elsewhere_a.py").write_text(text)
    assert names("elsewhere_a.py", folder) == ["elsewhere_first", "elsewhere_third"]
    assert names("elsewhere_a", folder) == ["elsewhere_first", "elsewhere_third"]


def test_a_file_with_one_class_needs_no_registration(folder):
    (folder / "elsewhere_b.py").write_text(method("Only"))
    (subject,) = subjects_of(str(folder / "elsewhere_b.py"), Path("nowhere"))
    assert subject.name == "Only"
    assert subject.method().needs.logits


def test_a_package_brings_the_methods_of_its_modules(folder):
    package = folder / "elsewhere_c" / "inner"
    package.mkdir(parents=True)
    (folder / "elsewhere_c" / "__init__.py").write_text("from .inner import losses\n")
    (package / "__init__.py").write_text("")
    (package / "losses.py").write_text(method("Inner", "elsewhere_inner"))
    assert names("elsewhere_c", folder) == ["elsewhere_inner"]
    assert names("elsewhere_c/inner/losses.py", folder) == ["elsewhere_inner"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", 'it registers no method; put @register("name") above a subclass of Method'),
        (
            method("First") + method("Second"),
            "it registers none of its methods (First, Second); put @register",
        ),
        ("\nx = 1 / 0\n", "importing it fails at {}:2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "importing it fails at {}:1: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('bye')\n", "importing it fails at {}:2: SystemExit: bye"),
        ("import no_such_thing\n", "importing it fails at {}:1: ModuleNotFoundError: No module"),
        (method("Taken", "kd"), "the name is taken by methods.kd; choose another name"),
    ],
    ids=["none", "unregistered", "error", "syntax", "exit", "import", "taken"],
)
def test_a_file_without_methods_to_test_is_refused_in_one_line(text, reason, folder, request):
    name = f"elsewhere_{request.node.callspec.id}.py"
    (folder / name).write_text(text)
    with pytest.raises(pytest.UsageError) as error:
        subjects_of(name, folder)
    assert str(error.value).startswith(f"{name}: ")
    assert reason.format(name) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.py", "missing.py: no such file; --methods takes a .py file or a module"),
        ("a/missing", "a/missing: no such file; --methods takes a .py file or a module"),
        ("no_such_module", "no_such_module: there is no module 'no_such_module'; --methods takes"),
        ("json.nothing", "json.nothing: there is no module 'json.nothing'; --methods takes"),
        ("json", "json: it registers no method; put @register"),
    ],
)
def test_a_file_that_is_not_there_is_refused_in_one_line(source, message, folder):
    with pytest.raises(pytest.UsageError) as error:
        subjects_of(source, folder)
    assert str(error.value).startswith(message)


def test_a_file_whose_name_imports_another_module_is_refused(folder):
    (folder / "random.py").write_text(method("Random", "elsewhere_random"))
    with pytest.raises(pytest.UsageError, match=r"`import random` finds another module .*; rename"):
        subjects_of("random.py", folder)


@pytest.mark.slow
@pytest.mark.subprocess
def test_the_command_runs_every_conformance_test_from_an_empty_folder(elsewhere):
    folder, run = elsewhere
    (folder / "good.py").write_text(method("Good", "good"))
    process = run("--methods", "good.py", "--junit-xml=report.xml")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "warning" not in process.stdout
    cases = ElementTree.parse(folder / "report.xml").iter("testcase")
    tests = [case.attrib["name"] for case in cases]
    for test in ("gradients_reach_all", "resumes_from_its_saved_state", "minimum", "not_asked_for"):
        assert [name for name in tests if test in name and "good" in name]


@pytest.mark.subprocess
def test_the_command_fails_for_a_method_that_breaks_a_promise(elsewhere):
    folder, run = elsewhere
    (folder / "leaking.py").write_text(method("Leaking", "leaking", detached=False))
    process = run("--methods", "leaking", "-k", "nothing_of_the_teacher and alike", "-n", "0")
    assert process.returncode == 1
    assert "1 failed" in process.stdout
    assert "test_gradients_reach_all_that_learns_and_nothing_of_the_teacher" in process.stdout


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--methods", "missing.py"),
            "ERROR: missing.py: no such file; --methods takes",
        ),
        ((), "ERROR: methods.testing tests your own methods; add --methods my_methods.py, or the"),
    ],
    ids=["missing", "none"],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments, message, elsewhere):
    _, run = elsewhere
    process = run(*arguments)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith(message)
