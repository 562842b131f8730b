"""Loads studies with mistakes: each is a study or is refused in lines that name the place."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import methods
from benchmark.cli.main import MOST_LINES
from benchmark.errors import InputError
from benchmark.printable import is_unprintable
from benchmark.study import study as study_study
from tests.support.commandline import ROOT
from tests.support.studyfile import GOOD
from tests.torture.cases import Case, Outcome

BATCH = 100
"""Number of studies in a case."""

LONGEST = 5.0
"""Seconds after which loading a study is said to hang."""

CHARACTERS = "aZ0 9.-:,*&!'\"[]{}#|>%@`\t\n\\~?<=é\0\x1b\u202e"

BAD = (float("nan"), float("inf"), -float("inf"), "a\x1b[2Kb", "a\rb", "\u202ea")
"""Values that no key takes."""

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 0.5, 1e308, 10**30, "", " ", "x" * 5000, "../..", "{{x}}", "1e400"),
    *([], {}, [[[[[[[[1]]]]]]]], {"a": {"b": {"c": 1}}}, [None], ["a"] * 2000),
)
"""Values that few keys take."""

FREE = frozenset({"arguments", "options", "kwargs", "tags"})
"""Keys whose mappings have keys of somebody else's."""


@dataclass(frozen=True)
class Batch:
    """Studies with one mistake each, or two."""

    seed: int
    size: int = BATCH

    def __call__(self, folder: Path) -> Outcome:
        """Run the case."""
        draw = random.Random(self.seed)
        texts = [GOOD, *(path.read_text() for path in sorted((ROOT / "studies").glob("*.yaml")))]
        file = folder / "fuzzed.yaml"
        counts = {"studies": 0, "accepted": 0, "refused": 0}
        problems = []

        for number in range(self.size):
            text, wrong = _mistaken(draw.choice(texts), draw)
            file.write_bytes(text.encode(errors="surrogateescape"))
            accepted, problem = _load(file)
            if accepted and wrong:
                problem = f"accepted in spite of {wrong}"
            counts["studies"] += 1
            counts["accepted" if accepted else "refused"] += 1
            if problem:
                kept = folder / f"fuzzed-{self.seed}-{number}.yaml"
                kept.write_bytes(file.read_bytes())
                problems.append(f"{kept}: {problem}")

        return Outcome(f"studies, seed {self.seed}", "\n".join(problems) or None, counts)


def _load(file: Path) -> tuple[bool, str | None]:
    """Load a study; return whether it was accepted, and what is wrong with how it was refused."""
    start = time.monotonic()
    try:
        study_study.load(file, methods)
    except InputError as error:
        problem = _problem_of(error, file)
        accepted = False
    except BaseException as error:
        return False, f"{type(error).__name__}: {str(error)[:200]!r}"
    else:
        problem, accepted = None, True

    seconds = time.monotonic() - start
    if seconds > LONGEST:
        return accepted, f"takes {seconds:.1f} s"
    return accepted, problem


def _problem_of(error: InputError, file: Path) -> str | None:
    """Return what is wrong with a refusal."""
    for line in str(error).splitlines():
        if any(map(is_unprintable, line)):
            return f"cannot be printed: {line!r}"
        if not line.startswith(f"{file}:"):
            return f"does not name the file: {line!r}"
    printed = "\n".join(str(error).splitlines()[:MOST_LINES])
    if len(printed) > 20_000:
        return f"has {len(printed)} characters"
    return None if str(error).strip() else "says nothing"


def _mistaken(text: str, draw: random.Random) -> tuple[str, str]:
    """Return a study with a mistake, and what must not be accepted; empty if it may be."""
    if draw.random() < 0.4:
        for _ in range(draw.choice((1, 1, 2))):
            text = draw.choice((_one_character, _one_line))(text, draw)
        return text, ""

    content = yaml.safe_load(text)
    mappings = list(_mappings(content))
    mapping = draw.choice(mappings)
    key = draw.choice(sorted(mapping, key=str)) if mapping else None
    kind = draw.choice(("unknown", "misspelt", "missing", "bad", "odd", "odd", "odd"))
    wrong = ""

    if kind == "unknown" or key is None:
        mapping["no_such_key"] = draw.choice((1, "x", None, {}))
        wrong = "an unknown key"
    elif kind == "misspelt":
        misspelt = _misspelt(str(key), draw)
        if misspelt in mapping:
            return text, ""
        mapping[misspelt] = mapping.pop(key)
        wrong = f"the key {misspelt!r}"
    elif kind == "missing":
        del mapping[key]
    elif kind == "bad":
        mapping[key] = copy.deepcopy(draw.choice(BAD))
        wrong = f"the value {mapping[key]!r} of {key}"
    else:
        mapping[key] = copy.deepcopy(draw.choice(ODD))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True), wrong


def _mappings(content: Any) -> Iterator[dict[Any, Any]]:
    """Yield all mappings whose keys are those of kdbench."""
    if isinstance(content, dict):
        yield content
        for key, value in content.items():
            if key not in FREE:
                yield from _mappings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _mappings(value)


def _misspelt(key: str, draw: random.Random) -> str:
    place = draw.randrange(len(key))
    return draw.choice((key[:place] + key[place + 1 :], key[:place] + "x" + key[place:], f"{key}_"))


def _one_character(text: str, draw: random.Random) -> str:
    index, edit = draw.randrange(len(text)), draw.choice(("insert", "replace", "delete"))
    character = "" if edit == "delete" else draw.choice(CHARACTERS)
    return text[:index] + character + text[index + (edit != "insert") :]


def _one_line(text: str, draw: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    edit = draw.choice(("delete", "repeat", "swap", "indent", "end"))
    if edit == "delete":
        del lines[place]
    elif edit == "repeat":
        lines.insert(place, lines[place])
    elif edit == "swap":
        other = draw.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    elif edit == "indent":
        lines[place] = " " * draw.randrange(1, 4) + lines[place]
    else:
        del lines[place:]
    return "".join(lines)


def cases(number: int, seed: int) -> list[Case]:
    """Return cases with so many studies in all."""
    return [Batch(seed + start, min(BATCH, number - start)) for start in range(0, number, BATCH)]
