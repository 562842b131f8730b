"""The plan of a search, for `kdbench tune --dry-run`: trials, cohorts, teachers and cost."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cli.run_plan import cost_line, stored_cards, teacher_lines
from benchmark.cli.tables import table
from benchmark.execution.estimate import estimate
from benchmark.execution.prepare import Prepared, errors_in
from benchmark.records.layout import Workspace
from benchmark.search.search_plan import search_plan
from benchmark.search.tune import required_search
from benchmark.wording import counted


def plan(
    prepared: Prepared,
    source: str,
    workspace: Workspace,
    cohort_size: int | None,
    say: Callable[[str], None],
    workers: int,
) -> RenderableType:
    """Return the plan of a search. Nothing is trained or written.

    Args:
        prepared: The study.
        source: Name of the study's file, for messages.
        workspace: The workspace.
        cohort_size: Maximum number of cells per cohort; None for the best size.
        say: Receives a line from time to time if the estimate of the cost takes long.
        workers: Number of cohorts that are trained at once.

    Raises:
        InputError: The study has no search settings, or they don't fit its rows.
    """
    cards = stored_cards(prepared, workspace)
    hashes = {key: card.sha256 for key, card in cards.items() if card is not None}
    folder = workspace.study(prepared.study.name).search
    with errors_in(source):
        search = required_search(prepared)
        planned = search_plan(prepared, search, hashes, folder, cohort_size, workers)

    rows = [
        [own.pair, own.row, f"{own.ended}/{search.trials}", ", ".join(own.settings)]
        for own in planned.searches
    ]
    trials = sum(max(0, search.trials - own.ended) for own in planned.searches)
    missing = [teacher for teacher in prepared.teachers if cards[teacher.key] is None]
    lines = [
        f"{counted(trials, 'trial')} to run, each with {counted(len(search.seeds), 'seed')}, in "
        f"{counted(len(planned.cohorts), 'cohort')}",
        *teacher_lines(prepared, cards),
        # The time is that of one worker: rounds wait for each other, so more may not be faster.
        cost_line(estimate(prepared, planned.cohorts, missing, say), 1),
    ]
    lines += [f"not applicable: {name}: {why}" for name, why in prepared.not_applicable.items()]

    headers = ["pair", "method", "trials done", "searched settings"]
    return Group(table("", headers, rows), Text("\n".join(lines)))
