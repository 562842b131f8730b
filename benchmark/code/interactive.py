"""The code of objects that were defined in a notebook or a console, which have no file.

Everything in the session that such an object uses counts: functions and classes with their source,
or with their bytecode if the session does not keep sources, and other values with their content.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterable, Mapping, Set
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from benchmark.code import bytecode
from benchmark.code.syntax import Unit, parse
from benchmark.errors import InputError

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
"""Types whose `repr` describes a value completely."""


class InteractiveCode:
    """The code of an object without a file, and of what it uses in the same session.

    Attributes:
        texts: Text by name, such as `__main__.Loss`.
        imported: Functions, classes and modules that the session uses and has imported.
    """

    def __init__(self, obj: Any):
        """Collect everything that a function or class uses.

        Raises:
            InputError: It uses a value whose content is unknown.
        """
        self.texts: dict[str, str] = {}
        self.imported: list[Any] = []
        self._module: str = obj.__module__
        self._session: dict[str, Any] = vars(sys.modules[self._module])
        self._open: set[int] = set()

        first = obj.__qualname__.partition(".")[0]
        self._pending = {first: self._session.get(first, obj)}
        while self._pending:
            self._collect(*self._pending.popitem())

    def _collect(self, name: str, value: Any) -> None:
        key = f"{self._module}.{name}"
        if key in self.texts:
            return

        if isinstance(value, ModuleType):
            self.imported.append(value)
            return
        if isinstance(value, type | FunctionType) and value.__module__ == self._module:
            self.texts[key] = self._definition(value)
            return

        imported = isinstance(value, type | FunctionType | BuiltinFunctionType)
        text = self._text(value, name)
        if not imported:
            self.texts[key] = text

    def _definition(self, value: Any) -> str:
        """Return the text of a function or class of the session, and follow what it uses."""
        try:
            units = _units(value)
        except (OSError, TypeError, SyntaxError):
            defined = bytecode.definition(value)
            parts, uses = [defined.text], defined.uses
            parts += [self._text(constant, value.__qualname__) for constant in defined.constants]
        else:
            parts = [unit.text for unit in units]
            uses = {name for unit in units for name in unit.uses}
            self._follow_imports(units)

        cells = getattr(value, "__closure__", None) or ()
        names = value.__code__.co_freevars if isinstance(value, FunctionType) else ()
        for name, cell in zip(names, cells, strict=True):
            parts.append(f"{name} = {self._text(cell.cell_contents, name)}")

        used = {name: self._session[name] for name in uses if name in self._session}
        self._pending |= used
        return "".join(parts)

    def _follow_imports(self, units: Iterable[Unit]) -> None:
        """Follow the imports inside functions."""
        for item in (item for unit in units for item in unit.imports):
            module = sys.modules.get(f"{item.module}.{item.name}") or sys.modules.get(item.module)
            if module is not None:
                self.imported.append(module)

    def _text(self, value: Any, name: str) -> str:
        """Write the content of a value.

        Args:
            value: The value.
            name: The name that it has in the session, or belongs to, for messages.
        """
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, ModuleType | type | FunctionType | BuiltinFunctionType):
            return self._reference(value)
        if isinstance(value, MethodType):
            return f"{self._text(value.__self__, name)}.{value.__name__}"

        if id(value) in self._open:
            return "..."  # a value that contains itself
        self._open.add(id(value))
        try:
            return f"{type(value).__qualname__}({self._content(value, name)})"
        finally:
            self._open.discard(id(value))

    def _reference(self, value: Any) -> str:
        """Return the full name of a function, class or module, and follow it."""
        if isinstance(value, ModuleType):
            self.imported.append(value)
            return str(value.__name__)
        if getattr(value, "__module__", None) != self._module:
            self.imported.append(value)
            return f"{getattr(value, '__module__', '')}.{value.__qualname__}"

        first = value.__qualname__.partition(".")[0]
        if self._session.get(first) is value:
            self._pending[first] = value
            return f"{self._module}.{first}"
        if id(value) in self._open:
            return str(value.__qualname__)

        self._open.add(id(value))
        try:
            return self._definition(value)  # made by another function, or called differently since
        finally:
            self._open.discard(id(value))

    def _content(self, value: Any, name: str) -> str:
        """Write what a value consists of."""
        if isinstance(value, list | tuple):
            return ", ".join(self._text(item, name) for item in value)
        if isinstance(value, Mapping):
            pairs = value.items()
            return ", ".join(f"{self._text(k, name)}: {self._text(v, name)}" for k, v in pairs)
        if isinstance(value, Set):
            return ", ".join(sorted(self._text(item, name) for item in value))
        if hasattr(value, "__array__"):
            return self._elements(value, name)

        try:
            reduced = value.__reduce_ex__(2)
        except Exception as error:
            raise InputError(
                f"{self._module}: {name!r} is a {type(value).__name__}, whose content is unknown, "
                "so that edits could not be noticed; define what uses it in a file, and load that "
                "as a plug-in"
            ) from error
        if isinstance(reduced, str):
            return reduced
        self._reference(type(value))
        parts = [list(part) if hasattr(part, "__next__") else part for part in reduced]
        return ", ".join(self._text(part, name) for part in parts)

    def _elements(self, array: Any, name: str) -> str:
        """Return the type, shape and a digest of the elements of an array or a tensor."""
        if hasattr(array, "detach"):
            flat = array.detach().cpu().contiguous().reshape(-1)
            content = flat.view(sys.modules["torch"].uint8).numpy().tobytes()
        else:
            values = array.__array__()
            if values.dtype.hasobject:
                return self._text(values.tolist(), name)
            content = values.tobytes()
        digest = hashlib.sha256(content).hexdigest()
        return f"{getattr(array, 'dtype', '')} {tuple(array.shape)} {digest}"


def _units(value: Any) -> tuple[Unit, ...]:
    """Return the parsed source of a function or class.

    Raises:
        OSError: The session does not keep its source.
    """
    source = _class_source(value) if isinstance(value, type) else inspect.getsource(value)
    return parse(textwrap.dedent(source), package="").units


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
