"""The code of objects that were defined in a notebook or a console, which have no file."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Set
from types import FunctionType
from typing import Any

from benchmark.code import bytecode
from benchmark.code.syntax import parse

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset)
"""Types whose `repr` describes a value completely."""


def interactive_code(obj: Any) -> dict[str, str]:
    """Return the code of an object without a file, and of what it uses in the same session.

    Functions and classes count with their source, or with their bytecode if the session does not
    keep sources. Plain values count with their `repr`, tensors and arrays with their elements.

    Args:
        obj: A function or class.

    Returns:
        Text by name, such as `__main__.Loss`.
    """
    session = vars(sys.modules[obj.__module__])
    first = obj.__qualname__.partition(".")[0]
    pending = {first: session.get(first, obj)}
    found: dict[str, str] = {}

    while pending:
        name, value = pending.popitem()
        key = f"{obj.__module__}.{name}"
        if key in found:
            continue

        if isinstance(value, _PLAIN):
            found[key] = repr(sorted(value, key=repr) if isinstance(value, Set) else value)
        elif hasattr(value, "__array__") and not isinstance(value, type):
            found[key] = _elements(value)
        elif getattr(value, "__module__", None) == obj.__module__:
            found[key], uses = _definition(value)
            pending |= {other: session[other] for other in uses if other in session}

    return found


def _elements(array: Any) -> str:
    """Return the type, shape and elements of an array or a tensor."""
    values = (array.detach().cpu() if hasattr(array, "detach") else array).__array__()
    return f"{values.dtype} {values.shape} {values.tolist()}"


def _definition(value: Any) -> tuple[str, set[str]]:
    """Return what defines a function or class, and the names that it uses."""
    try:
        source = _class_source(value) if isinstance(value, type) else inspect.getsource(value)
        units = parse(textwrap.dedent(source), package="").units
    except (OSError, TypeError, SyntaxError):
        return bytecode.definition(value)

    text = "".join(unit.text for unit in units)
    return text, {name for unit in units for name in unit.uses}


def _class_source(kind: type) -> str:
    """Return the source of a class.

    `inspect` looks for it in the file of the module, which a notebook does not have. Functions of
    the class know the cell that defines them.

    Raises:
        OSError: The source is unknown.
    """
    for member in vars(kind).values():
        function = inspect.unwrap(member)
        if not isinstance(function, FunctionType):
            continue

        lines, _ = inspect.findsource(function)
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                start = min([node.lineno, *(part.lineno for part in node.decorator_list)])
                end = node.end_lineno or start
                if start <= function.__code__.co_firstlineno <= end:
                    return "".join(lines[start - 1 : end])

    raise OSError(f"no source of {kind.__qualname__}")
