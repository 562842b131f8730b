"""Copies the traces of `kdbench run --profile` to a run of their own, next to the study's runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.records.layout import StudyFolder
from benchmark.tracking.client import Client
from benchmark.tracking.ownership import Ownership
from benchmark.tracking.projection import Outcome, superseded_last
from benchmark.tracking.report_run import Report, write_report
from benchmark.tracking.tags import CONTENT, KIND, PROFILE, SCHEMA, SCHEMA_VERSION
from benchmark.wording import counted


def write_profile(
    client: Client,
    experiment_id: str,
    study: StudyFolder,
    name: str,
    found: Sequence[Any],
    owned: Ownership,
) -> list[Outcome]:
    """Write the traces of a study and their summaries, once.

    Traces of a later run replace them: MLflow gets another run if it has files that are gone.

    Args:
        client: Client of the store.
        experiment_id: MLflow's id of the experiment.
        study: Folder of the study, which no process trains now.
        name: Name of the study.
        found: All runs of the study.
        owned: Tells which of them belong to this workspace. So does a run with the same traces,
            which another workspace wrote that this one was copied from.

    Returns:
        Whether the run was created, updated or left unchanged; nothing if there are no traces.
    """
    summaries = sorted(study.profiles.glob("*.txt"))
    traces = [path.with_suffix(".json.gz") for path in summaries]
    files = [path for path in (*summaries, *traces) if path.exists()]
    if not files:
        return []

    note = (
        f"A few steps of {counted(len(summaries), 'cohort')}. Open a `.json.gz` in "
        "https://ui.perfetto.dev or chrome://tracing. The `.txt` beside it lists the most "
        "expensive operators of each cell."
    )
    tags = {SCHEMA: SCHEMA_VERSION, "study": name}
    times = [path.stat().st_mtime_ns // 1_000_000 for path in files]
    report = Report(tags, note, files, times=times, kind=PROFILE)

    profiles = [run for run in superseded_last(found) if run.data.tags.get(KIND) == PROFILE]
    equal = [run for run in profiles if run.data.tags.get(CONTENT) == report.digest][:1]
    candidates = equal + [run for run in profiles if run not in equal and owned.owns(run)]
    _, outcome = write_report(client, experiment_id, candidates, report)
    return [outcome]
