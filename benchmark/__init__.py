"""The engine of kdbench: studies, cohorts, journals, tracking and leaderboards. It knows no method by name."""

from __future__ import annotations

__version__ = "0.1.0"

RULES = 1
"""Version of the protocol: a change that makes old numbers incomparable raises it, and so renews every cell."""
