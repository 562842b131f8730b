"""Settings of a method, declared by the signature of its constructor.

`temperature: Annotated[float, Positive, LogUniform(1.0, 20.0)] = 4.0` declares the type, the valid
range, the search space and the published default. Arguments are checked before a constructor runs.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints


class SettingError(ValueError):
    """A setting is unknown, a value is invalid, or methods cannot be combined."""


@dataclass(frozen=True)
class Bound:
    """Valid range of a number.

    Attributes:
        low: Smallest valid value.
        high: Largest valid value.
        open_low: Whether `low` itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Return whether `value` is in the range."""
        above_low = value > self.low if self.open_low else value >= self.low
        return above_low and value <= self.high

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"{'>' if self.open_low else '>='} {self.low:g}")
        if self.high < math.inf:
            parts.append(f"<= {self.high:g}")

        return " and ".join(parts)


Positive = Bound(low=0.0, open_low=True)
NonNegative = Bound(low=0.0)


@dataclass(frozen=True)
class LogUniform:
    """Log-uniform search space from `low` to `high`, both positive."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"log-uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Uniform:
    """Uniform search space from `low` to `high`; whole numbers for an int setting."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"uniform {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Search space that consists of a few `options`."""

    options: tuple[Any, ...]

    def __str__(self) -> str:
        return "one of " + ", ".join(map(str, self.options))


Search = LogUniform | Uniform | Choice


@dataclass(frozen=True)
class Setting:
    """One parameter of a method's constructor.

    Attributes:
        name: Name of the parameter.
        kind: Type of the value, or a `Literal` of the valid values.
        default: Value that applies if none is given: the published one.
        bound: Valid range; None if any value of the type is valid.
        search: Search space; None if the setting is not searched.
    """

    name: str
    kind: Any
    default: Any
    bound: Bound | None
    search: Search | None

    def checked(self, value: Any, owner: str) -> Any:
        """Check a value and convert it to the type of the setting.

        Args:
            value: The value to check. A whole number is accepted for a float setting.
            owner: Name of the method, for the message.

        Returns:
            The value, as a float where the setting is a float.

        Raises:
            SettingError: If the value is of the wrong type, not finite, or out of range.
        """
        if get_origin(self.kind) is Literal:
            self._check_choice(value, owner)
            return value

        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = self._as_float(value, owner)

        is_stray_bool = isinstance(value, bool) and self.kind is not bool
        if not isinstance(value, self.kind) or is_stray_bool:
            raise self._error(owner, value, f"it must be of type {self.kind.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(owner, value, "it must be finite")
        if self.bound is not None and not self.bound.holds(value):
            raise self._error(owner, value, f"it must be {self.bound}")
        return value

    def _check_choice(self, value: Any, owner: str) -> None:
        options = get_args(self.kind)
        if not any(value == option and type(value) is type(option) for option in options):
            raise self._error(owner, value, f"it must be one of {', '.join(map(repr, options))}")

    def _as_float(self, value: int, owner: str) -> float:
        try:
            return float(value)
        except OverflowError:
            bits = value.bit_length()
            raise SettingError(f"{owner}: {self.name} has {bits} bits; it must be finite") from None

    def _error(self, owner: str, value: Any, requirement: str) -> SettingError:
        return SettingError(f"{owner}: {self.name} is {value!r}; {requirement}")


def settings_of(constructor: Callable[..., Any]) -> dict[str, Setting]:
    """Read the settings from the signature of a constructor.

    Returns:
        The settings by name, in the order of the signature.
    """
    return {setting.name: setting for setting in _signature_settings(constructor)}


@functools.cache
def _signature_settings(constructor: Callable[..., Any]) -> tuple[Setting, ...]:
    hints = get_type_hints(constructor, include_extras=True)
    parameters = inspect.signature(constructor).parameters
    return tuple(
        _setting(name, hints[name], parameter.default)
        for name, parameter in parameters.items()
        if name != "self"
    )


def check_signature(constructor: Callable[..., Any], owner: str) -> None:
    """Check that the signature of a constructor is a complete schema with valid defaults.

    Args:
        constructor: The constructor.
        owner: Name of the method, for the message.

    Raises:
        SettingError: With the first mistake.
    """
    for name, parameter in list(inspect.signature(constructor).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind == parameter.VAR_POSITIONAL else "**"
            raise SettingError(f"{owner}: the constructor takes {stars}{name}; list every setting")
        if parameter.annotation is parameter.empty:
            raise SettingError(f"{owner}: {name} has no type; write, for instance, {name}: float")
        if parameter.default is parameter.empty:
            raise SettingError(f"{owner}: {name} has no default; give it the published value")

    try:
        settings = settings_of(constructor)
    except NameError as error:
        raise SettingError(f"{owner}: a setting's type cannot be read: {error}") from None

    for setting in settings.values():
        if get_origin(setting.kind) is not Literal and setting.kind not in (bool, int, float, str):
            raise SettingError(
                f"{owner}: {setting.name} is of type {setting.kind}; a setting is a bool, int, "
                "float, str or Literal"
            )
        setting.checked(setting.default, owner)

    if "ce" not in settings:
        raise SettingError(
            f"{owner}: the constructor lacks `ce`, the weight of cross-entropy; add ce: float = 1.0"
        )


def _setting(name: str, hint: Any, default: Any) -> Setting:
    """Split a type hint such as `Annotated[float, Positive, LogUniform(1.0, 20.0)]`."""
    kind, annotations = hint, []
    if get_origin(hint) is Annotated:
        kind, *annotations = get_args(hint)

    bounds = [extra for extra in annotations if isinstance(extra, Bound)]
    spaces = [extra for extra in annotations if isinstance(extra, LogUniform | Uniform | Choice)]
    return Setting(
        name,
        kind,
        default,
        bound=bounds[0] if bounds else None,
        search=spaces[0] if spaces else None,
    )


def suggest(name: str, choices: Iterable[str], otherwise: str) -> str:
    """Suggest the closest valid name for a misspelled one.

    Args:
        name: The misspelled name.
        choices: All valid names.
        otherwise: Introduction to the list of all valid names if none is close, e.g. "it has".

    Returns:
        "did you mean 'temperature'?", or "it has temperature, weight, ce".
    """
    options = list(choices)
    closest = difflib.get_close_matches(name, options, n=1)
    return f"did you mean {closest[0]!r}?" if closest else f"{otherwise} {', '.join(options)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def refuse_unknown(given: Iterable[str], valid: Iterable[str], owner: str) -> None:
    """Refuse setting names that a method does not have.

    Raises:
        SettingError: For the first name in `given` that is not in `valid`, with a suggestion.
    """
    names = list(valid)
    for name in given:
        if name not in names:
            hint = suggest(str(name), names, otherwise="it has")
            raise SettingError(f"{owner}: no setting {name!r}; {hint}")


def name_of(kind: type) -> str:
    """Return the name by which messages mention a method.

    It is the registered name of a class that another package registered, and the name of the file
    in this package. Any other class is mentioned by its own name.
    """
    registered: str = getattr(kind, "registered", "")
    if registered:
        return registered

    package, _, file = kind.__module__.rpartition(".")
    is_private = file.startswith("_")
    return file if package == __package__ and not is_private else kind.__name__


def checked_constructor(constructor: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that it checks its arguments and keeps them in `self.settings`."""
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def wrapper(self: Any, /, *args: Any, **kwargs: Any) -> None:
        settings = settings_of(constructor)
        owner = name_of(type(self))
        refuse_unknown(kwargs, settings, owner)

        arguments = signature.bind(self, *args, **kwargs)
        arguments.apply_defaults()
        values = {
            name: settings[name].checked(value, owner)
            for name, value in list(arguments.arguments.items())[1:]
        }

        constructor(self, **values)
        self.settings = values

    return wrapper
