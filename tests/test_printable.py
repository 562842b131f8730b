"""Text from elsewhere cannot move a terminal's cursor, change its colours or forge a line."""

from __future__ import annotations

import io
import os

import pytest
from rich.table import Table
from rich.text import Text

from benchmark.cli import screen
from benchmark.cli.screen import SafeConsole
from benchmark.cli.tables import table
from benchmark.printable import print_message, printable

HOSTILE = [
    ("a\x1b[31mb", r"a\x1b[31mb"),
    ("a\nkdbench: done", r"a\nkdbench: done"),
    ("a\rb", r"a\rb"),
    ("a\x08\x08b", r"a\x08\x08b"),
    ("a\x00b", r"a\x00b"),
    ("a\x7fb", r"a\x7fb"),
    ("a\x9b31mb", r"a\x9b31mb"),
    ("a\u2028b", r"a\u2028b"),
    ("a\u202eb", r"a\u202eb"),
    ("a\u2066b", r"a\u2066b"),
    ("a\u200bb", r"a\u200bb"),
    ("a\ufeffb", r"a\ufeffb"),
    ("a\U000e0041b", r"a\U000e0041b"),
    (os.fsdecode(b"a\xffb"), r"a\xffb"),
    ("a\ud800b", r"a\ud800b"),
]


@pytest.mark.parametrize(("text", "escaped"), HOSTILE)
def test_an_unprintable_character_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped
    assert printable(escaped) == escaped
    escaped.encode()


@pytest.mark.parametrize("text", ["größer", "Δ → 5 %", "图像", "👩\u200d💻", "a\u00a0b\u202fc"])
def test_other_characters_stay(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(("text", "escaped"), HOSTILE)
def test_every_way_to_the_screen_escapes(
    text: str, escaped: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = io.StringIO()
    console = SafeConsole(file=printed, width=200, highlight=False)
    monkeypatch.setattr(screen, "output", console)
    monkeypatch.setattr(screen, "messages", console)

    screen.print_line(text)
    screen.tell(text)
    screen.warn(text)
    screen.print_wide(table("", [""], [[text]]))
    lines = [line.strip() for line in printed.getvalue().splitlines()]
    assert [line for line in lines if line] == [escaped, escaped, f"warning: {escaped}"]

    screen.say(text)
    print_message(text)
    assert capsys.readouterr().err == f"{escaped}\n" * 2


def test_a_console_escapes_in_whatever_it_prints_and_keeps_its_own_colours() -> None:
    printed = io.StringIO()
    console = SafeConsole(file=printed, width=80, force_terminal=True, color_system="standard")
    hostile = Table(title="t\x1b[2Kt")
    hostile.add_column("h\x9bh")
    hostile.add_row(Text("c\x1bc", style="red"))
    console.print(hostile)

    assert r"t\x1b[2Kt" in printed.getvalue()
    assert "\x9b" not in printed.getvalue()
    assert "\x1b[31m" in printed.getvalue()
    assert "\x1b[2K" not in printed.getvalue()
