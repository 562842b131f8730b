"""Runs of MLflow on the screen, also where their numbers or names are unusual."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from benchmark.cli import show
from benchmark.tracking.sync import sync
from tests.support.journalled import START, Study, find_run, mlflow_client

pytestmark = pytest.mark.mlflow


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([3.0], "▄"),
        ([1.0, 1.0], "▄▄"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([7, 0], "█▁"),
        ([1, math.nan, 2], "▁█"),
        ([math.inf], ""),
    ],
)
def test_a_sparkline_has_a_bar_for_each_value(values, bars):
    assert show.sparkline(values) == bars


def test_a_long_sparkline_is_as_wide_as_allowed_and_keeps_its_shape():
    bars = show.sparkline([math.sqrt(number) for number in range(601)])
    assert len(bars) == 60
    assert list(bars) == sorted(bars)
    assert (bars[0], bars[-1]) == ("▁", "█")


def printed(*parts):
    """The lines on a wide screen, with single spaces."""
    console = Console(width=200, file=io.StringIO())
    console.print(*parts)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_a_run_with_a_metric_that_is_no_number_is_shown_and_compared(tmp_path, store):
    study = Study(tmp_path / "runs", rows=("kd", "student"))
    for row in ("kd", "student"):
        study.train(row)
    sync(study.folder, store)
    runs = show.find([cell.id for cell in study.plan.cells], store)
    mlflow_client(store).log_metric(runs[0].run_id, "val/acc1", math.nan, step=99)

    runs = show.find([run.run_id for run in runs], store)
    lines = printed(show.show(runs[0], store), show.compare(runs, store))
    assert "val/acc1 nan" in lines
    assert any(re.fullmatch(r"val/acc1 nan [\d.]+", line) for line in lines)


def test_of_two_studies_with_the_same_cell_the_newest_run_is_shown_and_the_other_named(
    tmp_path, store
):
    for name, at in (("small", START), ("later", START + 900_000)):
        study = Study(tmp_path / "runs", name, rows=("kd",))
        study.train("kd", at=at)
        sync(study.folder, store)

    (run,) = show.find([Study.cell("kd").id], store)
    assert run.experiment == "kd/later"
    older = find_run(store, "kd").info.run_id[:12]
    assert any(f"{older} in kd/small" in line for line in printed(show.show(run, store)))
