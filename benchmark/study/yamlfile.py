"""Reads YAML strictly: plain data only, no key twice, and every value remembers its line for error messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import InputError

LARGEST = 1 << 20
"""Bytes: nobody writes a larger study by hand."""

MOST_VALUES = 100_000
DEEPEST = 40

LONGEST = 100
"""Digits of a whole number."""


@dataclass(frozen=True)
class Document:
    """A YAML file's content, and where each of its values stands."""

    path: Path
    data: dict[str, Any]
    marks: dict[tuple[str | int, ...], tuple[int, int]] = field(repr=False)

    def where(self, location: Sequence[str | int]) -> str:
        """`file:line:column` of the value at a path of keys and indices, or of its nearest parent that is written."""
        for length in range(len(location), -1, -1):
            if mark := self.marks.get(tuple(location[:length])):
                return f"{self.path}:{mark[0]}:{mark[1]}"
        return str(self.path)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 5e-4 as a number, as everybody but YAML 1.1 does, and a date as text."""


_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}

_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag in _PLAIN]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read(path: Path) -> Document:
    """The mapping in a YAML file.

    Raises InputError, naming file and line, if it is missing, too large, no YAML, no mapping, or has a key twice.
    """
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if path.is_file() and size <= LARGEST else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{_near(path)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    if text is None:
        raise InputError(f"{path}: not a file of at most {LARGEST} bytes")
    marks: dict[tuple[str | int, ...], tuple[int, int]] = {}
    try:
        root = yaml.compose(text, Loader=_Loader)
        _walk(path, root, (), marks)
        data = yaml.load(text, Loader=_Loader)  # _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(
            f"{path}{line}: not valid YAML: {error.problem or error.context}"
        ) from None
    except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        held = "nothing" if data is None else f"a {type(data).__name__}"
        raise InputError(f"{path}: a study is a mapping of keys to values; this file holds {held}")
    return Document(path, data, marks)


def _near(path: Path) -> str:
    """What may have been meant instead of a file that is not there."""
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    others = sorted(other.stem for other in path.parent.glob(f"*{path.suffix}"))
    near = difflib.get_close_matches(path.stem, others, n=1, cutoff=0.5)
    return f"; did you mean {path.with_stem(near[0])}?" if near else ""


def _walk(
    path: Path,
    node: Any,
    location: tuple[str | int, ...],
    marks: dict[tuple[str | int, ...], tuple[int, int]],
) -> None:
    """Notes every value's position; refuses what is no plain data, keys that stand twice, and what aliases blow up."""
    if node is None:
        return
    if len(marks) > MOST_VALUES or len(location) > DEEPEST:
        raise InputError(f"{path}: too many or too deeply nested values")
    start = (node.start_mark.line + 1, node.start_mark.column + 1)
    marks.setdefault(location, start)
    if node.tag not in _PLAIN:
        raise InputError(f"{path}:{start[0]}:{start[1]}: the tag {node.tag!r} is not plain data")
    if node.tag == _TAG + "int" and len(node.value) > LONGEST:
        raise InputError(
            f"{path}:{start[0]}:{start[1]}: a whole number of {len(node.value)} digits is too large"
        )
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = key.value
            at = f"{path}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
            if key.tag not in (_TAG + "str", _TAG + "merge"):
                raise InputError(f"{at}: a key must be text; put it in quotes")
            if name in seen and name != "<<":
                raise InputError(f"{at}: key {name!r} stands twice")
            seen.add(name)
            marks[(*location, name)] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _walk(path, value, (*location, name), marks)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(path, value, (*location, index), marks)
