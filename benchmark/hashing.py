"""Identities: the canonical JSON of a configuration, and its short hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(configuration: Any) -> str:
    """Return the canonical JSON of plain data: sorted keys, no spaces, ASCII.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value cannot be represented in JSON.
    """
    return json.dumps(
        configuration,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )


def identity(configuration: Any) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of the canonical JSON.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value cannot be represented in JSON.
    """
    return digest(configuration)[:12]


def digest(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of plain data, in hexadecimal digits.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value cannot be represented in JSON.
    """
    return hashlib.sha256(canonical(content).encode()).hexdigest()
