"""The front page of all results: from folders of results and study files made by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from benchmark.errors import InputError
from benchmark.report import gallery
from tests.support.htmlpage import Page

QUESTION = "# of seeds?"
ANSWER = "kd_x wins & <b>."


@pytest.fixture
def folders(tmp_path, small_results):
    """Results of two studies, one without figures, and two study files, one without results."""
    results, studies = tmp_path / "results", tmp_path / "studies"
    shutil.copytree(small_results, results / "small")

    other = results / "other"
    other.mkdir()
    (other / "leaderboard.md").write_text("# other: leaderboard\n")
    summary = json.loads((small_results / "summary.json").read_text(encoding="utf-8"))
    summary["headline"] = ANSWER
    summary["plan"]["question"] = QUESTION
    (other / "summary.json").write_text(json.dumps(summary))
    (results / "notes").mkdir()

    studies.mkdir()
    (studies / "first.yaml").write_text("name: small\nquestion: Which is best?\n")
    (studies / "open.yaml").write_text("name: open\n")
    return results, studies


def write(results, studies):
    """Write both pages; return their texts."""
    paths = gallery.write(results, studies, "../studies")
    assert [path.name for path in paths] == ["README.md", "index.html"]
    return [path.read_text(encoding="utf-8") for path in paths]


def test_every_study_has_its_question_its_answer_and_its_study_file(folders):
    results, studies = folders
    other, small = gallery.entries(results, studies)
    assert (small.name, small.question) == ("small", "Which is best?")
    assert small.answer.startswith("at has the highest mean")
    assert small.study == studies / "first.yaml"
    assert (other.question, other.answer, other.study) == (QUESTION, ANSWER, None)


def test_the_page_for_github_lists_every_study_with_links_to_its_files(folders):
    page, _ = write(*folders)
    assert "| [small](small/leaderboard.md) | Which is best? | at has the highest" in page
    assert "[page with sortable tables](small/leaderboard.html)" in page
    assert "[study file](../studies/first.yaml)" in page
    assert "* [open.yaml](../studies/open.yaml)" in page
    assert "notes" not in page


@pytest.mark.parametrize("name", ["small", "my study (v2)", "a_b_ (1) + c"])
def test_every_link_of_both_pages_leads_to_a_file_and_shows_its_name(folders, name):
    results, studies = folders
    (results / "small").rename(results / name)
    (studies / "first.yaml").write_text(f"name: {name}\n")
    (studies / "first.yaml").rename(studies / "of (1).yaml")
    (studies / "open.yaml").rename(studies / "no #1 _yet_ (50%).yaml")
    markdown, html = write(results, studies)

    page = Page(html)
    in_html = {a["href"] for a in page.all("a")} | {image["src"] for image in page.all("img")}
    inlines = MarkdownIt().enable("table").parse(markdown)
    parts = [part for token in inlines for part in token.children or ()]
    parts += [inner for part in parts for inner in part.children or ()]
    in_markdown = {
        part.attrs[key] for part in parts for key in ("href", "src") if key in part.attrs
    }
    assert len(in_html) == len(in_markdown) == 11
    for link in in_html | in_markdown:
        assert (results / unquote(urlsplit(link).path)).exists(), link

    shown = [part.content for part in parts]
    assert shown.count(name) == 2
    assert f"Leaderboard of {name}" in shown
    assert "no #1 _yet_ (50%).yaml" in shown


def test_questions_and_answers_are_shown_as_they_are(folders):
    markdown, html = write(*folders)
    assert "\n\\# of seeds?\n" in markdown
    assert "\n**kd_x wins & \\<b>.**\n" in markdown

    page = Page(html)
    assert ANSWER in page.text
    assert f"\n{QUESTION}\n" in page.text
    assert page.all("b") == page.all("script") == []
    assert {"charset": "utf-8"} in page.all("meta")


def test_a_figure_that_is_taller_than_wide_is_folded_and_no_figure_is_cut(folders):
    results, studies = folders
    (entry,) = [entry for entry in gallery.entries(results, studies) if entry.name == "small"]
    assert 0.2 < entry.picture_shape < 1
    assert "<details>" not in gallery.to_html([entry], [], "../studies")

    text = gallery.to_html([replace(entry, picture_shape=1.5)], [], "../studies")
    assert "<img" in text.split("<details>")[1].split("</details>")[0]
    assert "object-fit" not in text
    assert "max-height" not in text


def test_the_pages_are_the_same_each_time(folders):
    assert write(*folders) == write(*folders)


def test_folders_without_a_leaderboard_are_an_error(tmp_path):
    with pytest.raises(InputError, match="no leaderboard there"):
        gallery.entries(tmp_path, tmp_path)


def test_a_leaderboard_without_a_summary_is_named(folders):
    results, studies = folders
    (results / "other" / "summary.json").unlink()
    with pytest.raises(InputError, match=r"other/summary\.json: "):
        gallery.entries(results, studies)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"plan": {}, "headline": ""}'])
def test_a_damaged_summary_is_named(folders, content):
    results, studies = folders
    (results / "other" / "summary.json").write_text(content)
    with pytest.raises(InputError, match=r"other/summary\.json: damaged"):
        gallery.entries(results, studies)
