"""The catalogue of models: what a line says, and that giants cost no memory."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import timm
import torch
from rich.console import Console

from benchmark.cli import model_list
from benchmark.cli.model_list import Entry
from benchmark.errors import InputError
from benchmark.models import create
from benchmark.study.schema import Network
from benchmark.training import profiling
from methods import Shapes

pytestmark = pytest.mark.trains

SIZE = (3, 32, 32)


def printed(entries):
    text = io.StringIO()
    Console(file=text, width=200).print(model_list.table(entries))
    return text.getvalue()


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "test_efficientnet", "cifar_resnet8", "levit_128s"]
)
def test_an_entry_says_what_a_model_in_memory_would(name):
    (entry,) = model_list.models(name, SIZE, 10)
    model = create.tapped(Network(model=name), "here", SIZE, 10, (0.5,) * 3, (0.5,) * 3)
    assert entry == Entry(
        name,
        name in ("test_vit", "levit_128s"),
        model.parameter_count(),
        model.macs(),
        replace(model.shapes, pooled=()),  # which takes numbers to see
        {what: why for what, why in model.notes.items() if what in ("embedding", "maps")},
        origin="benchmark.models.zoo.resnet" if name.startswith("cifar") else "timm",
    )


def test_a_model_of_a_billion_parameters_is_measured_without_the_memory_for_them():
    with torch.device("meta"):
        count = sum(
            weight.numel() for weight in timm.create_model("eva_giant_patch14_560").parameters()
        )
    before = profiling.peak_memory(torch.device("cpu"))
    (entry,) = model_list.models("eva_giant_patch14_560", (3, 560, 560), 1000)
    assert entry.parameters == count > 1e9
    assert profiling.peak_memory(torch.device("cpu")) - before < 1000
    assert entry.macs > 1e12
    assert entry.shapes.embedding == (1408,)
    assert entry.reason == ""


def test_a_pattern_gives_every_name_that_matches():
    assert [entry.name for entry in model_list.models("test_resnet*", SIZE, 10)] == ["test_resnet"]
    assert [entry.name for entry in model_list.models("test_vit[23]", SIZE, 10)] == [
        "test_vit2",
        "test_vit3",
    ]


def test_a_pattern_without_wildcard_that_is_no_name_gives_the_names_that_contain_it():
    assert [entry.name for entry in model_list.models("est_vit", SIZE, 10)] == create.names(
        "*est_vit*"
    )
    assert [entry.name for entry in model_list.models("test_vit", SIZE, 10)] == ["test_vit"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("resnett18", "did you mean 'resnet18'?"),
        ("*resnett18*", "did you mean 'resnet18'?"),
        ("#", "'*' matches all"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused_at_once_with_a_hint(pattern, hint):
    with pytest.raises(InputError) as error:
        model_list.models(pattern, SIZE, 10)
    assert str(error.value) == f"no model matches {pattern!r}; {hint}"


def test_a_model_that_cannot_take_the_size_keeps_its_line_with_the_reason():
    (entry,) = model_list.models("inception_v3", SIZE, 10)
    assert entry.parameters > 20e6
    assert (entry.macs, entry.shapes) == (None, None)
    assert entry.reason.startswith("'inception_v3' cannot take images of 3x32x32: ")
    assert entry.reason.endswith("it was designed for 3x299x299; set image_size")
    assert entry.reason in " ".join(printed([entry]).split())


def test_a_model_that_cannot_be_made_keeps_its_line_with_the_reason():
    (entry,) = model_list.models("vit_tiny_patch16_224", (3, 8, 8), 10)
    assert entry.reason
    assert entry.shapes is None


def _without_meta(monkeypatch):
    tapped = model_list.tapped

    def refusing(*arguments):
        if torch.get_default_device().type == "meta":
            raise NotImplementedError("not on the meta device")
        return tapped(*arguments)

    monkeypatch.setattr(model_list, "tapped", refusing)


def test_a_small_model_that_fails_on_the_meta_device_is_made_in_memory(monkeypatch):
    (expected,) = model_list.models("test_resnet", SIZE, 10)
    _without_meta(monkeypatch)
    assert list(model_list.models("test_resnet", SIZE, 10)) == [expected]


def test_a_large_model_that_fails_on_the_meta_device_is_not_made(monkeypatch):
    _without_meta(monkeypatch)
    monkeypatch.setattr(model_list, "LARGEST", 1000)
    (entry,) = model_list.models("test_resnet", SIZE, 10)
    assert entry.reason == "not on the meta device"
    assert entry.parameters > 1000


def test_the_table_has_a_line_per_model_with_its_taps_or_why_there_are_none():
    shapes = Shapes((10,), (96,), ((32, 8, 8), (96, 1, 1)))
    notes = {"embedding": "has none", "maps": "tokens only"}
    lines = printed(
        [
            Entry("tapped", False, 1_234_567, 2_000_000, shapes),
            Entry("flat", True, 5_000, 0, Shapes((10,)), notes),
            Entry("odd", True, 5_000, reason="[red]why not"),
        ]
    ).splitlines()
    head, *rest = [line.split() for line in lines]
    assert " ".join(head) == ("model defined in params (M) MACs (M) image size embedding maps")
    assert rest == [
        ["tapped", "timm", "1.23", "2.00", "any", "96", "32x8x8", "96x1x1"],
        ["flat", "timm", "0.01", "0.00", "fixed", "has", "none", "tokens", "only"],
        ["odd", "timm", "0.01", "fixed", "[red]why", "not"],
    ]
