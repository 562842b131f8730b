"""The environments that a cell was trained in, as tags of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.tracking.tags import DRIFT

Environment = Mapping[str, str]
"""Versions, machine and commit, by name."""

_SUMMARY = {
    "kdbench": "kdbench",
    "rules": "Rules",
    "git_commit": "commit",
    "python": "Python",
    "torch": "torch",
    "timm": "timm",
    "device_name": "on",
    "threads": "threads",
    "changes": "changed files",
    "plugins": "plug-ins",
}
"""The entries of an environment that a table shows in words, with their labels."""

_DECISIVE = (
    "device",
    "cuda",
    "cudnn",
    "rules",
    "kdbench",
    "python",
    "torch",
    "torchvision",
    "timm",
    "numpy",
)
"""Entries that results depend on: runs that differ in them are compared only on request.

Data and teacher are not listed, because they are part of a cell's identity. Commit and number of
threads are shown next to a table, but exclude no run from it.
"""


def environment_tags(environments: Sequence[Environment]) -> dict[str, str]:
    """Return the tags that describe where a cell was trained.

    Args:
        environments: The environment of each start of the training, oldest first. There is none if
            the training could not start.
    """
    if not environments:
        return {}

    first, last = environments[0], environments[-1]
    names = first.keys() | last.keys()
    drift = sorted(name for name in names if first.get(name) != last.get(name))

    fingerprints = filter(None, map(_fingerprint, environments))

    return {
        "git_commit": last.get("git_commit", ""),
        "changes": last.get("changes", ""),
        "plugins": last.get("plugins", ""),
        DRIFT: ", ".join(drift),
        "environment": _summary(last),
        "fingerprint": "; then ".join(dict.fromkeys(fingerprints)),
    }


def _summary(environment: Environment) -> str:
    values = {label: environment.get(name) for name, label in _SUMMARY.items()}
    return ", ".join(f"{label} {value}" for label, value in values.items() if value)


def _fingerprint(environment: Environment) -> str:
    values = {name: environment.get(name) for name in _DECISIVE}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)
