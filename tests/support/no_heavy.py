"""Pytest plugin that blocks heavy packages, because reading results needs only pandas.

`python -m pytest tests/leaderboard tests/report -p tests.support.no_heavy`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

HEAVY = ("torch", "torchvision", "timm", "mlflow", "optuna")


class Blocker(MetaPathFinder):
    """Refuses to import the heavy packages."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Raise ImportError for a heavy package, and leave all others to the next finder."""
        if fullname.partition(".")[0] in HEAVY:
            raise ImportError(f"{fullname}: blocked by {__name__}")
        return None


loaded = [name for name in HEAVY if name in sys.modules]
if loaded:
    raise RuntimeError(f"{', '.join(loaded)}: imported before this plugin could block it")
sys.meta_path.insert(0, Blocker())
