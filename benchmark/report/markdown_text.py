"""Plain text as Markdown that says the same, and back."""

from __future__ import annotations

import re

_ANYWHERE = r"[\\`*|$]|(?<!\w)_|_(?!\w)|<(?=[A-Za-z/!?])|\](?=[(\[:])|~(?=~)|&(?=#?\w+;)"
_BEFORE_A_MARK = r"^(\d{1,9}(?=[.)](?:\s|$))|(?=#{1,6}(?:\s|$)|[-+](?:\s|$)|--+$|>|\[[ xX]\]\s))"


def inline(text: str) -> str:
    """Text within a line or a cell of a table; what is harmless stays readable."""
    return re.sub(_ANYWHERE, lambda found: "\\" + found.group(), " ".join(text.split()))


def block(text: str) -> str:
    """Text that starts a paragraph or a bullet, where `# `, `1. ` and the like would make it something else."""
    return re.sub(_BEFORE_A_MARK, r"\1\\", inline(text))


def plain(markdown: str) -> str:
    """The text that Markdown of `inline` or `block` stands for."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)
