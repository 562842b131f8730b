"""Write the reference for study files, `docs/study.md`, and the JSON schema for editors.

Run `python -m benchmark.study.reference` after changing the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from benchmark.study.reference_examples import COMPLETE, SECTIONS, Section
from benchmark.study.study import Study

DOCS = Path(__file__).parents[2] / "docs"

MARKDOWN, SCHEMA = "study.md", "study.schema.json"
"""Names of the files in `docs`."""

INTRODUCTION = f"""\
# The study file

<!-- Written by `python -m benchmark.study.reference`; change the schema in benchmark/study. -->

A study is one YAML file: a question, and everything that is needed to answer it. The examples in
the sections below replace some of its keys.

```yaml
{COMPLETE}```

* **Strict.** An unknown key is an error with a suggestion, and no value is converted: `'1'` is not
  a number. Every message names the file, the line, the column and the key.
* **YAML 1.2.** `5e-4` is a number and `2026-01-01` is text. Unquoted values that YAML 1.1 reads
  differently (`yes`, `no`, `on`, `off`, `010`, `1:30`) are rejected: write `true` or `false`,
  write numbers in decimal, and put text in quotes. A key may occur only once. Anchors and merge
  keys (`<<`) work.
* **Short forms.** Where a type is "text or" a section, the text is the section's `name`, `model` or
  `method`: `dataset: digits` means `dataset: {{name: digits}}`, and `student: cifar_resnet8` means
  `student: {{model: cifar_resnet8}}`.
* **Editors.** `docs/{SCHEMA}` is a JSON schema for completion and checks. In an editor with
  the YAML language server, begin a file in `studies/` with

  ```yaml
  # yaml-language-server: $schema=../docs/{SCHEMA}
  ```

Changing a value that affects results gives a cell a new identity, and only new cells are trained.
The names of studies, pairs and rows, `question`, `tracking`, `root`, `workers` and `min_accuracy`
do not affect results.

Before a long study, `kdbench rehearse STUDY.yaml` takes a few steps of every row on the device at
hand, and records nothing. It lists the time and memory of each row, names those that will fail, and
prices the study in hours. `kdbench run STUDY.yaml --profile` traces a few steps of each cohort: it
prints the most expensive operators of each cell, and writes Chrome traces to the folder `profiles`
of the study. MLflow gets them in a run named `profile`.
"""


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic derives from the names of fields."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a study file."""
    schema = Study.model_json_schema(schema_generator=_WithoutTitles)
    heading = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "kdbench study"}
    joined: dict[str, Any] = _join_lines({**schema, **heading})
    return joined


def markdown() -> str:
    """Return the reference for study files as Markdown."""
    schema = json_schema()
    parts = [INTRODUCTION]

    for section in SECTIONS:
        model = section.model.__name__
        parts.append(_section(section, schema["$defs"].get(model, schema)))
    return "\n".join(parts)


def write(folder: Path) -> None:
    """Write both files into a folder."""
    (folder / MARKDOWN).write_text(markdown(), encoding="utf-8")
    (folder / SCHEMA).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")


def _join_lines(value: Any) -> Any:
    """Join the lines of each paragraph in all strings of plain data."""
    if isinstance(value, str):
        return re.sub(r"(?<!\n)\n(?!\n)", " ", value)
    if isinstance(value, list):
        return [_join_lines(item) for item in value]
    if isinstance(value, dict):
        return {key: _join_lines(item) for key, item in value.items()}
    return value


def _section(section: Section, schema: Mapping[str, Any]) -> str:
    """Return the heading, description, table of keys and example of a model."""
    lines = [
        f"## {section.title}",
        "",
        schema["description"],
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
        *_rows(schema),
        "",
        f"```yaml\n{section.example}```",
        "",
    ]
    return "\n".join(lines)


def _rows(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table row for every key."""
    for key, value in schema["properties"].items():
        required = key in schema.get("required", ())
        default = "required" if required else _default(value)
        cells = (f"`{key}`", _type(value), default, value["description"])
        yield f"| {' | '.join(cells)} |"


def _default(schema: Mapping[str, Any]) -> str:
    """Return the default of a key that is not required."""
    default = schema.get("default")
    if default is None:
        return ""
    if isinstance(default, dict) and default:
        return "its defaults"
    if default in ("", [], {}):
        return "empty"
    return f"`{json.dumps(default)}`".replace('"', "")


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a value, with its allowed values or limits."""
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])

    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        types = [_type(item) for item in alternatives if item.get("type") != "null"]
        return " or ".join(types)

    if schema["type"] == "array":
        items = _type(schema["items"])
        items = f"({items})" if "anyOf" in schema["items"] else items
        return f"list of {items}{_length(schema)}"
    if schema["type"] == "object":
        values = schema.get("additionalProperties")
        return f"mapping of names to {_type(values)}" if isinstance(values, dict) else "mapping"

    names = {"string": "text", "boolean": "`true` or `false`"}
    limits = ", ".join(_limits(schema))
    return f"{names.get(schema['type'], schema['type'])} {limits}".strip()


def _length(schema: Mapping[str, Any]) -> str:
    """Return the allowed number of items of a list, if it is limited."""
    low, high = schema.get("minItems", 0), schema.get("maxItems")
    if high is None:
        return f" ({low} or more items)" if low else ""
    return f" ({low} items)" if low == high else f" ({low} to {high} items)"


def _limits(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the limits of a number."""
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    for key, sign in signs.items():
        if key in schema:
            yield f"{sign} {schema[key]:g}"


def _link(reference: str) -> str:
    """Return a link to the section of a model."""
    titles = {section.model.__name__: section.title for section in SECTIONS}
    title = titles[reference.rpartition("/")[2]]
    return f"[{title}](#{title.lower().replace(' ', '-')})"


if __name__ == "__main__":
    write(DOCS)
