"""Read YAML strictly, with the position of every value for error messages, and write plain YAML."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from benchmark.errors import InputError, remedy, suggest
from benchmark.printable import is_unprintable

MAX_BYTES = 1 << 20
"""Maximum size of a file."""

MAX_VALUES = 100_000
"""Maximum number of values in a file, with aliases expanded."""

MAX_DEPTH = 40
"""Maximum nesting depth of mappings and lists."""

MAX_DIGITS = 100
"""Maximum number of characters in an integer."""

Location: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

Position: TypeAlias = tuple[int, int]
"""Line and column, counted from 1."""

_TAG = "tag:yaml.org,2002:"
_STR, _INT, _MERGE = f"{_TAG}str", f"{_TAG}int", f"{_TAG}merge"
_PLAIN = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_TEXT = {_TAG + kind for kind in ("timestamp", "value")}

_LAYOUT = "\n\t"
"""Control characters that a value may contain."""

_DIGEST_KEY = "weights"
_DIGEST_PARENTS = (("teacher",), ("<<",))
_DIGEST = re.compile("[0-9a-f]{8,64}")

_TOO_LARGE = "too many or too deeply nested values"
_UNAMBIGUOUS = "write true or false, or a decimal number, or put text in quotes"

_AMBIGUOUS = re.compile(
    r"""
      yes | Yes | YES | no | No | NO | on | On | ON | off | Off | OFF
    | [-+]? 0 [0-9_]+                                       # octal in YAML 1.1, decimal in 1.2
    | [-+]? 0o [0-7_]+                                      # text in YAML 1.1, octal in 1.2
    | [-+]? [0-9] [0-9_]* (: [0-5]? [0-9])+ (\. [0-9_]*)?   # base 60 in YAML 1.1, text in 1.2
    """,
    re.VERBOSE,
)
"""Unquoted values that YAML 1.1 and YAML 1.2 read differently."""


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, and the position of each value.

    Attributes:
        path: The file.
        data: Its content as plain data.
        positions: Location of a value -> its line and column.
    """

    path: Path
    data: dict[str, Any]
    positions: dict[Location, Position] = field(repr=False)

    def where(self, location: Sequence[str | int]) -> str:
        """Return `file:line:column` of a value, or of its nearest parent in the file."""
        for length in range(len(location), -1, -1):
            position = self.positions.get(tuple(location[:length]))
            if position is not None:
                line, column = position
                return f"{self.path}:{line}:{column}"

        return str(self.path)


def read(path: Path) -> Document:
    """Read the mapping in a YAML 1.2 file.

    Raises:
        InputError: The file is missing, too large, not YAML or not a mapping, or contains a
            duplicate key, anything but plain data, or a value that YAML 1.1 reads differently. The
            message names the file and, where possible, the line and column.
    """
    return parse(path, _read_text(path))


def parse(path: Path, text: str) -> Document:
    """Return the mapping in a YAML 1.2 text.

    Args:
        path: Name of the text, for messages.
        text: The text.

    Raises:
        InputError: As for `read`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", YAMLWarning)
        data, positions = _parse(path, text)

    if not isinstance(data, dict):
        problem = "is empty" if data is None else "is not a mapping"
        raise InputError(f"{path}: {problem}; write lines of the form 'key: value'")

    return Document(path, data, positions)


def dump(content: Mapping[str, Any]) -> str:
    """Return plain data as block YAML that `read` restores exactly, including the order of keys."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]

    stream = io.StringIO()
    yaml.dump(dict(content), stream)
    return stream.getvalue()


class _Representer(SafeRepresenter):
    """Puts text in quotes where an unquoted value would be ambiguous."""

    def represent_str(self, data: str) -> ScalarNode:
        style = "'" if _AMBIGUOUS.fullmatch(data) else None
        return self.represent_scalar(_STR, data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def _read_text(path: Path) -> str:
    """Return the text of a file, refusing files that are too large."""
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if path.is_file() and size <= MAX_BYTES else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_similar_file(path)}") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror}){remedy(error)}"
        raise InputError(f"{path}: {reason}") from None
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None

    if text is None:
        raise InputError(f"{path}: not a regular file, or larger than {MAX_BYTES} bytes")
    return text


def _similar_file(path: Path) -> str:
    """Suggest an existing file with a similar name, or say that the folder does not exist."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"

    names = [file.name for file in path.parent.glob(f"[!.]*{path.suffix}")]
    return suggest(path.name, names, cutoff=0.8)  # all names have the same suffix


def _parse(path: Path, text: str) -> tuple[Any, dict[Location, Position]]:
    """Return the data in a YAML text, and the positions of all values."""
    yaml = YAML(typ="safe", pure=True)
    inspector = _Inspector(path)

    try:
        root = yaml.compose(text)
        if root is None:
            return None, {}

        inspector.visit(root, ())
        return yaml.constructor.construct_document(root), inspector.positions

    except DuplicateKeyError as error:
        problem = str(error.problem).partition(" with value")[0]
        where = _where(path, error.problem_mark)
        raise InputError(f"{where}: {problem}; remove one of the two") from None
    except MarkedYAMLError as error:
        where = _where(path, error.problem_mark or error.context_mark)
        raise InputError(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise InputError(f"{path}: {_TOO_LARGE}") from None
    except (YAMLError, ValueError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


class _Inspector:
    """Records the position of every value, and rejects all but plain, unambiguous data."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.positions: dict[Location, Position] = {}

    def visit(self, node: Node, location: Location) -> None:
        """Inspect a value and all values in it. Aliases are expanded, so their values count too."""
        if len(self.positions) > MAX_VALUES or len(location) > MAX_DEPTH:
            raise InputError(f"{self.path}: {_TOO_LARGE}")

        self.positions.setdefault(location, _position(node.start_mark))
        if node.tag in _TEXT:
            node.tag = _STR
        if node.tag not in _PLAIN:
            raise self._error(node, f"the tag {node.tag!r} is not allowed; remove it")

        if isinstance(node, ScalarNode):
            if _is_digest(node, location):
                node.tag, node.style = _STR, "'"
            self._check_scalar(node)
        elif isinstance(node, MappingNode):
            for key, value in node.value:
                self._check_key(key)
                self.positions[(*location, key.value)] = _position(key.start_mark)
                self.visit(value, (*location, key.value))
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                self.visit(value, (*location, index))

    def _check_key(self, key: Node) -> None:
        if key.tag not in (_STR, _MERGE):
            remedy = "put it in quotes"
            if key.tag == _INT:  # {lr: 0,1} is read as {lr: 0, 1: null}
                remedy += ", or write a decimal point if it is part of a number such as 0,1"
            raise self._error(key, f"a key must be text; {remedy}")
        if isinstance(key, ScalarNode):
            self._check_characters(key, allowed="")
            self._check_scalar(key)

    def _check_scalar(self, node: ScalarNode) -> None:
        self._check_characters(node, _LAYOUT)
        if node.tag == _INT and len(node.value) > MAX_DIGITS:
            raise self._error(node, f"a whole number of {len(node.value)} digits is too large")

        if node.style is None and _AMBIGUOUS.fullmatch(node.value):
            problem = f"{node.value!r} means different things in YAML 1.1 and YAML 1.2"
            raise self._error(node, f"{problem}; {_UNAMBIGUOUS}")

    def _check_characters(self, node: ScalarNode, allowed: str) -> None:
        """Refuse characters that could change how a terminal shows a name or a value."""
        wrong = [mark for mark in node.value if mark not in allowed and is_unprintable(mark)]
        if wrong:
            raise self._error(
                node, f"this text contains the control character {wrong[0]!a}; remove it"
            )

    def _error(self, node: Node, problem: str) -> InputError:
        return InputError(f"{_where(self.path, node.start_mark)}: {problem}")


def _is_digest(node: ScalarNode, location: Location) -> bool:
    """Return whether a value is the digest of weights, which may look like a number."""
    named = location[-1:] == (_DIGEST_KEY,) and location[-2:-1] in _DIGEST_PARENTS
    return named and node.style is None and _DIGEST.fullmatch(node.value) is not None


def _position(mark: Any) -> Position:
    """Return the line and column of a mark, counted from 1."""
    return mark.line + 1, mark.column + 1


def _where(path: Path, mark: Any) -> str:
    """Return `file:line:column` of a mark, or the file alone if there is none."""
    if mark is None:
        return str(path)

    line, column = _position(mark)
    return f"{path}:{line}:{column}"
