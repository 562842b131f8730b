"""Registries of what plug-ins add to kdbench."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmark.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """Something that a plug-in adds.

    Attributes:
        name: The name by which studies use it.
        value: What was registered.
        origin: The module that registered it.
        identity: Module and qualified name of the definition.
    """

    name: str
    value: T
    origin: str
    identity: tuple[str, str]


class Registry(Generic[T]):
    """What plug-ins add of one kind, by name.

    Attributes:
        kind: What it is, for messages.
        built_in: The names of kdbench's own things of this kind, which no plug-in can take.
    """

    def __init__(self, kind: str, built_in: Iterable[str] = ()):
        self.kind = kind
        self.built_in = tuple(built_in)
        self._entries: dict[str, Entry[T]] = {}

    def add(self, name: str, value: T, definition: Callable[..., object]) -> None:
        """Add something under a name. The same definition, loaded again, replaces itself.

        Args:
            name: The name.
            value: What is registered.
            definition: The function or class that defines it.

        Raises:
            InputError: The name is not a plain word, or is already taken.
        """
        identity = (definition.__module__, definition.__qualname__)
        if not name.isidentifier():
            raise InputError(
                f"{self.kind} {name!r} of {identity[0]}: not a name; use letters, digits and _"
            )

        earlier = self._entries.get(name)
        if name in self.built_in or (earlier is not None and earlier.identity != identity):
            owner = "kdbench itself" if earlier is None else earlier.origin
            raise InputError(
                f"{self.kind} {name!r} of {identity[0]}: the name is taken by {owner}; choose "
                "another name"
            )
        self._entries[name] = Entry(name, value, identity[0], identity)

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        return sorted(self._entries)

    def get(self, name: str) -> T | None:
        """Return what is registered under a name; None if there is nothing."""
        entry = self._entries.get(name)
        return None if entry is None else entry.value

    def entries(self) -> list[Entry[T]]:
        """Return all entries, sorted by name."""
        return [self._entries[name] for name in self.names()]

    def remove_origin(self, module: str) -> None:
        """Remove what a module registered, because it is loaded again."""
        self._entries = {
            name: entry for name, entry in self._entries.items() if entry.origin != module
        }
