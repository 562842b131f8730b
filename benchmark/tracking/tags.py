"""Names of tags and metrics in MLflow."""

from __future__ import annotations

KIND = "kdbench.kind"
STUDY, PLAN = "kdbench.study", "kdbench.plan"

REVISION = "kdbench.revision"
"""Tag of an experiment: another value after each sync that wrote to its runs, and empty while one does."""

RUN, TEACHER, SUPERSEDED = "run", "teacher", "superseded"

BEST_MINUS_LAST = "val/best_minus_last"
"""Metric of a finished run, in percentage points on the validation images: a diagnostic, never a result."""

IDENTITY = ("pair", "method", "teacher", "teacher_id", "student", "dataset", "seed", "cell")
"""Tags that say what a run is; columns of `runs`."""

LONGEST_TAG = 5000
"""Characters. MLflow 3.17 takes 8,000 for a run and 20,000 for an experiment, older servers 5,000."""
