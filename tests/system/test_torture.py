"""The torture in a short form; `make torture` runs all of it."""

from __future__ import annotations

import sys

import pytest

from tests.support.commandline import ended, launched

pytestmark = pytest.mark.subprocess

COMMAND = [sys.executable, "-m", "tests.torture", "--short"]


def figures(*parts: str) -> dict[str, int]:
    """Run parts of the torture, and return its figures by name."""
    done = ended(launched("--only", *parts, command=COMMAND), seconds=1500)
    assert done.code == 0, done.out + done.err
    assert "PROBLEM" not in done.out
    lines = [line.split(maxsplit=1) for line in done.out.splitlines() if line.startswith("    ")]
    return {name: int(count) for count, name in lines}


@pytest.mark.slow
def test_damaged_files_are_healed_or_named() -> None:
    found = figures("corruptions")
    assert found["corruptions"] == 12
    assert found["healed or made again"] > 0


@pytest.mark.slow
def test_studies_with_mistakes_are_refused_in_lines_that_name_the_place() -> None:
    found = figures("studies")
    assert found["studies"] == found["accepted"] + found["refused"] == 60


@pytest.mark.slow
def test_kills_outages_and_sick_cells_change_no_number() -> None:
    found = figures("kills", "outages", "sick")
    assert found["kills"] >= 12
    assert found["kills"] == sum(n for name, n in found.items() if name.startswith("kills of "))
    assert found["double starts"] == 4
    assert found["sick cells"] == 1


@pytest.mark.slow
def test_the_torture_notices_faults_of_the_program() -> None:
    found = figures("controls")
    assert found["noticed"] == found["controls"] == 4
