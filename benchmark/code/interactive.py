"""The code of objects that were defined in a notebook or a console, which have no file."""

from __future__ import annotations

import inspect
import sys
import textwrap
from typing import Any

from benchmark.code.syntax import Unit, parse

_PLAIN = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset)
"""Types whose `repr` describes a value completely."""


def interactive_code(obj: Any) -> dict[str, str]:
    """Return the code of an object without a file, and of what it uses in the same session.

    Functions and classes count with their source, plain values with their `repr`.

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
            found[key] = repr(value)
        elif getattr(value, "__module__", None) == obj.__module__:
            units = _units_of(value)
            found[key] = "".join(unit.text for unit in units)
            used = {other for unit in units for other in unit.uses if other in session}
            pending |= {other: session[other] for other in used}

    return found


def _units_of(value: Any) -> tuple[Unit, ...]:
    """Parse the source of a function or class; empty if it is unknown."""
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        return ()
    return parse(source, package="").units
