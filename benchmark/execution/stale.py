"""Reports finished cells that were trained with other code than a run would use now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from benchmark.execution.identities import Identified, Stale
from benchmark.study.study import Cell


def kept(stale: Mapping[str, Stale], cells: Mapping[str, Identified]) -> dict[str, Stale]:
    """Return the stale cells that a leaderboard can show: those with today's teacher and data.

    Args:
        stale: Stale cells by cell name.
        cells: What would be trained instead, by cell name.
    """
    return {
        name: item
        for name, item in stale.items()
        if all(
            item.cell.configuration[key] == cells[name].configuration[key]
            for key in ("teacher", "data")
        )
    }


def report_stale(
    cells: Sequence[Cell],
    stale: Mapping[str, Stale],
    stale_and_kept: Mapping[str, Stale],
    say: Callable[[str], None],
) -> None:
    """Say which rows are stale, why, and what happens to them.

    Args:
        cells: All cells of the study.
        stale: The stale cells by cell name.
        stale_and_kept: Those of them that are not trained again.
        say: Receives one line per row and reason.
    """
    counts: Counter[tuple[str, tuple[str, ...], bool]] = Counter()
    for cell in cells:
        name = str(cell)
        if name in stale:
            counts[cell.row.name, stale[name].changed, name in stale_and_kept] += 1

    for (row, changed, is_kept), count in counts.items():
        verb = "has" if len(changed) == 1 else "have"
        seen = "1 finished cell is" if count == 1 else f"{count} finished cells are"
        end = (
            "the leaderboard marks the row"
            if is_kept
            else "training again (--keep-stale keeps the old results)"
        )
        say(f"{row}: {seen} stale: {', '.join(changed)} {verb} changed since; {end}")
