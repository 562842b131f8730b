"""The reference of study files is complete, and its examples are right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import methods
from benchmark.study import reference, yamlfile
from benchmark.study.reference_examples import COMPLETE, SECTIONS
from benchmark.study.study import load
from tests.support.plugged import clean  # noqa: F401

pytestmark = pytest.mark.subprocess

COMMAND = "python -m benchmark.study.reference"


@pytest.mark.parametrize("name", [reference.MARKDOWN, reference.SCHEMA])
def test_the_committed_reference_is_what_the_schema_gives(tmp_path, name):
    reference.write(tmp_path)
    committed = (reference.DOCS / name).read_text(encoding="utf-8")
    assert (tmp_path / name).read_text(encoding="utf-8") == committed, f"run `{COMMAND}`"


FLOWERS = """
from benchmark.plugins import data_source

@data_source("flowers")
def flowers(petals):
    return "a folder"
"""

PARTS = """
from benchmark.plugins import augmentation, optimizer, schedule

@optimizer("nadam")
def nadam(parameters, lr, weight_decay, decay): ...

@schedule("stable_decay")
def stable_decay(moment, decay): ...

@augmentation("noise")
def noise(images, generator, deviation): ...
"""


def test_the_command_writes_the_reference():
    files = [reference.DOCS / name for name in (reference.MARKDOWN, reference.SCHEMA)]
    before = [path.read_bytes() for path in files]

    command = [sys.executable, *COMMAND.split()[1:]]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    assert [path.read_bytes() for path in files] == before


def test_every_model_has_a_section_and_every_key_a_description():
    schema = reference.json_schema()
    models = {section.model.__name__ for section in SECTIONS}
    assert models == {"Study", *schema["$defs"]}

    for model in (schema, *schema["$defs"].values()):
        assert model["description"]
        assert all(value["description"] for value in model["properties"].values())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
@pytest.mark.usefixtures("clean")
def test_every_example_is_a_study_once_the_other_keys_are_added(tmp_path, section):
    files = tmp_path / "complete.yaml", tmp_path / "example.yaml"
    for file, text in zip(files, (COMPLETE, section.example), strict=True):
        file.write_text(text)

    complete, example = (yamlfile.read(file).data for file in files)
    (tmp_path / "flowers.py").write_text(FLOWERS)
    (tmp_path / "parts.py").write_text(PARTS)
    merged = tmp_path / "study.yaml"
    merged.write_text(yamlfile.dump({**complete, **example}))

    study = load(merged, methods)
    assert any(type(part) is section.model for part in parts(study))


def parts(value):
    """Yield a model and all models in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from parts(item)
    elif hasattr(value, "model_fields_set"):
        yield value
        for key in type(value).model_fields:
            yield from parts(getattr(value, key))


def test_the_json_schema_allows_short_forms_and_missing_names():
    schema = reference.json_schema()
    definitions, keys = schema["$defs"], schema["properties"]

    assert keys["split"]["anyOf"][0] == {"enum": ["legacy"]}
    assert keys["methods"]["anyOf"][0] == {"enum": ["*"]}
    assert keys["dataset"]["anyOf"][0] == {"type": "string"}
    assert definitions["Row"]["required"] == ["method"]
    assert definitions["Pair"]["required"] == ["teacher", "student"]
    assert all(model["additionalProperties"] is False for model in definitions.values())


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("digits", "Digits"),
        ("torch/mnist", "Torchvision"),
        ("hfds/a/b", "HuggingFace"),
        ("folder/a", "ClassFolders"),
        ("mine/a", "OtherFiles"),
        ("mine", "OwnData"),
    ],
)
def test_the_json_schema_has_one_kind_of_data_set_for_a_name(name, model):
    definitions = reference.json_schema()["$defs"]
    kinds = ("Digits", "Torchvision", "HuggingFace", "ClassFolders", "OtherFiles", "OwnData")

    def allows(schema):
        names = schema.get("enum", [schema["const"]] if "const" in schema else None)
        return name in names if names else bool(re.search(schema["pattern"], name))

    assert [kind for kind in kinds if allows(definitions[kind]["properties"]["name"])] == [model]


def test_the_json_schema_is_plain_json():
    schema = reference.json_schema()
    assert json.loads(json.dumps(schema)) == schema
