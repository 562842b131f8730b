"""The bytecode of functions and classes, for sessions that do not keep sources.

It differs between versions of Python, and is used only where there is nothing better: in a plain
console, and in cells that `%%time` runs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any


@dataclass
class Definition:
    """What defines a function or class.

    Attributes:
        text: Its instructions.
        uses: The names that it uses.
        constants: Its constants, defaults and attributes.
    """

    text: str = ""
    uses: set[str] = field(default_factory=set)
    constants: list[Any] = field(default_factory=list)

    def add(self, function: FunctionType) -> None:
        """Add a function, and the functions inside it."""
        for code in _codes(function.__code__):
            self.text += repr((code.co_name, code.co_code, code.co_names, code.co_varnames))
            self.uses |= set(code.co_names)
            self.constants += [each for each in code.co_consts if not isinstance(each, CodeType)]

        self.constants += [function.__defaults__, function.__kwdefaults__]


def definition(value: FunctionType | type) -> Definition:
    """Return what defines a function or class."""
    found = Definition()
    if isinstance(value, FunctionType):
        found.add(value)
        return found

    found.uses |= {base.__name__ for base in value.__bases__}
    for name, member in sorted(vars(value).items()):
        functions = list(_functions(member))
        for function in functions:
            found.text += f"{name}: "
            found.add(function)
        if not functions and not name.startswith("__"):
            found.text += f"{name} = "
            found.constants.append(member)
    return found


def _functions(member: Any) -> Iterator[FunctionType]:
    """Yield the functions of a member of a class: a method, or those of a property."""
    parts = [member]
    if isinstance(member, property):
        parts = [member.fget, member.fset, member.fdel]
    elif isinstance(member, functools.cached_property):
        parts = [member.func]

    for part in parts:
        function = inspect.unwrap(part) if part is not None else None
        if isinstance(function, FunctionType):
            yield function


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
