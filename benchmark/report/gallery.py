"""The front page of all committed results, made from the folders of results and the study files alone."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from benchmark.errors import InputError
from benchmark.files import write_all
from benchmark.report.html_page import anchors, document
from benchmark.report.markdown_text import inline, plain
from benchmark.study import yamlfile

FILES = {
    "leaderboard.md": "table",
    "leaderboard.html": "page with tables that sort",
    "leaderboard.csv": "CSV",
    "costs.csv": "costs",
    "leaderboard.tex": "LaTeX",
    "heatmap.png": "methods by pairs",
    "ranks.png": "mean ranks",
    "curves.png": "learning curves",
    "pareto.png": "accuracy over cost",
}
"""What a folder of results may hold, and how it is called."""

TITLE = "Results"

INTRODUCTION = (
    "Every study with committed results: its question, its answer as its leaderboard states it, and where to read on. "
    "`kdbench gallery` makes this page."
)


@dataclass(frozen=True)
class Entry:
    """A study.  question, answer: as Markdown. study: its file. files: those of its folder that a reader may want.

    picture: height over width of the main one, none without it.
    """

    name: str
    question: str
    answer: str
    study: Path | None
    files: tuple[str, ...]
    picture: float | None


def entries(results: Path, studies: Path) -> list[Entry]:
    """The studies that have a leaderboard, by name.

    Raises InputError if there is none, or a study file is none.
    """
    known = {
        str(yamlfile.read(path).data.get("name", path.stem)): path
        for path in sorted(studies.glob("*.yaml"))
    }
    found = [_entry(page, known) for page in sorted(results.glob("*/leaderboard.md"))]
    if not found:
        raise InputError(f"{results}: no leaderboard there; `kdbench leaderboard STUDY` writes one")
    return found


def _entry(page: Path, known: dict[str, Path]) -> Entry:
    folder = page.parent
    paragraphs = page.read_text(encoding="utf-8").split("\n\n")
    places = [
        place
        for place, text in enumerate(paragraphs)
        if re.fullmatch(r"\*\*.+\*\*", text.strip(), re.DOTALL)
    ]
    if not places:
        raise InputError(
            f"{page}: holds no headline; `kdbench leaderboard {folder.name}` writes it anew"
        )
    before = paragraphs[1 : places[0]]
    answer = paragraphs[places[0]].strip()[2:-2]
    files = tuple(name for name in FILES if (folder / name).exists())
    question = before[0].strip() if before else ""
    return Entry(
        folder.name,
        question,
        answer,
        known.get(folder.name),
        files,
        _height(folder / "leaderboard.png"),
    )


def _height(picture: Path) -> float | None:
    """Of a PNG, over its width, as its header states them."""
    if not picture.exists():
        return None
    wide, high = struct.unpack(">II", picture.read_bytes()[16:24])
    return float(high / wide)


def unpublished(found: Sequence[Entry], studies: Path) -> list[Path]:
    """The study files that have no results."""
    shown = {entry.study for entry in found}
    return [path for path in sorted(studies.glob("*.yaml")) if path not in shown]


def to_markdown(found: Sequence[Entry], missing: Sequence[str], studies: str) -> str:
    """The gallery for GitHub.  missing: names of study files without results. studies: their folder, from the page."""
    lines = [f"# {TITLE}", INTRODUCTION, "| Study | Question | Answer |\n| --- | --- | --- |"]
    for entry in found:
        lines[-1] += (
            f"\n| {_link(entry.name, f'{entry.name}/leaderboard.md')} | {entry.question} | {entry.answer} |"
        )
    for entry in found:
        lines += [f"## {inline(entry.name)}", entry.question, f"**{entry.answer}**"]
        lines.append(", ".join(_link(name, file) for name, file in _links(entry, studies).items()))
        if entry.picture:
            picture = "!" + _link(f"Leaderboard of {entry.name}", f"{entry.name}/leaderboard.png")
            lines.append(f"[{picture}]({quote(entry.name)}/leaderboard.md)")
    if missing:
        items = [f"* {_link(name, f'{studies}/{name}')}" for name in missing]
        lines += ["## Without committed results", "\n".join(items)]
    return "\n\n".join(line for line in lines if line) + "\n"


def _link(name: str, file: str) -> str:
    return f"[{inline(name)}]({quote(file)})"


def to_html(found: Sequence[Entry], missing: Sequence[str], studies: str) -> str:
    """The same for a browser; its pictures lie beside it."""
    parts = [f"<h1>{TITLE}</h1>", f"<p>{escape(INTRODUCTION.replace('`', ''))}</p>"]
    for entry in found:
        target = quote(
            f"{entry.name}/{'leaderboard.html' if 'leaderboard.html' in entry.files else 'leaderboard.md'}"
        )
        parts.append(
            f'<h2 id="{escape(entry.name)}"><a href="{target}">{escape(entry.name)}</a></h2>'
        )
        parts.append(f"<p>{escape(plain(entry.question))}</p>")
        parts.append(f'<p class="answer">{escape(plain(entry.answer))}</p>')
        parts.append(f'<p class="small">{anchors(_links(entry, studies))}</p>')
        if entry.picture:
            picture = quote(f"{entry.name}/leaderboard.png")
            shown = f'<img loading="lazy" alt="Leaderboard of {escape(entry.name)}" style="{_SIZE}" src="{picture}">'
            figure = f'<figure><a href="{target}">{shown}</a></figure>'
            # A tall picture is shown as a whole or not at all: its axis is at its foot.
            parts.append(
                figure
                if entry.picture <= 1
                else f"<details><summary>{_TALL}</summary>{figure}</details>"
            )
    if missing:
        items = "".join(f"<li>{anchors({name: f'{studies}/{name}'})}</li>" for name in missing)
        parts += ["<h2>Without committed results</h2>", f"<ul>{items}</ul>"]
    return document(TITLE, parts)


_SIZE = "max-width:720px"
_TALL = "The picture of all its rows"


def write(results: Path, studies: Path, between: str) -> list[Path]:
    """Writes `README.md` and `index.html` into the folder of results.  between: the way from it to the studies."""
    found = entries(results, studies)
    missing = [path.name for path in unpublished(found, studies)]
    contents = {
        "README.md": to_markdown(found, missing, between).encode(),
        "index.html": to_html(found, missing, between).encode(),
    }
    return write_all(results, contents)


def _links(entry: Entry, studies: str) -> dict[str, str]:
    own = {FILES[name]: f"{entry.name}/{name}" for name in entry.files}
    return own if entry.study is None else own | {"study file": f"{studies}/{entry.study.name}"}
