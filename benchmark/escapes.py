"""Plain text as Markdown that says the same."""

from __future__ import annotations

import re

_ANYWHERE = r"[\\`*|$]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|\](?=[(\[:])|~(?=~)"


def inline(text: str) -> str:
    """Text within a line or a cell of a table; what is harmless stays readable."""
    return re.sub(_ANYWHERE, lambda found: "\\" + found.group(), " ".join(text.split()))
