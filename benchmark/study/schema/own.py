"""Parts of a recipe that a plug-in provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from benchmark.errors import suggest
from benchmark.plugins.registry import Registry
from benchmark.study.schema.base import Strict, check_plain, short_repr


class Own(Strict):
    """Something of a plug-in, chosen by the name under which the plug-in registered it."""

    name: Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"})]
    """The name under which the plug-in registered it."""

    settings: Annotated[dict[str, Any], AfterValidator(check_plain)] = {}
    """Keyword arguments for the function of the plug-in."""

    def check(self, registry: Registry[Any]) -> None:
        """Reject settings that the function does not have.

        Raises:
            ValueError: A setting is unknown, or a required one is missing.
        """
        problem = registry.problem(self.name, self.settings)
        if problem is not None:
            raise ValueError(problem)


def check_name(registry: Registry[Any]) -> Callable[[Any], Any]:
    """Return a validator that rejects a mapping with a name that nothing has."""

    def check(value: Any) -> Any:
        name = value.get("name") if isinstance(value, Mapping) else None
        known = (*registry.built_in, *registry.names())
        if isinstance(name, str) and name not in known:
            hint = suggest(name, known)
            raise ValueError(f"no {registry.kind} {short_repr(name)}; {hint}")
        return value

    return check


def tag_of(registry: Registry[Any], built_in: type[Strict], own: type[Own]) -> Callable[[Any], str]:
    """Return a function that chooses the model of a value by its name."""

    def tag(value: Any) -> str:
        if not isinstance(value, Mapping):
            return (own if isinstance(value, own) else built_in).__name__
        return (own if value.get("name") in registry.names() else built_in).__name__

    return tag
