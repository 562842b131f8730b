"""kdbench: a benchmark suite for knowledge distillation.

Studies are run from the command line (`kdbench --help`). Distillation methods are in the package
`methods`; this package knows none of them by name.
"""

from __future__ import annotations

__all__ = ["RULES", "__version__"]

__version__ = "0.1.0"

RULES = 1
"""Version of the protocol. A change that makes old numbers incomparable raises it, and with it the
identity of every cell changes."""
