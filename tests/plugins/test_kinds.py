"""What a plug-in adds: data sets of three kinds, and metrics; mistakes in them are explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from benchmark.data import Data
from benchmark.errors import InputError
from benchmark.plugins import Arrays, data_source, metric
from benchmark.plugins.kinds import METRICS
from benchmark.study.schema import Split, make_dataset
from benchmark.training import own_metrics

CPU = torch.device("cpu")
LABELS = [0, 1, 2] * 4

pytestmark = pytest.mark.usefixtures("clean")


def pixels(count: int = 12, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Draw images [count, 8, 6, channels]."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 8, 6, channels), dtype=np.uint8)


def registered(content: Any) -> Data:
    """Register a data set and read it."""

    @data_source("own_data")
    def own_data(**settings: Any) -> Any:
        return content(**settings) if callable(content) else content

    return Data(make_dataset("own_data"), Split(val=0), CPU, Path("nowhere"), print)


def read(data: Data) -> torch.Tensor:
    """Return all training images, uint8 [N, C, H, W]."""
    images = torch.cat(list(data._source.subset(torch.arange(data.samples)).batches()))
    return (images * 255).round().to(torch.uint8)


IMAGES = pixels()
RGB = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        RGB,
        RGB.float() / 255,
        IMAGES.transpose(0, 3, 1, 2),
        [*IMAGES],
    ],
    ids=["NHWC", "tensor", "floats", "NCHW", "list"],
)
def test_arrays_in_any_layout_are_the_same_images(images: Any) -> None:
    data = registered(Arrays(images, LABELS, images, np.array(LABELS)))
    assert torch.equal(read(data), RGB)
    assert data.labels.tolist() == LABELS
    assert (data.classes, data.samples, data.size) == (3, 12, (3, 8, 6))


@pytest.mark.parametrize("grey", [pixels(channels=1), pixels(channels=1)[..., 0]])
def test_grey_images_get_three_equal_channels(grey: Any) -> None:
    data = registered(Arrays(grey, LABELS, grey, LABELS, classes="abcd"))
    images = read(data)
    assert torch.equal(images[:, 0], torch.from_numpy(grey.reshape(12, 8, 6)))
    assert torch.equal(images[:, 0], images[:, 2])
    assert data.classes == 4


def test_a_pair_of_pytorch_data_sets_gives_the_same_images_as_arrays() -> None:
    class Items(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(IMAGES)

        def __getitem__(self, index: int) -> Any:
            return Image.fromarray(IMAGES[index]), LABELS[index]

    data = registered((Items(), Items()))
    same = registered(Arrays(IMAGES, LABELS, IMAGES, LABELS))
    assert torch.equal(read(data), RGB)
    assert data.fingerprint == same.fingerprint


def test_a_folder_is_read_as_a_folder_of_a_study(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in range(3):
            folder = tmp_path / "images" / part / f"class{label}"
            folder.mkdir(parents=True)
            for index in range(label, 12, 3):
                Image.fromarray(IMAGES[index]).save(folder / f"{index:02}.png")

    @data_source("own_folder")
    def own_folder() -> Path:
        return tmp_path / "images"

    data = Data(make_dataset("own_folder"), Split(val=0), CPU, tmp_path / "cache", print)
    order = [index for label in range(3) for index in range(label, 12, 3)]
    assert torch.equal(read(data), RGB[order])


def broken() -> Any:
    raise KeyError("petals")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (broken, "its plug-in failed: KeyError: 'petals'"),
        (lambda: None, "its plug-in returned NoneType; return Arrays, a pair of"),
        (lambda size: size, "its plug-in failed: TypeError: "),
        (Arrays(IMAGES, LABELS[:-1], IMAGES, LABELS), "12 train images, but 11 labels"),
        (Arrays(IMAGES.astype(int), LABELS, IMAGES, LABELS), "images are int64; use uint8, or"),
        (Arrays(IMAGES / 2.0, LABELS, IMAGES, LABELS), "floating-point pixels must be in [0, 1]"),
        (Arrays(IMAGES[0], LABELS, IMAGES, LABELS), "8 train images, but 12 labels"),
        (Arrays(IMAGES[..., :2], LABELS, IMAGES, LABELS), "images have shape (12, 8, 6, 2)"),
        (Arrays(IMAGES[:0], [], IMAGES, LABELS), "train image: there are none"),
        (Arrays(IMAGES, [-1, *LABELS[1:]], IMAGES, LABELS), "contains the label -1"),
        (([1, 2], [3]), "its items are not (image, label): "),
        (lambda: "/not/there", "there is neither a folder"),
    ],
)
def test_a_mistake_in_a_data_set_is_one_line(content: Any, reason: str) -> None:
    with pytest.raises(InputError) as error:
        registered(content)
    (line,) = str(error.value).splitlines()
    assert line.startswith("dataset")
    assert reason in line


def test_the_settings_of_a_study_reach_the_function() -> None:
    @data_source("own_settings")
    def own_settings(count: int) -> Arrays:
        return Arrays(IMAGES[:count], LABELS[:count], IMAGES, LABELS)

    dataset = make_dataset("own_settings", settings={"count": 9})
    assert Data(dataset, Split(val=0), CPU, Path("nowhere"), print).samples == 9
    assert dataset.identity == {
        "name": "own_settings",
        "settings": {"count": 9},
        "loading": "resident",
    }


def metrics(function: Callable[..., Any]) -> list[Any]:
    """Register a metric."""
    metric("own", title="Own", help="Own metric.")(function)
    return [entry.value for entry in METRICS.entries()]


def test_a_metric_is_computed_from_logits_labels_and_the_teachers_logits() -> None:
    logits, teacher = torch.eye(3), torch.eye(3).flip(0)
    own = metrics(lambda s, y, t: (s.argmax(1) == (y if t is None else t.argmax(1))).sum())
    labels = torch.tensor([0, 1, 1])
    assert own_metrics.compute(own, logits, labels, None) == {"test/own": 2.0}
    assert own_metrics.compute(own, logits, labels, teacher) == {"test/own": 1.0}


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda logits: 1.0, "its plug-in failed: TypeError: "),
        (lambda logits, labels, teacher: teacher.sum(), "AttributeError: 'NoneType'"),
        (lambda logits, labels, teacher: None, "its plug-in returned NoneType; return a number"),
        (lambda logits, labels, teacher: logits, "its plug-in returned Tensor; return a number"),
    ],
)
def test_a_mistake_in_a_metric_shows_before_anything_is_trained(
    function: Callable[..., Any], reason: str
) -> None:
    with pytest.raises(InputError) as error:
        own_metrics.check(metrics(function), classes=3)
    (line,) = str(error.value).splitlines()
    assert line.startswith("metric 'own': ")
    assert reason in line
