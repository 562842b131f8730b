"""Hints for misspelt names, and the first line of an error."""

from __future__ import annotations

import errno
import os

import pytest

from benchmark.errors import explained, first_line, suggest


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("fitnt", ["kd", "fitnet", "fit"], "did you mean 'fitnet'?"),
        ("zzz", ["kd", "at"], "choose from at, kd"),
        ("zzz", [], "there are none"),
        ("zzz", map(str, range(10, 24)), f"choose from {', '.join(map(str, range(10, 22)))} and 2"),
    ],
)
def test_a_misspelt_name_gets_the_most_similar_one_or_a_list(name, known, hint):
    assert suggest(name, known).startswith(hint)


def test_a_hint_of_ones_own_replaces_the_list_only():
    assert suggest("zzz", ["kd"], fallback="see the docs") == "see the docs"
    assert suggest("k", [], fallback="see the docs") == "see the docs"
    assert suggest("kdd", ["kd"], fallback="see the docs") == "did you mean 'kd'?"


def test_a_name_below_the_cutoff_is_not_suggested():
    assert suggest("none.yaml", ["my.yaml"]) == "did you mean 'my.yaml'?"
    assert suggest("none.yaml", ["my.yaml"], cutoff=0.8) == "choose from my.yaml"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("wrong\nin detail"), "wrong"),
        (ValueError("\n\n  wrong  \n"), "wrong"),
        (ValueError(), "ValueError"),
        (KeyError("a"), "'a'"),
    ],
)
def test_the_first_line_of_an_error_is_its_first_text_or_its_class(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "check who may read and write it"),
        (errno.EROFS, "choose another --workspace"),
        (errno.ELOOP, "a symbolic link leads back to itself; remove it"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.ENOSPC, "free some disk space"),
        (errno.ENOTDIR, "a part of the path is a file"),
    ],
)
def test_an_error_of_the_operating_system_names_the_file_and_a_remedy(number, remedy):
    line = explained(OSError(number, os.strerror(number), "runs/a\nb"))
    assert line.startswith(f"runs/a\\nb: {os.strerror(number)}; ")
    assert remedy in line


def test_an_error_of_the_operating_system_without_a_file_is_its_text():
    assert explained(OSError(errno.EPIPE, "Broken pipe")) == "Broken pipe"
    assert explained(TimeoutError()) == "TimeoutError"
