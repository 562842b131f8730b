"""The strict YAML reader refuses everything ambiguous, and the writer is its inverse."""

from __future__ import annotations

import warnings

import pytest
import yaml as pyyaml

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


def read(file, text):
    file.write_text(text)
    return yamlfile.read(file).data


def refused(file, content):
    """Return the error message for a file's content, without the file's name in front."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        yamlfile.read(file)

    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{file}:")
    return message.removeprefix(f"{file}:")


def test_a_good_file_is_read_with_the_position_of_every_value(file):
    file.write_text(GOOD)
    document = yamlfile.read(file)

    assert document.data == {
        "name": "first",
        "recipe": {"lr": 5e-4, "steps": [1, 2]},
        "pairs": [{"teacher": "big", "student": "small"}],
    }
    positions = {
        (): "1:1",
        ("name",): "1:1",
        ("recipe", "lr"): "2:10",
        ("recipe", "steps", 1): "2:31",
        ("pairs", 0): "4:5",
        ("pairs", 0, "student"): "5:5",
        ("pairs", 0, "missing", "deeper"): "4:5",
        ("missing",): "1:1",
    }
    assert {location: document.where(location) for location in positions} == {
        location: f"{file}:{position}" for location, position in positions.items()
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1E5", 1e5),
        ("-2.5e3", -2500.0),
        ("1.5e+3", 1500.0),
        ("1.0e-05", 1e-5),
        ("0.1", 0.1),
        (".5", 0.5),
        ("12", 12),
        ("-0", 0),
        ("0x1f", 31),
        ("1_000", 1000),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'5e-4'", "5e-4"),
        ("'yes'", "yes"),
        ('"010"', "010"),
        ("e5", "e5"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01 10:00:00", "2020-01-01 10:00:00"),
        ("=", "="),
        ("1e5x", "1e5x"),
        ("y", "y"),
        ("yes please", "yes please"),
    ],
)
def test_a_scalar_is_what_it_looks_like(file, text, value):
    result = read(file, f"key: {text}\n")["key"]
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"),
        *("010", "-010", "00", "08", "0o17", "1:30", "+1:30", "1:30:59", "1:30.5"),
        *("!!str 010", "!!bool yes", "!!int 010"),
    ],
)
def test_a_value_that_yaml_1_1_reads_differently_is_refused_and_its_quoted_form_is_text(file, text):
    plain = text.split()[-1]
    message = refused(file, f"key: [1, {text}]\n")
    assert message.startswith(f"1:10: {plain!r} means different things in YAML 1.1 and YAML 1.2; ")
    assert read(file, f"key: '{plain}'\n") == {"key": plain}


@pytest.mark.parametrize(
    "text",
    ["5e-4", ".5", "1.", "1e3", "12", "1_0", "-0", "0x1f", "0b11", "true", "null", "~", "a b", "y"],
)
def test_every_value_that_is_not_refused_reads_as_an_earlier_version_read_it(file, text):
    earlier = float(text) if "e" in text and text[0].isdigit() else pyyaml.safe_load(text)
    result = read(file, f"key: {text}\n")["key"]
    assert (result, type(result)) == (earlier, type(earlier))


def test_anchors_and_merge_keys_are_plain_data(file):
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}\n"
    assert read(file, text)["other"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
        ("%YAML 1.1\n---\na: 5e-4\n", {"a": 5e-4}),
    ],
)
def test_legal_yaml_is_read_without_warnings(file, text, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(file, text) == data


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TOO_LARGE = " too many or too deeply nested values"

WRONG = {
    "duplicate key": ("a: 1\nb: 2\na: 3\n", '3:1: found duplicate key "a"; remove one of the two'),
    "nested duplicate key": ("a:\n  b: 1\n  b: 2\n", '3:3: found duplicate key "b"; remove'),
    "duplicate key in another spelling": ("a: 1\n'a': 2\n", '2:1: found duplicate key "a"; '),
    "duplicate merge key": (
        "a: &a {b: 1}\nc: {<<: *a, <<: *a}\n",
        '2:13: found duplicate merge key "<<"; remove one of the two',
    ),
    "unclosed list": ("a: [1, 2\nb: 3\n", "2:2: not valid YAML: expected ',' or ']', but got ':'"),
    "tab": (
        "a:\n\tb: 1\n",
        "2:1: not valid YAML: found character '\\t' that cannot start any token",
    ),
    "unknown alias": ("a: *b\n", "1:4: not valid YAML: found undefined alias"),
    "two documents": ("a: 1\n---\nb: 2\n", "2:1: not valid YAML: but found another document"),
    "list": ("- a\n- b\n", " is not a mapping; write lines of the form 'key: value'"),
    "text": ("just text\n", " is not a mapping; write lines of the form 'key: value'"),
    "empty": ("", " is empty; write lines of the form 'key: value'"),
    "only a comment": ("# nothing\n", " is empty; write lines of the form 'key: value'"),
    "binary": (b"\x00\xff\xfe\x80", " cannot be read as text: 'utf-8' codec can't decode"),
    "control characters": (b"a: \x01\x02\n", " not valid YAML: unacceptable character #x0001"),
    "too large": (
        b"#" * (yamlfile.MAX_BYTES + 1),
        " not a regular file, or larger than",
    ),
    "alias bomb": (BOMB, TOO_LARGE),
    "alias of itself": ("a: &a [*a]\n", TOO_LARGE),
    "deeply nested": ("a: " + "[" * 60 + "]" * 60, TOO_LARGE),
    "endlessly nested": ("[" * 1500, TOO_LARGE),
    "number as a key": ("a:\n  1: 2\n", "2:3: a key must be text; put it in quotes"),
    "null as a key": ("~: 2\n", "1:1: a key must be text; put it in quotes"),
    "yes as a key": ("yes: 2\n", "1:1: 'yes' means different things in YAML 1.1 and YAML 1.2; "),
    "list as a key": ("? [a, b]\n: 2\n", "1:3: a key must be text; put it in quotes"),
    "set": ("a: !!set {b, c}\n", "1:4: the tag 'tag:yaml.org,2002:set' is not allowed"),
    "bytes": ("a: !!binary aGk=\n", "1:4: the tag 'tag:yaml.org,2002:binary' is not allowed"),
    "own tag": ("a: !mine 1\n", "1:4: the tag '!mine' is not allowed; remove it"),
    "own tag with a prefix": (
        "%TAG ! tag:yaml.org,2002:python/\n---\na: !tuple [1]\n",
        "3:4: the tag 'tag:yaml.org,2002:python/tuple' is not allowed",
    ),
    "too long a number": (
        f"a: [0x{'f' * 5000}]\n",
        "1:5: a whole number of 5002 digits is too large",
    ),
    "no whole number": ("a: !!int ''\n", " not valid YAML: "),
    "no truth value": ("a: !!bool perhaps\n", " not valid YAML: "),
    "no float": (f"a: !!float {':'.join(['59'] * 300)}\n", "1:4: '59:59:59:"),
    "unknown version": ("%YAML 3.1\n---\na: 1\n", "1:1: not valid YAML: found incompatible YAML"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_one_line_with_file_and_position(file, kind):
    content, message = WRONG[kind]
    assert refused(file, content).startswith(message)


def test_a_tag_that_would_run_code_is_refused_and_runs_nothing(file, tmp_path):
    victim = tmp_path / "victim"
    message = refused(file, f"a: !!python/object/apply:os.mkdir ['{victim}']\n")

    tag = "tag:yaml.org,2002:python/object/apply:os.mkdir"
    assert message == f"1:4: the tag '{tag}' is not allowed; remove it"
    assert not victim.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "no such file; there are none"),
        ("none/missing.yaml", "no such file; there is no folder"),
        ("", "not a regular file, or larger than"),
        ("no\0name", "cannot be read"),
        ("x" * 300, "cannot be read"),
    ],
)
def test_a_path_that_is_no_file_is_refused_in_one_line(tmp_path, name, message):
    with pytest.raises(InputError, match=message) as error:
        yamlfile.read(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_misspelt_file_name_is_refused_with_a_suggestion(tmp_path):
    (tmp_path / "quickstart.yaml").touch()
    (tmp_path / "notes.md").touch()

    with pytest.raises(InputError, match=r"quikstart.yaml: no such file; did you mean 'quickstar"):
        yamlfile.read(tmp_path / "quikstart.yaml")
    with pytest.raises(InputError, match=r"no such file; choose from quickstart\.yaml$"):
        yamlfile.read(tmp_path / "other.yaml")


CONTENT = {
    "study": "tenth",
    "names": ["yes", "010", "1:30", "5e-4", "2020-01-01", "null", "", " a", "a: b", "#", "é", "y"],
    "floats": [1e-5, 1e22, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0],
    "whole": [0, -1, 10**30],
    "rest": [True, False, None, {}, []],
    "long": "word " * 100,
    "lines": "one\ntwo\n",
    "nested": [{"pair": "a", "found": {"settings": {"beta": 1e-5}}}, {"pair": "b", "found": {}}],
    "b": 1,
    "a": 2,
}


def test_what_is_dumped_is_read_back_exactly_and_keeps_the_order_of_keys(file):
    data = read(file, yamlfile.dump(CONTENT))
    assert data == CONTENT
    assert repr(data) == repr(CONTENT)


def test_what_an_earlier_version_dumped_is_still_read(file):
    earlier = {key: value for key, value in CONTENT.items() if key != "names"}
    assert read(file, pyyaml.safe_dump(earlier, sort_keys=False)) == earlier


def test_dumped_yaml_has_a_line_per_value():
    text = yamlfile.dump({"b": [{"lr": 0.5, "steps": [1, 2]}], "a": "yes"})
    assert text == "b:\n- lr: 0.5\n  steps:\n  - 1\n  - 2\na: 'yes'\n"


@pytest.mark.parametrize(
    "digest", ["169357e91329", "123456789012", "0123456789", "00000000", "1e400000", "12345e-7"]
)
@pytest.mark.parametrize("style", ["{}", "'{}'", '"{}"'])
def test_the_digest_of_a_teachers_weights_is_text_even_if_it_looks_like_a_number(
    file, digest, style
):
    text = f"pairs: [{{teacher: {{model: m, weights: {style.format(digest)}}}}}]"
    if digest == "12345e-7" and style == "{}":  # no digest: it has a minus sign
        (pair,) = read(file, text)["pairs"]
        assert pair["teacher"]["weights"] == 12345e-7
        return
    assert read(file, text) == {"pairs": [{"teacher": {"model": "m", "weights": digest}}]}


def test_other_values_that_look_like_digests_are_numbers(file):
    text = "settings: {weights: 12345678}\nteacher: {kwargs: {weights: 1e400000}, seed: 12345678}"
    content = read(file, text)
    assert content["settings"] == {"weights": 12345678}
    assert content["teacher"] == {"kwargs": {"weights": float("inf")}, "seed": 12345678}
