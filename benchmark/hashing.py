"""What a configuration is known by: its one text, and the first digits of that text's hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(configuration: Any) -> str:
    """The one JSON text of a configuration: sorted keys, no spaces, numbers as Python repeats them."""
    return json.dumps(
        configuration, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def identity(configuration: Any) -> str:
    """12 hexadecimal digits of the SHA-256 of the canonical configuration."""
    return hashlib.sha256(canonical(configuration).encode()).hexdigest()[:12]
