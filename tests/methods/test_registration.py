"""Classes of other packages become methods by `register`; what clashes is refused in one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch

import methods
from methods import (
    Batch,
    Method,
    Needs,
    NonNegative,
    Output,
    RegistrationError,
    SettingError,
    UnknownMethodError,
    create,
    register,
    scoped_registrations,
    unregister,
)
from methods._composition import Wrapper
from methods.testing import MethodConformance, Subject

BATCH = Batch(torch.tensor([0, 1, 2, 0]), torch.arange(4))

SOURCE = '''
"""Half of logit MSE. From my lab."""

from methods import Method, Needs, register


@register("{name}")
class {kind}(Method):
    """{kind} of a plug-in. Details."""

    needs = Needs(logits=True)

    def forward(self, student, teacher, batch):
        loss = (student.logits - teacher.logits.detach()).pow(2).mean()
        return {{"{name}": ({weight}, loss)}}
'''


@pytest.fixture(autouse=True)
def _scoped():
    """Registrations of a test end with it."""
    with scoped_registrations():
        yield


class Soft(Method):
    """Squared error of logits."""

    needs = Needs(logits=True)
    minimum = 0.0

    def __init__(
        self,
        weight: Annotated[float, NonNegative] = 2.0,
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.weight = weight
        self.ce = ce

    def forward(self, student, teacher, batch):
        difference = student.logits - teacher.logits.detach()
        return {"soft": (self.weight, difference.pow(2).mean())}


class TestSoft(MethodConformance):
    subjects = (Subject.of_class(Soft),)


def load(path: Path, name: str = "half_module", **parts: Any):
    """Write a module and run it, as a program that loads plug-ins does."""
    filled = {"name": "half", "kind": "Half", "weight": 0.5} | parts
    path.write_text(SOURCE.format(**filled))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where to write a module, which is forgotten afterwards."""
    for name in ("half_module", "other_module"):
        monkeypatch.setitem(sys.modules, name, None)
    return tmp_path / "half_module.py"


def outputs():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, generator=draw)
    return Output(logits[0]), Output(logits[1])


def message(name: str, kind: Any) -> str:
    """Return what is said of a class that cannot be registered."""
    with pytest.raises(RegistrationError) as error:
        register(name)(kind)
    assert "\n" not in str(error.value)
    assert "refused" not in methods.names()
    return str(error.value)


def test_a_registered_class_is_a_method_like_any_other():
    before = methods.names()
    assert register("soft")(Soft) is Soft
    assert methods.names() == sorted([*before, "soft"])
    assert methods.get("soft") is Soft
    assert methods.module("soft") is sys.modules[__name__]
    assert methods.origin("soft") == __name__
    assert methods.parts("ls(soft)+at") == ["ls(soft)", "at"]
    assert methods.schema("soft")["weight"].default == 2.0
    assert create("soft", weight=3).settings == {"weight": 3.0, "ce": 1.0}


def test_a_registered_method_can_be_wrapped_and_added_to_others():
    register("soft")(Soft)
    student, teacher = outputs()
    expected = (student.logits - teacher.logits).pow(2).mean()
    both = create("soft+kd", soft={"weight": 5.0})(student, teacher, BATCH)
    assert list(both) == ["soft", "kd"]
    assert both["soft"][0] == 5.0
    assert torch.equal(both["soft"][1], expected)

    def standardised(output):
        logits = output.logits
        return (logits - logits.mean(dim=1, keepdim=True)) / logits.std(dim=1, keepdim=True)

    (_, wrapped) = create("ls(soft)")(student, teacher, BATCH)["soft"]
    own = (standardised(student) - standardised(teacher)).pow(2).mean()
    assert wrapped.item() == pytest.approx(own.item(), rel=1e-4)


def test_a_registered_wrapper_wraps_methods():
    @register("doubled")
    class Doubled(Wrapper):
        """Twice the logits. Mine."""

        wraps = "kd"

        def forward(self, student, teacher, batch):
            return self.inner(Output(2 * student.logits), Output(2 * teacher.logits), batch)

    student, teacher = outputs()
    register("soft")(Soft)
    plain = create("soft")(student, teacher, BATCH)["soft"][1]
    assert create("doubled(soft)")(student, teacher, BATCH)["soft"][1].item() == pytest.approx(
        4 * plain.item(), rel=1e-6
    )
    assert "weight" in methods.schema("doubled")


def test_messages_name_a_registered_method_by_its_name():
    register("soft")(Soft)
    with pytest.raises(SettingError, match=r"^soft: no setting 'wieght'; did you mean 'weight'\?"):
        create("soft", wieght=1.0)
    with pytest.raises(SettingError, match=r"^soft: weight is -1\.0; it must be >= 0$"):
        create("kd+soft", soft={"weight": -1.0})
    with pytest.raises(UnknownMethodError, match="unknown method 'sotf'; did you mean 'soft'"):
        create("sotf")


def test_a_subclass_of_a_registered_class_goes_by_its_own_name():
    register("soft")(Soft)

    class Softer(Soft):
        pass

    with pytest.raises(SettingError, match=r"^Softer: weight is -1\.0"):
        Softer(weight=-1.0)
    register("softer")(Softer)
    assert methods.get("softer") is Softer
    assert methods.get("soft") is Soft


def test_a_class_without_a_constructor_has_the_weight_of_cross_entropy_as_its_setting(plugin):
    load(plugin)
    half = create("half", ce=0.25)
    assert (half.ce, half.settings) == (0.25, {"ce": 0.25})
    assert list(methods.schema("half")) == ["ce"]
    student, teacher = outputs()
    assert half(student, teacher, BATCH)["half"][0] == 0.5


def test_every_method_tells_where_it_comes_from():
    assert methods.origin("kd") == "methods.kd"
    assert methods.get("kd").__module__ == "methods.kd"
    with pytest.raises(UnknownMethodError, match="did you mean 'kd'"):
        methods.origin("kdd")


def test_the_description_is_that_of_the_class_or_of_its_file(plugin):
    assert methods.description("kd").startswith("Knowledge distillation")
    module = load(plugin)
    assert methods.description("half") == "Half of a plug-in. Details."
    module.Half.__doc__ = None
    assert methods.description("half") == "Half of logit MSE. From my lab."


def test_running_a_file_again_replaces_its_methods(plugin):
    first = load(plugin)
    second = load(plugin, weight=0.75)
    student, teacher = outputs()
    assert first.Half is not second.Half is methods.get("half")
    assert create("half")(student, teacher, BATCH)["half"][0] == 0.75


def test_running_a_cell_of_a_notebook_again_replaces_its_methods():
    def cell():
        @register("cell")
        class Cell(Soft):
            pass

        return Cell

    first, second = cell(), cell()
    assert first is not second is methods.get("cell")


def test_a_name_of_the_package_is_refused_with_both_places():
    assert message("kd", Soft) == (
        f"method 'kd' of {__name__}: the name is taken by methods.kd; choose another name"
    )
    assert methods.origin("kd") == "methods.kd"


def test_a_name_of_another_file_is_refused_with_both_places(plugin, tmp_path):
    load(plugin)
    other = tmp_path / "other_module.py"
    with pytest.raises(RegistrationError) as error:
        load(other, "other_module")
    assert str(error.value) == (
        "method 'half' of other_module: the name is taken by half_module.Half; choose another name"
    )
    assert methods.origin("half") == "half_module"


def test_two_files_of_one_module_name_do_not_replace_each_other(plugin, tmp_path):
    load(plugin)
    (tmp_path / "copy").mkdir()
    with pytest.raises(RegistrationError) as error:
        load(tmp_path / "copy" / "half_module.py")
    assert f"the name is taken by half_module.Half in {plugin}; choose" in str(error.value)


def test_two_classes_of_one_file_cannot_share_a_name():
    register("soft")(Soft)

    class Other(Soft):
        pass

    assert f"the name is taken by {__name__}.Soft; choose" in message("soft", Other)


@pytest.mark.parametrize("name", ["", "a+b", "ls(kd)", "two words", "_soft", "1soft", "söft", 5])
def test_a_name_that_could_not_be_written_in_a_study_is_refused(name):
    assert "not a name; use letters, digits and _, and start with a" in message(name, Soft)
    assert "`ce` is a setting of every method; choose another name" in message("ce", Soft)


def test_only_a_subclass_of_method_can_be_registered():
    assert "is not a subclass of Method" in message("refused", torch.nn.Linear)
    assert "is not a subclass of Method" in message("refused", lambda student: student)


@pytest.mark.parametrize("flag", ["baseline", "reference"])
def test_a_plug_in_is_neither_the_baseline_nor_the_reference(flag):
    kind = type("Flagged", (Soft,), {flag: True})
    assert "only kdbench's own methods can be the baseline or" in message("refused", kind)
    assert (methods.baseline(), methods.reference()) == ("student", "kd")


def test_a_class_has_one_name():
    register("soft")(Soft)
    assert "is registered as 'soft'; one name is enough" in message("refused", Soft)


def untyped(self, weight=1.0, ce: float = 1.0): ...
def without_default(self, weight: float, ce: float = 1.0): ...
def of_a_list(self, weights: list[float] = [], ce: float = 1.0): ...  # noqa: B006
def without_ce(self, weight: float = 1.0): ...
def open_ended(self, ce: float = 1.0, **others: float): ...
def out_of_range(self, weight: Annotated[float, NonNegative] = -1.0, ce: float = 1.0): ...
def unreadable(self, weight: Missing = 1.0, ce: float = 1.0): ...  # type: ignore  # noqa: F821


@pytest.mark.parametrize(
    ("constructor", "reason"),
    [
        (untyped, "weight has no type; write, for instance, weight: float"),
        (without_default, "weight has no default; give it the published value"),
        (of_a_list, "weights is of type list[float]; a setting is a bool, int, float, str or"),
        (without_ce, "the constructor lacks `ce`, the weight of cross-entropy; add ce: float"),
        (open_ended, "the constructor takes **others; list every setting"),
        (out_of_range, "weight is -1.0; it must be >= 0"),
        (unreadable, "a setting's type cannot be read: name 'Missing' is not defined"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_constructor_that_is_no_schema_is_refused(constructor, reason):
    kind = type("Wrong", (Soft,), {"__init__": constructor})
    assert message("refused", kind).startswith(f"method 'refused' of {__name__}: Wrong: {reason}")


def test_a_wrapper_must_say_what_it_wraps_by_default():
    kind = type("Bare", (Wrapper,), {})
    assert message("refused", kind) == (
        f"method 'refused' of {__name__}: it wraps no method by default; set wraps = \"kd\""
    )


def test_a_method_can_be_removed_and_its_name_used_again():
    register("soft")(Soft)
    unregister("soft")
    assert "soft" not in methods.names()
    with pytest.raises(UnknownMethodError):
        create("soft")
    unregister("soft")
    unregister("kd")
    assert methods.origin("kd") == "methods.kd"

    register("other")(Soft)
    assert methods.get("other") is Soft


def test_registrations_of_a_block_end_with_it_also_after_an_error():
    register("soft")(Soft)

    class Inner(Soft):
        pass

    def block():
        with scoped_registrations():
            register("inner")(Inner)
            unregister("soft")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert "inner" not in methods.names()
    assert methods.get("soft") is Soft
    assert (Soft.registered, Inner.registered) == ("soft", "")
