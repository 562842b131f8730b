"""Divides a module into units, and writes each unit in a canonical form.

A unit is a top-level statement: a function, a class, an assignment, or one name of an import. It
binds names, and uses names that other units bind.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_IGNORED_FIELDS = frozenset(("ctx", "kind", "type_comment"))
"""Fields of syntax trees that have no effect, or that differ between versions of Python."""

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Import:
    """A name that an import statement takes from another module.

    Attributes:
        module: Absolute name of the module.
        name: The name in that module; None for the whole module, `*` for all its public names.
    """

    module: str
    name: str | None


@dataclass(frozen=True, eq=False)
class Unit:
    """A top-level statement of a module, or one name of an import statement.

    Attributes:
        node: The statement.
        binds: The names that it binds or modifies.
        imports: What it imports, including imports inside functions.
    """

    node: ast.stmt
    binds: frozenset[str]
    imports: tuple[Import, ...]

    @cached_property
    def uses(self) -> frozenset[str]:
        """All names in the statement, except those that are only attributes."""
        return frozenset(node.id for node in ast.walk(self.node) if isinstance(node, ast.Name))

    @cached_property
    def text(self) -> str:
        """The statement without comments, docstrings and formatting."""
        return canonical(self.node)

    @property
    def runs_on_import(self) -> bool:
        """Whether the statement may have an effect although it binds no name."""
        return not self.binds and not self.imports and not _is_main_guard(self.node)


@dataclass(frozen=True)
class Syntax:
    """The units of a module.

    Attributes:
        units: All units, in the order of the file, without docstrings.
        by_name: The units that bind or modify a name.
    """

    units: tuple[Unit, ...]
    by_name: dict[str, list[Unit]] = field(default_factory=dict)

    def sources(self, name: str) -> list[Unit]:
        """Return the units that bind or modify a name; star imports if there are none."""
        return self.by_name.get(name, self._star_imports)

    @cached_property
    def _star_imports(self) -> list[Unit]:
        """The imports that may bind any name."""
        return [unit for unit in self.units if any(item.name == "*" for item in unit.imports)]


_parsed: dict[tuple[Path, str], Syntax] = {}


def read(path: Path, name: str) -> Syntax:
    """Parse a module, once in a process, so that its digest belongs to the code that is loaded.

    Args:
        path: The file.
        name: Absolute name of the module, which relative imports refer to.

    Raises:
        OSError: The file cannot be read.
        SyntaxError: The file is not Python code.
    """
    key = (path, name)
    if key not in _parsed:
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        _parsed[key] = parse(path.read_bytes(), package)
    return _parsed[key]


def forget(path: Path) -> None:
    """Parse a file again when it is next read, because its module is loaded again."""
    for key in [key for key in _parsed if key[0] == path]:
        del _parsed[key]


def parse(source: bytes | str, package: str) -> Syntax:
    """Divide source code into units.

    Args:
        source: The source code.
        package: Name of the package that relative imports refer to.

    Raises:
        SyntaxError: The source is not Python code.
    """
    units = [unit for node in ast.parse(source).body for unit in _units(node, package)]

    by_name: dict[str, list[Unit]] = {}
    for unit in units:
        for name in unit.binds:
            by_name.setdefault(name, []).append(unit)
    return Syntax(tuple(units), by_name)


def canonical(node: ast.AST) -> str:
    """Write a syntax tree so that the text depends on the code alone.

    Empty fields are omitted, because later versions of Python have more of them.
    """
    fields = []
    for name, value in ast.iter_fields(node):
        if name in _IGNORED_FIELDS or value is None or value == []:
            continue
        fields.append(f"{name}={_value(value)}")

    return f"{type(node).__name__}({','.join(fields)})"


def _value(value: object) -> str:
    if isinstance(value, ast.AST):
        return canonical(value)
    if isinstance(value, list):
        kept = [_value(item) for item in value if not _is_docstring(item)]
        return f"[{','.join(kept)}]"
    return repr(value)


def _units(node: ast.stmt, package: str) -> Iterator[Unit]:
    """Yield the units of a top-level statement."""
    if _is_docstring(node):
        return

    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            single = _with_alias(node, alias)
            # `import a.b` binds `a`.
            bound = alias.asname or alias.name.partition(".")[0]
            binds = frozenset() if alias.name == "*" else frozenset((bound,))
            yield Unit(single, binds, tuple(_imports(single, package)))
        return

    yield Unit(node, frozenset(_bound(node)), tuple(_imports(node, package)))


def _with_alias(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    """Return an import statement with one of its names."""
    if isinstance(node, ast.Import):
        return ast.Import(names=[alias])
    return ast.ImportFrom(module=node.module, names=[alias], level=node.level)


def _imports(node: ast.stmt, package: str) -> Iterator[Import]:
    """Yield everything that a statement imports, also inside functions."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                yield Import(alias.name, None)
        elif isinstance(inner, ast.ImportFrom):
            module = _absolute(inner, package)
            for alias in inner.names:
                yield Import(module, alias.name)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the absolute name of the module that a `from` import names."""
    if not node.level:
        return node.module or ""

    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def _bound(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds or modifies at the top level of its module."""
    if isinstance(node, _SCOPES):
        yield node.name
        return

    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
        return

    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield from _base(node)  # `Table["x"] = 1` modifies `Table`
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id

    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _base(node: ast.expr) -> Iterator[str]:
    """Yield the name at the start of `name.attribute[index]`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _is_docstring(node: object) -> bool:
    """Return whether a statement is only text: a docstring, also that of an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_main_guard(node: ast.stmt) -> bool:
    """Return whether a statement is `if __name__ == "__main__": ...`."""
    return isinstance(node, ast.If) and any(
        isinstance(inner, ast.Name) and inner.id == "__name__" for inner in ast.walk(node.test)
    )
