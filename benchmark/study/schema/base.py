"""Building blocks of the schema: the strict base class, names, and short forms of mappings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from benchmark.hashing import canonical
from benchmark.study.names import NAME, RULE, is_name

MAX_SHOWN = 80
"""Maximum number of characters of a wrong value that an error message shows."""


class Strict(BaseModel):
    """Base class of all parts of a study file: no unknown keys, no conversions, immutable.

    The docstring below a field is its description in `docs/study.md` and in the JSON schema.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def name_is_optional(schema: dict[str, Any]) -> None:
    """Mark `name` as optional in a JSON schema, because a validator sets it."""
    schema["required"].remove("name")


def check_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Reject keyword arguments that cannot be part of an identity.

    Raises:
        ValueError: A value is not plain data, or a number is not finite.
    """
    try:
        canonical(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be plain data with finite numbers: {error}") from None
    return values


def short_repr(value: Any) -> str:
    """Return the repr of a wrong value for an error message, cut to `MAX_SHOWN` characters."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


@dataclass(frozen=True)
class Shorthand:
    """Annotation of a field whose mapping may be written as plain text.

    Attributes:
        expand: Returns the mapping that a text stands for, or the text itself if there is none.
        texts: The texts that stand for a mapping. If empty, every text does.
    """

    expand: Callable[[str], Any]
    texts: tuple[str, ...] = ()

    @classmethod
    def for_key(cls, key: str) -> Shorthand:
        """Return a shorthand in which a text is the value of one key: `sgd` for `{name: sgd}`."""
        return cls(lambda text: {key: text})

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text: dict[str, Any] = {"type": "string"}
        if self.texts:
            text = {"enum": list(self.texts)}
        return {"anyOf": [text, handler(schema)]}

    def _expand(self, value: Any) -> Any:
        return self.expand(value) if isinstance(value, str) else value


def _check_name(value: Any) -> Any:
    if isinstance(value, str) and not is_name(value):
        raise ValueError(f"is {short_repr(value)}; {RULE}")
    return value


Name = Annotated[
    str,
    BeforeValidator(_check_name),
    Field(json_schema_extra={"pattern": f"^{NAME.pattern}$"}),
]
"""Name of a study, a pair or a row. It becomes the name of a folder and of a table's row."""

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
