"""The bytecode of functions and classes, for sessions that do not keep sources.

It differs between versions of Python, and is used only where there is nothing better: in a plain
console, and in cells that `%%time` runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Set
from types import CodeType, FunctionType
from typing import Any


def definition(value: Any) -> tuple[str, set[str]]:
    """Return a text that defines a function or class, and the names that it uses.

    Args:
        value: A function or class; of anything else, nothing is known.
    """
    if isinstance(value, FunctionType):
        return _function(value)
    if not isinstance(value, type):
        return "", set()

    texts, uses = [], {base.__name__ for base in value.__bases__}
    for name, member in sorted(vars(value).items()):
        function = inspect.unwrap(member)
        if isinstance(function, FunctionType):
            text, names = _function(function)
            texts.append(f"{name}: {text}")
            uses |= names
        elif not name.startswith("__"):
            texts.append(f"{name} = {_constant(member)}")
    return "\n".join(texts), uses


def _function(function: FunctionType) -> tuple[str, set[str]]:
    codes = list(_codes(function.__code__))
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items()]
    parts = [(code.co_code, code.co_names, *map(_constant, code.co_consts)) for code in codes]
    return repr((parts, list(map(_constant, defaults)))), {
        name for code in codes for name in code.co_names
    }


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function, and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _constant(value: Any) -> str:
    """Write a constant; those whose text contains an address count with their type."""
    if isinstance(value, Set):
        return repr(sorted(value, key=repr))
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text
