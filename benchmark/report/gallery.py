"""The front page of all results, made from their folders and the study files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from benchmark import markdown_text
from benchmark.errors import InputError
from benchmark.files import write_all
from benchmark.leaderboard.summary import FILE as SUMMARY
from benchmark.leaderboard.summary import read_summary
from benchmark.report.figures import MAIN, all_figures
from benchmark.report.files import PAGE_TITLES
from benchmark.report.html_page import Link, links, render
from benchmark.study import yamlfile

TITLE = "Results"

INTRODUCTION = (
    "Every study with committed results: its question, the answer that its leaderboard gives, and "
    "where to read on. This page is written by {command}."
)

_COMMAND = "kdbench gallery"
_MISSING = "Without committed results"


@dataclass(frozen=True)
class Entry:
    """A study with results.

    Attributes:
        name: Name of its folder.
        question: Its question.
        answer: The headline of its leaderboard.
        study: Its study file, if there is one.
        files: Files of its folder to link to.
        picture_shape: Height-to-width ratio of the main figure; None if there is none.
    """

    name: str
    question: str
    answer: str
    study: Path | None
    files: tuple[str, ...]
    picture_shape: float | None

    @property
    def page(self) -> str:
        """The leaderboard in Markdown, relative to the folder of results."""
        return f"{self.name}/leaderboard.md"

    @property
    def picture(self) -> str:
        """The main figure, relative to the folder of results."""
        return f"{self.name}/{MAIN}.png"


def entries(results: Path, studies: Path) -> list[Entry]:
    """Return the studies that have a leaderboard, by name.

    Args:
        results: Folder with a folder per study.
        studies: Folder with the study files.

    Raises:
        InputError: There is no leaderboard, or a summary or a study file cannot be read.
    """
    study_files = {_study_name(path): path for path in sorted(studies.glob("*.yaml"))}
    folders = sorted(page.parent for page in results.glob("*/leaderboard.md"))
    if not folders:
        raise InputError(f"{results}: no leaderboard there; `kdbench leaderboard STUDY` writes one")

    return [_entry(folder, study_files.get(folder.name)) for folder in folders]


def _study_name(path: Path) -> str:
    return str(yamlfile.read(path).data.get("name", path.stem))


def _entry(folder: Path, study: Path | None) -> Entry:
    summary = read_summary(folder / SUMMARY)
    files = tuple(name for name in _file_titles() if (folder / name).exists())
    shape = _shape(folder / f"{MAIN}.png")
    return Entry(folder.name, summary.plan.question, summary.headline, study, files, shape)


def _file_titles() -> dict[str, str]:
    """Return link texts by file name."""
    figures = {f"{kind.name}.png": kind.title for kind in all_figures() if kind.name != MAIN}
    return PAGE_TITLES | figures


def _shape(picture: Path) -> float | None:
    if not picture.exists():
        return None

    with Image.open(picture) as image:
        width, height = image.size
    return height / width


def unpublished(shown: Sequence[Entry], studies: Path) -> list[Path]:
    """Return the study files that have no results."""
    published = {entry.study for entry in shown}
    return [path for path in sorted(studies.glob("*.yaml")) if path not in published]


def _targets(entry: Entry, studies: str) -> dict[str, str]:
    """Return the paths of an entry's files by link text."""
    titles = _file_titles()
    targets = {titles[name]: f"{entry.name}/{name}" for name in entry.files}
    if entry.study is not None:
        targets["study file"] = f"{studies}/{entry.study.name}"
    return targets


def to_markdown(shown: Sequence[Entry], missing: Sequence[str], studies: str) -> str:
    """Return the page for GitHub.

    Args:
        shown: Studies with results.
        missing: Names of study files without results.
        studies: Path of the folder of study files, relative to the page.
    """
    rows = [[_link(entry.name, entry.page), entry.question, entry.answer] for entry in shown]
    parts = [
        f"# {TITLE}",
        INTRODUCTION.format(command=f"`{_COMMAND}`"),
        markdown_text.table(["Study", "Question", "Answer"], rows),
    ]

    for entry in shown:
        parts.append(f"## {markdown_text.inline(entry.name)}")
        if entry.question:
            parts.append(markdown_text.block(entry.question))
        parts.append(markdown_text.bold(entry.answer))
        parts.append(
            ", ".join(_link(text, path) for text, path in _targets(entry, studies).items())
        )
        if entry.picture_shape:
            picture = _link(f"Leaderboard of {entry.name}", entry.picture)
            parts.append(f"[!{picture}]({quote(entry.page)})")

    if missing:
        items = [f"* {_link(name, f'{studies}/{name}')}" for name in missing]
        parts += [f"## {_MISSING}", "\n".join(items)]
    return "\n\n".join(parts) + "\n"


def _link(text: str, path: str) -> markdown_text.Markdown:
    return markdown_text.link(text, quote(path))


@dataclass(frozen=True)
class _Study:
    """The content of an entry for the template."""

    name: str
    question: str
    answer: str
    address: str
    links: list[Link]
    picture: str | None
    is_tall: bool


def to_html(shown: Sequence[Entry], missing: Sequence[str], studies: str) -> str:
    """Return the page for a browser; its figures are separate files.

    Args:
        shown: Studies with results.
        missing: Names of study files without results.
        studies: Path of the folder of study files, relative to the page.
    """
    context = {
        "introduction": INTRODUCTION.format(command=_COMMAND),
        "studies": [_for_template(entry, studies) for entry in shown],
        "missing_title": _MISSING,
        "missing": links({name: f"{studies}/{name}" for name in missing}),
    }
    return render("gallery.html", TITLE, context)


def _for_template(entry: Entry, studies: str) -> _Study:
    page = "leaderboard.html" if "leaderboard.html" in entry.files else "leaderboard.md"
    shape = entry.picture_shape
    return _Study(
        entry.name,
        entry.question,
        entry.answer,
        quote(f"{entry.name}/{page}"),
        links(_targets(entry, studies)),
        quote(entry.picture) if shape else None,
        is_tall=shape is not None and shape > 1,
    )


def write(results: Path, studies: Path, path_to_studies: str) -> list[Path]:
    """Write `README.md` and `index.html` into the folder of results.

    Args:
        results: Folder with a folder per study.
        studies: Folder with the study files.
        path_to_studies: Path of that folder relative to `results`.

    Raises:
        InputError: See `entries`; or a page cannot be written.
    """
    shown = entries(results, studies)
    missing = [path.name for path in unpublished(shown, studies)]
    contents = {
        "README.md": to_markdown(shown, missing, path_to_studies).encode(),
        "index.html": to_html(shown, missing, path_to_studies).encode(),
    }
    return write_all(results, contents)
