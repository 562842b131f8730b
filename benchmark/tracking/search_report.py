"""The report of a search in MLflow: its figures, its record and its best settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.markdown_text import bold, table
from benchmark.records.layout import SearchFolder
from benchmark.records.search import SearchRecord
from benchmark.tracking import report_run
from benchmark.tracking.client import Client
from benchmark.tracking.projection import Outcome
from benchmark.tracking.trial_run import STATES, as_text, search_tags
from benchmark.wording import counted

_MISSING = "-"
"""Text of a cell without a value."""


def write_search_report(
    client: Client,
    experiment_id: str,
    folder: SearchFolder,
    record: SearchRecord,
    candidates: Sequence[Any],
    times: Sequence[int],
) -> Outcome:
    """Add what the report of a search is missing, or write a new report.

    Args:
        client: Client of the store.
        experiment_id: MLflow's id of the search's experiment.
        folder: Folder of the study's searches.
        record: The search.
        candidates: Runs that contain its report.
        times: Moments in milliseconds since 1970; the report spans them.
    """
    note = summary(record)
    figures = [folder.path / name for name in record.figures]

    report = report_run.Report(
        tags=search_tags(record),
        note=note,
        files=[path for path in figures if path.exists()],
        texts={"search.json": folder.record(record.key).read_text(), "best.md": note},
        times=times,
    )

    _, outcome = report_run.write_report(client, experiment_id, candidates, report)
    return outcome


def summary(record: SearchRecord) -> str:
    """Return the result of a search in Markdown; its first line is one sentence."""
    sentence = " ".join(record.gained.split())
    return f"{sentence}\n\n{_table(record)}\n\n{_progress(record)}\n"


def _table(record: SearchRecord) -> str:
    """Return a row per setting with its published value, its best value and its search space."""
    best = next((trial for trial in record.trials if trial.number == record.best), None)
    first = next((trial for trial in record.trials if trial.source == "published"), None)

    best_title = "none complete" if best is None else f"best: trial {best.number}"
    best_params: Mapping[str, Any] = {} if best is None else best.params
    header = ["setting", "published", best_title, "searched"]
    settings = [
        [name, _cell(record.published.get(name)), _cell(best_params.get(name)), space]
        for name, space in record.space.items()
    ]

    seeds = ", ".join(map(str, record.seeds))
    objective = [
        bold(record.objective),
        _cell(None if first is None else first.value),
        _cell(None if best is None else best.value),
        f"mean of seeds {seeds}; validation set only",
    ]
    return table(header, [*settings, objective])


def _progress(record: SearchRecord) -> str:
    """Describe the number of trials in each state in one sentence."""
    words = [STATES[trial.state].word for trial in record.trials]
    words = ["not finished" if word == "running" else word for word in words]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))

    models = f"teacher {record.teacher}, student {record.student}, data {record.dataset}"
    started = f"{len(record.trials)} of {counted(record.budget, 'trial')} started"
    return (
        f"{record.row} on {record.pair} ({models}): {started} ({counts}), sampler {record.sampler}."
    )


def _cell(value: Any) -> str:
    if value is None:
        return _MISSING

    return f"{value:.4g}" if isinstance(value, float) else as_text(value)
