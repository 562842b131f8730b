"""Settings of a method: wrong keys and values are refused by name, legal ones are kept."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import pytest

from methods import (
    Bound,
    Choice,
    LogUniform,
    Method,
    NonNegative,
    Positive,
    SettingError,
    Uniform,
    create,
    get,
)


class Sample(Method):
    """One setting of every kind."""

    def __init__(
        self,
        rate: Annotated[float, Positive, LogUniform(0.1, 10.0)] = 1.0,
        share: Annotated[float, Bound(0.0, 1.0), Uniform(0.2, 0.8)] = 0.5,
        count: Annotated[int, Bound(low=1)] = 2,
        normed: Annotated[bool, Choice((True, False))] = False,
        mode: Literal["mean", "sum", 1] = "mean",
        ce: Annotated[float, NonNegative] = 1.0,
    ):
        super().__init__()
        self.seen = (rate, share, count, normed, mode, ce)


WRONG = [
    ("rate", 0.0, "must be > 0"),
    ("rate", -1.5, "must be > 0"),
    ("rate", math.nan, "must be finite"),
    ("rate", math.inf, "must be finite"),
    ("rate", -math.inf, "must be finite"),
    ("rate", "4", "must be of type float"),
    ("rate", True, "must be of type float"),
    ("rate", None, "must be of type float"),
    ("rate", [4.0], "must be of type float"),
    ("share", 1.01, "must be >= 0 and <= 1"),
    ("count", 0, "must be >= 1"),
    ("count", 2.0, "must be of type int"),
    ("count", True, "must be of type int"),
    ("normed", 1, "must be of type bool"),
    ("normed", "yes", "must be of type bool"),
    ("mode", "maen", "it must be one of 'mean', 'sum', 1"),
    ("mode", True, "it must be one of 'mean', 'sum', 1"),
    ("mode", ["mean"], "it must be one of 'mean', 'sum', 1"),
    ("ce", -0.1, "must be >= 0"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
def test_a_wrong_value_is_refused_with_the_value_and_the_reason(name, value, why):
    with pytest.raises(SettingError) as error:
        Sample(**{name: value})
    assert str(error.value).endswith(
        f": {name} is {value!r}; {'it ' if why.startswith('must') else ''}{why}"
    )


def test_a_whole_number_too_large_for_a_float_is_refused():
    with pytest.raises(SettingError, match=r"rate has 4097 bits; it must be finite"):
        Sample(rate=1 << 4096)


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", 0.0), ("share", 1.0), ("count", 1), ("rate", 5e-324), ("ce", 0.0), ("mode", "sum")],
)
def test_the_ends_of_a_legal_range_are_legal(name, value):
    assert Sample(**{name: value}).settings[name] == value


def test_a_whole_number_is_accepted_for_a_float_and_becomes_one():
    sample = Sample(rate=3)
    assert sample.settings["rate"] == 3.0
    assert isinstance(sample.settings["rate"], float)
    assert isinstance(sample.seen[0], float)


def test_settings_hold_every_argument_given_by_place_by_name_or_by_default():
    sample = Sample(3.0, normed=True)
    assert sample.settings == {
        "rate": 3.0,
        "share": 0.5,
        "count": 2,
        "normed": True,
        "mode": "mean",
        "ce": 1.0,
    }
    assert sample.seen == tuple(sample.settings.values())


def test_a_constructor_never_runs_with_a_wrong_value():
    ran = []

    class Counting(Method):
        def __init__(self, ce: Annotated[float, NonNegative] = 1.0):
            super().__init__()
            ran.append(ce)

    with pytest.raises(SettingError):
        Counting(ce=-1.0)
    Counting(ce=2)
    assert ran == [2.0]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("temprature", "did you mean 'temperature'?"),
        ("Weight", "did you mean 'weight'?"),
        ("alpha_7", "it has temperature, weight, ce"),
        ("name", "it has temperature, weight, ce"),
        ("self", "it has temperature, weight, ce"),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(key, hint):
    with pytest.raises(SettingError) as error:
        create("kd", **{key: 1.0})
    assert str(error.value) == f"kd: no setting {key!r}; {hint}"


def test_the_schema_is_the_signature_in_its_order():
    schema = Sample.schema()
    assert list(schema) == ["rate", "share", "count", "normed", "mode", "ce"]
    assert [setting.default for setting in schema.values()] == [1.0, 0.5, 2, False, "mean", 1.0]
    assert [str(setting.search) for setting in schema.values() if setting.search is not None] == [
        "log-uniform 0.1 to 10",
        "uniform 0.2 to 0.8",
        "one of True, False",
    ]


@pytest.mark.parametrize("name", ["student", "kd", "fitnet", "at"])
def test_every_default_and_both_ends_of_every_search_space_are_legal(name):
    method = get(name)
    for setting in method.schema().values():
        ends = (setting.search.low, setting.search.high) if setting.search else ()
        for value in (setting.default, *ends):
            assert method(**{setting.name: value}).settings[setting.name] == value
