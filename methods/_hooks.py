"""What surrounds the functions that a method overrides: checks before and after they run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from methods._settings import name_of

if TYPE_CHECKING:
    from methods._contract import Method, Probe


class NotBuiltError(RuntimeError):
    """A method is called before `build` has created its adapters and memory banks."""


class UnsupportedPairError(ValueError):
    """A method is built for a pair that it does not support. The message says why."""


def building(build: Callable[[Any, Probe], Any]) -> Callable[[Any, Probe], Any]:
    """Wrap an override of `build`: check the pair, remember that it ran, and return the method."""

    @functools.wraps(build)
    def wrapper(self: Method, probe: Probe) -> Method:
        refuse_unsupported(self, probe)
        build(self, probe)
        self.built = True
        return self

    return wrapper


def also_on_single_samples(supports: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an override of `supports`: check batches of one sample too."""

    @functools.wraps(supports)
    def wrapper(self: Method, probe: Probe) -> str | None:
        reason: str | None = supports(self, probe)
        return reason or single_sample_obstacle(self, probe)

    return wrapper


def single_sample_obstacle(method: Method, probe: Probe) -> str | None:
    """Return why a method cannot learn from batches of one sample, if the pair has such."""
    from methods import _trial

    return _trial.single_sample_obstacle(method, probe)


def once_built(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of a method so that it says so if `build` has not run."""

    @functools.wraps(hook)
    def wrapper(self: Method, /, *args: Any, **kwargs: Any) -> Any:
        if not self.built:
            raise NotBuiltError(
                f"{name_of(type(self))}: call build(probe) before the first batch, for instance "
                "with probe = Probe.of(student, teacher, example)"
            )
        return hook(self, *args, **kwargs)

    return wrapper


def refuse_unsupported(method: Method, probe: Probe) -> None:
    """Raise UnsupportedPairError if a method does not support a pair."""
    reason = method.supports(probe)
    if reason is not None:
        raise UnsupportedPairError(f"{name_of(type(method))} does not support this pair: {reason}")
