"""A method's settings: read from its constructor's signature, checked when it is called, searched by the tuner.

A parameter such as `temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0` says everything in one
place: the type, the legal range (`Positive`), the search space (`LogUniform`) and the published default.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints


class SettingError(ValueError):
    """A setting that a method does not have, or a value that it may not have; the message names both."""


@dataclass(frozen=True)
class Bound:
    """The legal range of a number: `low` to `high`, `low` itself excluded when `open_low`."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the range."""
        return (value > self.low if self.open_low else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        parts = [f"{'>' if self.open_low else '>='} {self.low:g}"] if self.low > -math.inf else []
        parts += [f"<= {self.high:g}"] if self.high < math.inf else []
        return " and ".join(parts)


Positive = Bound(low=0.0, open_low=True)
NonNegative = Bound(low=0.0)


@dataclass(frozen=True)
class LogUniform:
    """Search space: log-uniform from `low` to `high`, both positive."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Uniform:
    """Search space: uniform from `low` to `high`; whole numbers for an int setting."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Search space: one of `options`."""

    options: tuple[Any, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(map(str, self.options))


Search = LogUniform | Uniform | Choice


@dataclass(frozen=True)
class Setting:
    """One parameter of a method's constructor."""

    name: str
    kind: Any
    default: Any
    bound: Bound | None
    search: Search | None

    def checked(self, value: Any, owner: str) -> Any:
        """`value` in the setting's own type; raises SettingError with the value in the message if it may not be."""
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                raise SettingError(
                    f"{owner}: {self.name} has {value.bit_length()} bits; it must be finite"
                ) from None
        if get_origin(self.kind) is Literal:
            options = get_args(self.kind)
            if not any(value == option and type(value) is type(option) for option in options):
                raise SettingError(
                    f"{owner}: {self.name} is {value!r}; it may be {', '.join(map(repr, options))}"
                )
            return value
        if not isinstance(value, self.kind) or (self.kind is not bool and isinstance(value, bool)):
            raise SettingError(
                f"{owner}: {self.name} is {value!r}; it must be of type {self.kind.__name__}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise SettingError(f"{owner}: {self.name} is {value!r}; it must be finite")
        if self.bound is not None and not self.bound.holds(value):
            raise SettingError(f"{owner}: {self.name} is {value!r}; it must be {self.bound}")
        return value


def settings_of(constructor: Callable[..., Any]) -> dict[str, Setting]:
    """The settings that a constructor takes, by name, in the order of its signature."""
    hints = get_type_hints(constructor, include_extras=True)
    found = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        if name == "self":
            continue
        kind, extras = hints[name], []
        if get_origin(kind) is Annotated:
            kind, *extras = get_args(kind)
        bound = next((e for e in extras if isinstance(e, Bound)), None)
        search = next((e for e in extras if isinstance(e, LogUniform | Uniform | Choice)), None)
        found[name] = Setting(name, kind, parameter.default, bound, search)
    return found


def refuse_unknown(given: Mapping[str, Any], known: Iterable[str], owner: str) -> None:
    """Raises SettingError, with a suggestion, for the first key of `given` that is not in `known`."""
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise SettingError(f"{owner}: no setting {name!r}; {hint}")


def checked_constructor(constructor: Callable[..., None]) -> Callable[..., None]:
    """The same constructor, which checks every argument first and leaves them all in `self.settings`."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def wrapper(self: Any, /, *args: Any, **kwargs: Any) -> None:
        known = settings_of(constructor)
        owner = type(self).__module__.rpartition(".")[2]
        refuse_unknown(kwargs, known, owner)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        values = {
            name: known[name].checked(value, owner)
            for name, value in list(bound.arguments.items())[1:]
        }
        constructor(self, **values)
        self.settings = values

    return wrapper
