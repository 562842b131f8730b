"""The sampler of a search depends on its space and its pruner."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.search import spaces
from benchmark.search.samplers import sampler_name
from benchmark.study.schema import Row, Search


@pytest.mark.parametrize(
    ("name", "content", "sampler"),
    [
        ("kd", {}, "gp"),
        ("kd", {"pruner": "median"}, "tpe"),
        ("rld+nkd", {}, "tpe"),
        ("kd", {"sampler": "random"}, "random"),
    ],
)
def test_a_gaussian_process_searches_few_continuous_settings_and_tpe_the_rest(
    name: str, content: dict[str, Any], sampler: str
) -> None:
    row, search = Row(name=name, method=name), Search.model_validate(content)
    assert sampler_name(search, spaces.space(row, search)) == sampler
