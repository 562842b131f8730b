"""`kdbench rehearse` prints the price of a study, and names what will not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.helpers import refused
from tests.support.commandline import kdbench
from tests.support.plugged import clean
from tests.support.sick import UNUSUAL, sick_row, sick_study
from tests.support.studies import tiny, write_study

__all__ = ["clean"]

DEEP = {"name": "deep", "method": "fitnet", "settings": {"stage": 7}}


@pytest.mark.trains
def test_a_rehearsal_prints_a_line_per_row_the_teacher_and_the_total(here: Path) -> None:
    file = write_study(here / "tiny.yaml", tiny(["student", "kd", DEEP], seeds=[0, 1]))
    found = kdbench("rehearse", file, "--device", "cpu")
    assert found.code == 0

    head, *lines = found.out.splitlines()
    assert head.split()[:2] == ["method", "pair"]
    assert {line.split()[0] for line in lines[:2]} == {"student", "kd"}
    assert {line.split()[1] for line in lines[:2]} == {"pair"}
    assert lines[2].startswith("teacher tests_teacher: ")
    assert "an untrained network stood in for it" in lines[2]
    assert lines[3].startswith("measured: ")
    assert lines[4].startswith("peak memory of the process")
    assert lines[5].startswith("total: ")
    assert "not applicable: pair/deep: stage 7 is out of range" in found.err
    assert list(here.iterdir()) == [file]


@pytest.mark.trains
@pytest.mark.usefixtures("clean")
def test_a_rehearsal_ends_with_code_2_if_a_row_fails(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SICK_COUNT", str(here / "count"))
    content = sick_study(here, ["kd", sick_row(UNUSUAL, building=1)])
    found = kdbench("rehearse", write_study(here / "sick.yaml", content), "--device", "cpu")
    assert found.code == 2
    assert "will fail: pair / sick: Unusual: not an Exception" in found.err
    assert "kd " in found.out
    assert "total: " in found.out


def test_wrong_input_is_one_line_and_code_2(here: Path) -> None:
    file = write_study(here / "my.yaml", tiny(["kdd"]))
    refused(r"my\.yaml:.*kdd.*", "rehearse", file.name)
    refused(r"none\.yaml: no such file; .*", "rehearse", "none.yaml")

    write_study(file, tiny())
    refused(
        r"--device: 'cuda:99' cannot be used here .*", "rehearse", "my.yaml", "--device=cuda:99"
    )
