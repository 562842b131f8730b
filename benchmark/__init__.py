"""kdbench: a benchmark suite for knowledge distillation.

Studies are run from the command line (`kdbench --help`). Distillation methods are in the package
`methods`; this package does not depend on any particular one.
"""

from __future__ import annotations

__all__ = ["RULES", "__version__"]

__version__ = "0.1.0"

RULES = 1
"""Version of the protocol. Increment it with every change that makes old results incomparable
with new ones; a new version changes the identity of every cell."""
