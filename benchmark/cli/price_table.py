"""The prices of a study, for `kdbench rehearse`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from benchmark.cli.tables import table
from benchmark.execution.prepare import Prepared
from benchmark.execution.price import Price, RowPrice
from benchmark.execution.rehearse import Rehearsal, name_of
from benchmark.execution.required_teachers import RequiredTeacher
from benchmark.wording import counted, duration

HEADERS = ["method", "pair", "ms per step", "x student", "peak (MB)", "all seeds"]


def priced(prepared: Prepared, rehearsal: Rehearsal, price: Price, workers: int) -> RenderableType:
    """Return a line per row of each pair, by falling cost, and the price of the study.

    Args:
        prepared: The study.
        rehearsal: What was measured.
        price: The prices.
        workers: Number of cohorts that are trained at once.
    """
    lines = [_teacher_line(prepared, rehearsal, teacher) for teacher in prepared.teachers]
    if price.rows:
        lines += [_measured(prepared, price), _memory(prepared, price), _total(price, workers)]

    shown = table("", HEADERS, [_row(row) for row in price.rows])
    return Group(shown, Text("\n".join(lines)))


def _row(row: RowPrice) -> list[str]:
    figures = row.figures
    return [
        row.row,
        row.pair,
        _milliseconds(figures.step),
        "-" if row.factor is None else f"{row.factor:.2f}",
        f"{figures.memory:,.0f}",
        duration(row.seconds),
    ]


def _teacher_line(prepared: Prepared, rehearsal: Rehearsal, teacher: RequiredTeacher) -> str:
    """Return the time of a teacher's passes, and what stood in for it if it is missing."""
    names = [name_of(cell) for cell in prepared.cells if cell.pair.name in teacher.pairs]
    measured = [rehearsal.figures[name] for name in names if name in rehearsal.figures]
    single = max((figures.teacher for figures in measured), default=0.0)

    parts = [f"{_milliseconds(single)} ms per batch"] if single else ["not needed"]
    if teacher.key in rehearsal.missing:
        parts.append("not in the store, an untrained network stood in for it")
    return f"{teacher.label}: {'; '.join(parts)}"


def _measured(prepared: Prepared, price: Price) -> str:
    """Return how much was measured."""
    steps = sorted({int(row.figures.steps) for row in price.rows})
    if steps == [0]:
        return "measured: only the first step of each row, which may be slow: time was short"

    span = f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else counted(steps[0], "step")
    noun = " steps" if len(steps) > 1 else ""
    return (
        f"measured: {span}{noun} of each row after a warm-up step, on "
        f"{prepared.data.device}; other work on this machine makes the estimate too high"
    )


def _memory(prepared: Prepared, price: Price) -> str:
    """Return the peak memory of the study, and what is meant by it."""
    peak = max(row.figures.memory for row in price.rows)
    of = "the tensors on the GPU" if prepared.data.device.type == "cuda" else "the process"
    return f"peak memory of {of} during a step, with all students of a cohort: {peak:,.0f} MB"


def _total(price: Price, workers: int) -> str:
    """Return the line with the total."""
    parts = {
        "students": price.students,
        "teachers' passes": price.passes,
        "batches": price.batches,
        "training of teachers": price.teachers,
    }
    listed = ", ".join(f"{name} {duration(part)}" for name, part in parts.items() if part)
    by = f"; {duration(price.elapsed)} with {workers} workers" if workers > 1 else ""
    return (
        f"total: {duration(price.total)}{by} ({listed}); sharing the teachers' passes saves "
        f"{duration(price.saved)}"
    )


def _milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three significant digits."""
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
