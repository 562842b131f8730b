"""The strict YAML reader: plain data only, every value's place known, one line of message for every mistake."""

from __future__ import annotations

import pytest

from benchmark.errors import InputError
from benchmark.study import yamlfile

GOOD = """\
name: first   # a comment
recipe: {lr: 5e-4, steps: [1, 2]}
pairs:
  - teacher: big
    student: small
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "study.yaml"


def refused(file, content):
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        yamlfile.read(file)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{file}:")
    return message.removeprefix(f"{file}:")


def test_a_good_file_is_read_and_every_value_has_its_place(file):
    file.write_text(GOOD)
    document = yamlfile.read(file)
    assert document.data == {
        "name": "first",
        "recipe": {"lr": 5e-4, "steps": [1, 2]},
        "pairs": [{"teacher": "big", "student": "small"}],
    }
    places = {
        (): "1:1",
        ("name",): "1:1",
        ("recipe", "lr"): "2:10",
        ("recipe", "steps", 1): "2:31",
        ("pairs", 0): "4:5",
        ("pairs", 0, "student"): "5:5",
        ("pairs", 0, "missing", "deeper"): "4:5",
        ("missing",): "1:1",
    }
    assert {location: document.where(location) for location in places} == {
        location: f"{file}:{place}" for location, place in places.items()
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        ("1.5e+3", 1500.0),
        ("0.1", 0.1),
        ("12", 12),
        ("true", True),
        ("null", None),
        ("'5e-4'", "5e-4"),
        ("e5", "e5"),
        ("2020-01-01", "2020-01-01"),
        ("1e5x", "1e5x"),
    ],
)
def test_scalars_are_what_they_look_like(file, text, value):
    file.write_text(f"key: {text}\n")
    found = yamlfile.read(file).data["key"]
    assert (found, type(found)) == (value, type(value))


def test_anchors_and_merge_keys_are_plain_data(file):
    file.write_text("base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n")
    assert yamlfile.read(file).data["other"] == {"a": 1, "b": 3}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

WRONG = {
    "duplicate key": ("a: 1\nb: 2\na: 3\n", "3:1: key 'a' stands twice"),
    "nested duplicate key": ("a:\n  b: 1\n  b: 2\n", "3:3: key 'b' stands twice"),
    "duplicate key in another spelling": ("a: 1\n'a': 2\n", "2:1: key 'a' stands twice"),
    "unclosed list": ("a: [1, 2\nb: 3\n", "2:2: not valid YAML: expected ',' or ']', but got ':'"),
    "tab": (
        "a:\n\tb: 1\n",
        "2:1: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "unknown alias": ("a: *b\n", "1:4: not valid YAML: found undefined alias"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: not valid YAML: but found another document"),
    "list": ("- a\n- b\n", " a study is a mapping of keys to values; this file holds a list"),
    "text": ("just text\n", " a study is a mapping of keys to values; this file holds a str"),
    "empty": ("", " a study is a mapping of keys to values; this file holds nothing"),
    "only a comment": (
        "# nothing\n",
        " a study is a mapping of keys to values; this file holds nothing",
    ),
    "binary": (b"\x00\xff\xfe\x80", " cannot be read as text: 'utf-8' codec can't decode"),
    "control characters": (b"a: \x01\x02\n", " not valid YAML: unacceptable character #x0001"),
    "too large": (b"#" * (yamlfile.LARGEST + 1), " not a file of at most 1048576 bytes"),
    "alias bomb": (BOMB, " too many or too deeply nested values"),
    "alias of itself": ("a: &a [*a]\n", " too many or too deeply nested values"),
    "deeply nested": ("a: " + "[" * 60 + "]" * 60, " too many or too deeply nested values"),
    "endlessly nested": ("[" * 1500, " not valid YAML: maximum recursion depth"),
    "number as a key": ("a:\n  1: 2\n", "2:3: a key must be text; put it in quotes"),
    "yes as a key": ("yes: 2\n", "1:1: a key must be text; put it in quotes"),
    "list as a key": ("? [a, b]\n: 2\n", "1:3: a key must be text; put it in quotes"),
    "set": ("a: !!set {b, c}\n", "1:4: the tag 'tag:yaml.org,2002:set' is not plain data"),
    "bytes": ("a: !!binary aGk=\n", "1:4: the tag 'tag:yaml.org,2002:binary' is not plain data"),
    "own tag": ("a: !mine 1\n", "1:4: the tag '!mine' is not plain data"),
    "too long a number": (
        f"a: [0x{'f' * 5000}]\n",
        "1:5: a whole number of 5002 digits is too large",
    ),
    "no whole number": ("a: !!int ''\n", " not valid YAML: "),
    "no truth value": ("a: !!bool perhaps\n", " not valid YAML: "),
    "too large a float": (f"a: !!float {':'.join(['59'] * 300)}\n", " not valid YAML: "),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_one_line_with_the_file_and_the_place(file, kind):
    content, message = WRONG[kind]
    assert refused(file, content).startswith(message)


def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(file, tmp_path):
    victim = tmp_path / "made"
    message = refused(file, f"a: !!python/object/apply:os.mkdir ['{victim}']\n")
    assert (
        message == "1:4: the tag 'tag:yaml.org,2002:python/object/apply:os.mkdir' is not plain data"
    )
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "no such file"),
        ("", "not a file of at most"),
        ("no\0name", "cannot be read"),
        ("x" * 300, "cannot be read"),
    ],
)
def test_a_path_that_is_no_file_is_one_line(tmp_path, name, message):
    with pytest.raises(InputError, match=message) as error:
        yamlfile.read(tmp_path / name)
    assert "\n" not in str(error.value)
