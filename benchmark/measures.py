"""Defines every quality metric and cost: where it is logged, and how tables show it.

To add a metric, add an entry here and the code that computes it (`benchmark.training.evaluate`,
`benchmark.training.cost`). The leaderboard, its CSV files and pages, the terminal, MLflow's views
and the documentation are derived from this list. Columns appear in the order of the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["quality", "size", "compute", "measured", "diagnostic"]


@dataclass(frozen=True)
class Measure:
    """A metric of a finished run.

    Attributes:
        key: Name of the metric in journals and MLflow.
        column: Name of the column in `leaderboard.csv` and `costs.csv`.
        title: Header in tables and figures.
        help: Definition, in one sentence.
        short: Header where space is tight; if empty, the title is used.
        unit: Unit of the value: `%`, `points`, `ms`, `s`, `MB`, `TMAC`, or empty for counts.
        style: Number format: fixed decimals, three significant digits, or a count with an SI suffix
            (`k`, `M`, `G`).
        digits: Number of decimals, for the fixed style.
        group: Kind of measure. Those that are `measured` appear only in `costs.csv`; all others are
            in `leaderboard.csv`, because they do not differ between two identical training runs.
        average: How values are combined over seeds. Times and memory use the median, so that one
            slow run on a busy machine does not affect them.
        in_costs: Whether `costs.csv` repeats a measure of `leaderboard.csv`.
        importance: Priority in narrow tables, which omit the least important columns first.
        higher_is_better: Whether higher values are better.
    """

    key: str
    column: str
    title: str
    help: str
    short: str = ""
    unit: str = ""
    style: Literal["fixed", "significant", "count"] = "fixed"
    digits: int = 1
    group: Group = "quality"
    average: Literal["mean", "median"] = "mean"
    in_costs: bool = False
    importance: int = 0
    higher_is_better: bool = True


BATCH = 64
"""Batch size of the second latency measure."""

MEASURES = (
    Measure(
        "test/acc1",
        "acc1",
        "Top-1 (%)",
        "Share of test samples whose predicted class is correct.",
        unit="%",
        digits=2,
        importance=100,
    ),
    Measure(
        "test/acc5",
        "acc5",
        "Top-5 (%)",
        "Share of test samples whose label is among the five highest-ranked classes.",
        short="Top-5",
        unit="%",
        digits=2,
        importance=30,
    ),
    Measure(
        "test/f1",
        "f1",
        "F1 (%)",
        "Macro F1 on the test set: the unweighted mean of the F1 scores of the classes that occur "
        "among labels or predictions.",
        short="F1",
        unit="%",
        importance=34,
    ),
    Measure(
        "test/ece",
        "ece",
        "ECE (%)",
        "Expected calibration error on the test set, over 15 bins of equal width.",
        short="ECE",
        unit="%",
        importance=33,
        higher_is_better=False,
    ),
    Measure(
        "test/agreement",
        "agreement",
        "Agreement (%)",
        "Share of test samples for which student and teacher predict the same class.",
        short="agree",
        unit="%",
        importance=32,
    ),
    Measure(
        "cost/params",
        "params",
        "Parameters",
        "Number of parameters of the network at inference.",
        short="params",
        style="count",
        group="size",
        in_costs=True,
        importance=31,
        higher_is_better=False,
    ),
    Measure(
        "cost/macs",
        "macs",
        "MACs",
        "Multiply-accumulate operations of one forward pass with one sample.",
        style="count",
        group="size",
        importance=29,
        higher_is_better=False,
    ),
    Measure(
        "cost/compute_tmac",
        "compute_tmac",
        "Training compute (TMAC)",
        "Multiply-accumulate operations, in 10^12, to train one seed of this row alone; the "
        "training of its teacher is not included.",
        short="TMAC",
        unit="TMAC",
        style="significant",
        group="compute",
        in_costs=True,
        importance=28,
        higher_is_better=False,
    ),
    Measure(
        "cost/latency_ms",
        "latency_ms",
        "Latency (ms)",
        "Median time of one forward pass with one sample, in float32.",
        short="ms",
        unit="ms",
        style="significant",
        group="measured",
        average="median",
        importance=20,
        higher_is_better=False,
    ),
    Measure(
        f"cost/latency_batch{BATCH}_ms",
        f"latency_batch{BATCH}_ms",
        f"Latency, batch {BATCH} (ms)",
        f"Median time of one forward pass with {BATCH} samples, in float32.",
        short=f"ms / {BATCH}",
        unit="ms",
        style="significant",
        group="measured",
        average="median",
        importance=11,
        higher_is_better=False,
    ),
    Measure(
        "cost/train_seconds",
        "train_seconds",
        "Training time (s)",
        "Time spent in the training steps of the student itself.",
        short="train (s)",
        unit="s",
        style="significant",
        group="measured",
        average="median",
        importance=13,
        higher_is_better=False,
    ),
    Measure(
        "cost/teacher_seconds",
        "teacher_seconds",
        "Teacher time (s)",
        "Time spent in the forward passes of the teacher, which all students of a cohort share.",
        short="teacher (s)",
        unit="s",
        style="significant",
        group="measured",
        average="median",
        importance=10,
        higher_is_better=False,
    ),
    Measure(
        "cost/peak_memory_mb",
        "peak_memory_mb",
        "Peak memory (MB)",
        "Highest memory use of the training process; students that train side by side share it.",
        short="peak (MB)",
        unit="MB",
        style="significant",
        group="measured",
        average="median",
        importance=12,
        higher_is_better=False,
    ),
    Measure(
        "val/best_minus_last",
        "best_minus_last",
        "Best - last (val)",
        "Validation accuracy of the best epoch minus that of the last: a diagnostic, never ranked.",
        short="best - last",
        unit="points",
        digits=2,
        group="diagnostic",
        importance=5,
    ),
)

BY_COLUMN = {measure.column: measure for measure in MEASURES}
BY_KEY = {measure.key: measure for measure in MEASURES}

ACCURACY = BY_COLUMN["acc1"]
"""The measure by which rows are compared and ranked."""


def in_groups(*groups: Group) -> tuple[Measure, ...]:
    """Return the measures of these groups, in the order of `MEASURES`."""
    return tuple(measure for measure in MEASURES if measure.group in groups)
