"""summary.json is read back as it was written."""

from __future__ import annotations

import dataclasses
import json

import pytest

from benchmark.errors import InputError
from benchmark.leaderboard.headline import headline
from benchmark.leaderboard.summary import FORMAT, Summary, read_summary, to_json
from benchmark.study.plan import PlannedCell
from tests.support.handmade import TUNED_PLAN, board, tuned

SUMMARY = Summary(
    TUNED_PLAN, headline(board(tuned(), TUNED_PLAN), TUNED_PLAN), ("1 teacher: here",)
)


def written(tmp_path, text):
    """A file with this content."""
    path = tmp_path / "search" / "summary.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def test_a_summary_is_read_back_as_it_was_written(tmp_path):
    assert read_summary(written(tmp_path, to_json(SUMMARY))) == SUMMARY


def test_the_content_is_sorted_versioned_and_readable():
    text = to_json(dataclasses.replace(SUMMARY, headline="50 % ± 1"))
    content = json.loads(text)
    assert list(content) == ["format", "headline", "plan", "provenance"]
    assert list(content["plan"]) == sorted(content["plan"])
    assert content["format"] == FORMAT
    assert "50 % ± 1" in text
    assert text.endswith("}\n")


def test_the_plan_is_written_without_its_cells():
    cell = PlannedCell("id", "folder", "p", "kd", "kd", {}, 0, "t", "", "s")
    plan = dataclasses.replace(TUNED_PLAN, cells=(cell,))
    assert to_json(dataclasses.replace(SUMMARY, plan=plan)) == to_json(SUMMARY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        '{"format": 1, "headline": "", "provenance": [], "plan": []}',
        '{"format": 1, "headline": "", "provenance": [], "plan": {"study": "a"}}',
    ],
)
def test_a_damaged_summary_is_an_error_that_says_what_to_do(text, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match="damaged; `kdbench leaderboard search` writes it again"):
        read_summary(path)


def test_a_summary_of_another_format_is_refused(tmp_path):
    content = json.loads(to_json(SUMMARY)) | {"format": FORMAT + 1}
    path = written(tmp_path, json.dumps(content))
    with pytest.raises(InputError, match=f"format: {FORMAT + 1}, not {FORMAT}; `kdbench"):
        read_summary(path)


def test_a_missing_summary_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"summary\.json: cannot be read \(No such file"):
        read_summary(tmp_path / "summary.json")
