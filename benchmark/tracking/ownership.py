"""Tells the runs of this workspace from those that other workspaces wrote to the same experiment.

The tag `WORKSPACE` of a run lists the workspaces that have its journal, separated by spaces. Runs
of older versions of kdbench have no such tag and belong to everyone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.records.journal import read_start
from benchmark.records.layout import StudyFolder, Workspace
from benchmark.records.workspace_id import recorded_identity
from benchmark.redact import shown
from benchmark.tracking.store import Store
from benchmark.tracking.tags import KIND, PLAN, SUPERSEDED, WORKSPACE


def holders(run: Any) -> list[str]:
    """Return the workspaces that have a run's journal; empty for runs of older versions."""
    return str(run.data.tags.get(WORKSPACE, "")).split()


@dataclass(frozen=True)
class Ownership:
    """Decides which runs of an experiment belong to a workspace.

    Attributes:
        workspace: Identity of the workspace.
        starts: Times of the first records of all its journals of the study, in milliseconds since
            1970, including those of cells that were set aside.
    """

    workspace: str
    starts: frozenset[int]

    def owns(self, run: Any) -> bool:
        """Return whether a run belongs to the workspace, possibly together with others.

        The journal of a run that another workspace wrote is here if one begins at the same time:
        the workspace was copied, or its study was imported.
        """
        names = holders(run)
        if not names or self.workspace in names:
            return True

        return run.info.start_time in self.starts and run.data.tags.get(KIND) != SUPERSEDED

    def certain(self, run: Any) -> bool:
        """Return whether a run is known to be this workspace's, even if it has no journal now."""
        return self.workspace in holders(run) or run.info.start_time in self.starts

    def others(self, runs: Iterable[Any]) -> list[str]:
        """Return the sorted names of other workspaces whose current runs are among `runs`."""
        current = (run for run in runs if run.data.tags.get(KIND) != SUPERSEDED)
        foreign = (holders(run) for run in current if not self.owns(run))
        return sorted(set(itertools.chain.from_iterable(foreign)))


def ownership(workspace: str, folder: StudyFolder) -> Ownership:
    """Return which runs belong to the study or searches in a folder.

    Journals whose first record is damaged or unreadable, as it may be in cells that were set aside,
    don't count.
    """
    starts = {_start(path) for path in folder.journals()}
    return Ownership(workspace, frozenset(start for start in starts if start is not None))


def _start(journal: Path) -> int | None:
    try:
        return read_start(journal)
    except InputError:
        return None


def clash(experiment: str, store: Store, others: Sequence[str]) -> str:
    """Return a warning about runs of other workspaces in an experiment."""
    names = ", ".join(others)
    noun = "another workspace" if len(others) == 1 else "other workspaces"
    return (
        f"experiment {experiment!r} at {shown(store.uri)} also has runs of {noun} ({names}), which "
        "are left alone; give this study another experiment (key tracking.experiment), or unite "
        "the studies with `kdbench export` and `kdbench import`"
    )


def plan_tag_name(experiment: Any, workspace: str) -> str:
    """Return the experiment's tag that contains the plan of a workspace.

    The workspace that the experiment belongs to uses `PLAN`.
    """
    owner = experiment.tags.get(WORKSPACE, workspace)
    return PLAN if owner == workspace else f"{PLAN}.{workspace}"


def shown_workspace(experiment: Any, store: Store) -> str:
    """Return the workspace whose runs a table of an experiment shows; empty for all runs.

    It is the workspace that reads the table if it has written to the experiment, else the one that
    the experiment belongs to.
    """
    owner = str(experiment.tags.get(WORKSPACE, ""))
    reader = reader_of(store.workspace)
    return reader if reader and plan_tag_name(experiment, reader) in experiment.tags else owner


def is_shown(names: Sequence[str], workspace: str) -> bool:
    """Return whether a table of a workspace shows a run with these holders."""
    return not (names and workspace) or workspace in names


def reader_of(workspace: Path | None) -> str:
    """Return the identity of a workspace without creating one; empty if it is unknown."""
    if workspace is None:
        return ""

    try:
        return recorded_identity(Workspace(workspace))
    except InputError:
        return ""
