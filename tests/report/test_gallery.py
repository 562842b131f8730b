"""The front page of all results: from folders of results and study files that were made by hand."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from benchmark.errors import InputError
from benchmark.report import gallery, publish
from tests.report.test_html import Page
from tests.support.commandline import kdbench
from tests.support.tabled import tables


@pytest.fixture
def folders(tmp_path):
    results, studies = tmp_path / "results", tmp_path / "studies"
    studies.mkdir()
    publish.write(*tables(), results / "small")
    (results / "other").mkdir()
    page = "# other: leaderboard\n\n\\# of seeds?\n\n**kd\\_x wins & \\<b>.**\n\n## pair\n"
    (results / "other" / "leaderboard.md").write_text(page)
    (results / "notes").mkdir()
    (studies / "first.yaml").write_text("name: small\nquestion: Which is best?\n")
    (studies / "open.yaml").write_text("name: open\n")
    return results, studies


def test_every_study_has_its_question_its_answer_and_its_links(folders):
    results, studies = folders
    other, small = gallery.entries(results, studies)
    assert (small.name, small.question) == ("small", "Which is best?")
    assert small.answer.startswith("at has the highest mean")
    assert small.study == studies / "first.yaml"
    assert (other.question, other.answer, other.study) == (
        "\\# of seeds?",
        "kd\\_x wins & \\<b>.",
        None,
    )
    gallery.write(results, studies, "../studies")
    page = (results / "README.md").read_text(encoding="utf-8")
    assert "| [small](small/leaderboard.md) | Which is best? | at has the highest" in page
    assert "[page with tables that sort](small/leaderboard.html)" in page
    assert "[study file](../studies/first.yaml)" in page
    assert "* [open.yaml](../studies/open.yaml)" in page
    assert "notes" not in page


@pytest.mark.parametrize("name", ["small", "my study (v2)", "a_b_ (1) + c"])
def test_every_link_of_both_pages_leads_to_a_file_and_bears_its_name(folders, name):
    results, studies = folders
    (results / "small").rename(results / name)
    (studies / "first.yaml").write_text(f"name: {name}\n")
    (studies / "first.yaml").rename(studies / "of (1).yaml")
    (studies / "open.yaml").rename(studies / "no #1 _yet_ (50%).yaml")
    gallery.write(results, studies, "../studies")
    page = Page((results / "index.html").read_text(encoding="utf-8"))
    in_html = {a["href"] for a in page.all("a")} | {image["src"] for image in page.all("img")}
    inlines = (
        MarkdownIt().enable("table").parse((results / "README.md").read_text(encoding="utf-8"))
    )
    parts = [part for token in inlines for part in token.children or ()]
    parts += [inner for part in parts for inner in part.children or ()]
    in_markdown = {
        part.attrs[key] for part in parts for key in ("href", "src") if key in part.attrs
    }
    assert len(in_html) == len(in_markdown) == 10
    assert [
        link
        for link in in_html | in_markdown
        if not (results / unquote(urlsplit(link).path)).exists()
    ] == []
    told = [part.content for part in parts]
    assert told.count(name) == 2
    assert f"Leaderboard of {name}" in told
    assert "no #1 _yet_ (50%).yaml" in told


def test_the_html_shows_plain_text_where_the_leaderboard_has_escaped_markdown(folders):
    results, studies = folders
    gallery.write(results, studies, "../studies")
    text = (results / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "kd_x wins & <b>." in page.text
    assert "\n# of seeds?\n" in page.text
    assert page.all("b") == page.all("script") == []
    assert {"charset": "utf-8"} in page.all("meta")


def test_a_picture_that_is_taller_than_wide_is_folded_and_no_picture_is_cut(folders):
    results, studies = folders
    (entry,) = [entry for entry in gallery.entries(results, studies) if entry.name == "small"]
    assert 0.2 < entry.picture < 1
    assert "<details>" not in gallery.to_html([entry], [], "../studies")
    text = gallery.to_html([replace(entry, picture=1.5)], [], "../studies")
    assert "<img" in text.split("<details>")[1].split("</details>")[0]
    assert "object-fit" not in text
    assert "max-height" not in text


def test_the_command_writes_the_same_bytes_each_time(folders):
    results, studies = folders
    arguments = ("gallery", "--results", results, "--studies", studies)
    assert kdbench(*arguments).code == 0
    before = [(results / name).read_bytes() for name in ("README.md", "index.html")]
    found = kdbench(*arguments)
    assert found.err.splitlines() == [
        f"wrote {results / name}" for name in ("README.md", "index.html")
    ]
    assert [(results / name).read_bytes() for name in ("README.md", "index.html")] == before
    assert b"../studies/first.yaml" in before[0]


def test_folders_without_a_leaderboard_are_an_error_in_one_line(tmp_path):
    found = kdbench("gallery", "--results", tmp_path, "--studies", tmp_path)
    assert found.code == 2
    assert found.err.startswith(f"kdbench: {tmp_path}: no leaderboard there")


def test_a_page_without_a_headline_is_named(folders):
    results, studies = folders
    (results / "other" / "leaderboard.md").write_text("# other\n")
    with pytest.raises(InputError, match=r"other/leaderboard\.md: holds no headline"):
        gallery.entries(results, studies)
