"""Labels become classes 0 to K - 1; names decide which test label is which training label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.data import Data
from benchmark.data.sources._labels import RawLabels, assign_classes
from benchmark.errors import InputError
from benchmark.plugins import Arrays, data_source
from benchmark.study.schema import Split, make_dataset
from tests.support.datasources import CPU, opened, picture, training
from tests.support.plugged import clean

__all__ = ["clean"]


def columns(folder, part, labels, names=None, file=None):
    """Write a part of a Hugging Face data set.

    Args:
        folder: Folder of the data set.
        part: Name of the part.
        labels: Label of each image.
        names: Names of the classes; plain numbers if there are none.
        file: Name of the file; by default, that of the part.
    """
    import datasets

    datasets.disable_progress_bars()
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    first = 100 * len(list(folder.glob("*.parquet")))
    rows = {"image": [picture(first + index) for index in range(len(labels))], "label": labels}
    folder.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(folder / f"{file or part}.parquet")


def read(tmp_path, messages=None, **options):
    return opened("hfds/mine", tmp_path, messages, split={"val": 0}, **options)


def refused(tmp_path, **options):
    with pytest.raises(InputError) as error:
        read(tmp_path, **options)
    return str(error.value).replace(str(tmp_path), "HERE")


@pytest.mark.parametrize("loading", ["resident", "streamed"])
@pytest.mark.parametrize("labels", [[0, 5, 9], [1, 2, 3], [3, 40, 900]])
def test_labels_with_gaps_become_classes_without_and_keep_their_names(tmp_path, labels, loading):
    columns(tmp_path / "mine", "train", [*labels, *labels])
    columns(tmp_path / "mine", "test", labels[::-1])
    messages = []
    data = read(tmp_path, messages, image_size=10, loading=loading)
    assert (data.classes, data.class_names) == (3, tuple(map(str, labels)))
    assert training(data).labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data._source.test_labels.tolist() == [2, 1, 0]
    assert data.split_record()["classes"] == list(map(str, labels))
    assert messages[-1] == (
        f"dataset hfds/mine: {tmp_path}/mine: train: column 'label' has the labels "
        f"{', '.join(map(str, labels))}; they become the classes 0 to 2"
    )


def test_labels_without_gaps_are_the_classes_and_nothing_is_said_about_them(tmp_path):
    columns(tmp_path / "mine", "train", [2, 0, 1])
    columns(tmp_path / "mine", "test", [1, 1])
    messages = []
    data = read(tmp_path, messages)
    assert (data.classes, data.class_names) == (3, ())
    assert training(data).labels.tolist() == [2, 0, 1]
    assert messages == ["dataset hfds/mine: decoding all images, once"]


def test_a_test_label_that_no_training_image_has_is_refused(tmp_path):
    columns(tmp_path / "mine", "train", [0, 5, 9])
    columns(tmp_path / "mine", "test", [0, 4, 7])
    assert refused(tmp_path) == (
        "dataset: HERE/mine: test: column 'label' contains the labels 4, 7, which no training "
        "image has; set target_key, or a test_split whose labels are public"
    )


@pytest.mark.parametrize("names", [None, ["a", "b", "c"]])
def test_missing_labels_are_told_as_null_with_the_first_image(tmp_path, names):
    columns(tmp_path / "mine", "train", [0, 1, None, 2, None], names)
    columns(tmp_path / "mine", "test", [0, 1], names)
    assert refused(tmp_path) == (
        "dataset: HERE/mine: train: column 'label': 2 labels of 5 are null (None), first that of "
        "image 2; give every image a label, or remove it"
    )


def test_class_names_in_another_order_are_matched_by_name(tmp_path):
    columns(tmp_path / "mine", "train", [0, 1, 2, 2], ["cat", "dog", "emu"])
    columns(tmp_path / "mine", "test", [0, 1, 2, 0], ["emu", "cat", "dog"])
    messages = []
    data = read(tmp_path, messages)
    assert data.class_names == ("cat", "dog", "emu")
    assert training(data).labels.tolist() == [0, 1, 2, 2]
    assert data._source.test_labels.tolist() == [2, 0, 1, 2]
    assert messages[-1] == (
        f"dataset hfds/mine: {tmp_path}/mine: test: column 'label' names its classes in another "
        "order than the training images; labels are matched by name"
    )


def test_a_part_of_a_split_has_the_names_of_its_files(tmp_path):
    columns(tmp_path / "mine", "train", [0, 1, 2, 2], ["cat", "dog", "emu"])
    columns(tmp_path / "mine", "test", [0, 1, 2, 0], ["emu", "cat", "dog"])
    data = read(tmp_path, test_split="test[:50%]")
    assert data._source.test_labels.tolist() == [2, 0]


def test_other_class_names_are_refused_with_those_that_only_one_part_has(tmp_path):
    columns(tmp_path / "mine", "train", [0, 1], ["cat", "dog"])
    columns(tmp_path / "mine", "test", [0, 1], ["cat", "emu"])
    where = "HERE/mine: {}: column 'label'"
    assert refused(tmp_path) == (
        f"dataset: {where.format('train')} and {where.format('test')} have different classes (only "
        f"{where.format('train')} has dog; only {where.format('test')} has emu); set target_key, "
        "or a test_split whose labels are public"
    )


def test_files_of_one_split_with_names_in_another_order_are_refused(tmp_path):
    columns(tmp_path / "mine", "train", [0, 1], ["cat", "dog"], "train-00000-of-00002")
    columns(tmp_path / "mine", "train", [0, 1], ["dog", "cat"], "train-00001-of-00002")
    columns(tmp_path / "mine", "test", [0, 1], ["cat", "dog"])
    assert refused(tmp_path) == (
        "dataset: HERE/mine/train-00000-of-00002.parquet and "
        "HERE/mine/train-00001-of-00002.parquet name the classes of column 'label' differently; "
        "write both with the same names in the same order"
    )


def test_named_classes_without_training_images_remain_classes_and_are_told(tmp_path):
    columns(tmp_path / "mine", "train", [0, 2], ["cat", "dog", "emu"])
    columns(tmp_path / "mine", "test", [0, 1], ["cat", "dog", "emu"])
    messages = []
    assert read(tmp_path, messages).classes == 3
    assert messages[-1].endswith("train: column 'label' has no images of the class dog")


def test_names_that_occur_twice_are_not_matched_by_name():
    names = ["crane", "crane", "owl"]
    train = RawLabels([0, 1, 2], "train", names)
    same = assign_classes(train, RawLabels([1, 2], "test", names))
    assert (same.test.tolist(), same.classes) == ([1, 2], 3)
    with pytest.raises(InputError, match="train and test have different classes; correct it"):
        assign_classes(train, RawLabels([1, 2], "test", names[::-1]))


@pytest.mark.usefixtures("clean")
def test_labels_of_a_plug_in_become_classes_as_well():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    labels = np.array([10.0, 30.0, 20.0, 10.0, 30.0, 20.0])

    @data_source("own_labels")
    def own_labels(half: bool = False) -> Arrays:
        return Arrays(images, labels + half / 2, images[:3], torch.tensor([30, 20, 10]))

    data = Data(make_dataset("own_labels"), Split(val=0), CPU, None, lambda _: None)
    assert training(data).labels.tolist() == [0, 2, 1, 0, 2, 1]
    assert data._source.test_labels.tolist() == [2, 1, 0]
    dataset = make_dataset("own_labels", settings={"half": True})
    with pytest.raises(InputError, match=r"contains the label 10\.5; labels must be integers"):
        Data(dataset, Split(val=0), CPU, None, lambda _: None)


@pytest.mark.usefixtures("clean")
def test_data_sets_of_a_plug_in_are_matched_by_the_names_of_their_classes():
    class Items:
        def __init__(self, targets, classes):
            self.targets, self.classes = targets, classes

        def __len__(self):
            return len(self.targets)

        def __getitem__(self, index):
            return picture(index), self.targets[index]

    @data_source("own_names")
    def own_names() -> tuple[Items, Items]:
        return Items([0, 1, 2], ["x", "y", "z"]), Items([0, 1, 2], ["z", "x", "y"])

    data = Data(make_dataset("own_names"), Split(val=0), CPU, None, lambda _: None)
    assert data._source.test_labels.tolist() == [2, 0, 1]


def test_a_data_set_with_several_configurations_asks_for_one_and_reads_it(tmp_path):
    for config, label in (("coarse", 0), ("fine", 1)):
        for part in ("train", "test"):
            columns(tmp_path / f"mine/{config}", part, [label, 1 - label, label])
    (tmp_path / "mine/README.md").write_text(
        "---\nconfigs:\n"
        + "".join(
            f"- config_name: {name}\n  data_files:\n"
            + "".join(f"  - {{split: {part}, path: {name}/{part}.parquet}}\n" for part in PARTS)
            for name in ("coarse", "fine")
        )
        + "---\n"
    )
    assert refused(tmp_path) == (
        "dataset: hfds/mine has several configurations; set config to one of coarse, fine"
    )
    assert refused(tmp_path, config="fien") == (
        "dataset: hfds/mine has no configuration 'fien'; did you mean 'fine'?"
    )
    assert training(read(tmp_path, config="fine")).labels.tolist() == [1, 0, 1]
    assert training(read(tmp_path, config="coarse")).labels.tolist() == [0, 1, 0]


PARTS = ("train", "test")
