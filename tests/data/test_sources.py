"""Sources: every kind is read as it is; a bad one is refused in one line that says what to do."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import timm.data.dataset_factory
import torch
from PIL import Image

from benchmark.data import resident, sources
from benchmark.errors import InputError
from benchmark.study.schema import make_dataset
from tests.support.datasources import (
    CIFAR,
    class_folders,
    mnist,
    needs_cifar,
    opened,
    parquet,
    picture,
    training,
)

NEW_KIND = """
from PIL import Image
import torch
from benchmark.data.sources.base import Located, Part, Source, SourceKind

class Blank(Part):
    def __init__(self, count):
        self.labels = torch.arange(count) % 2

    def where(self, index):
        return f"blank image {index}"

    def read(self, index):
        return Image.new("RGB", (8, 8), (index, index, index))

class BlankKind(SourceKind):
    prefix = "blank"
    argument = "<count>"

    def locate(self, dataset, argument):
        return Located(None, lambda _: Source(Blank(int(argument)), Blank(4), classes=2))
"""


@pytest.fixture
def extra_folder(tmp_path, monkeypatch):
    """A folder whose files are sources as well."""
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    sources.kinds.cache_clear()
    yield tmp_path

    for file in tmp_path.glob("*.py"):
        sys.modules.pop(f"{sources.__name__}.{file.stem}", None)
    sources.kinds.cache_clear()


def pixels(*numbers):
    """The images of these numbers, uint8 [n, 3, H, W]."""
    arrays = [np.asarray(picture(number)).transpose(2, 0, 1) for number in numbers]
    return torch.from_numpy(np.stack(arrays))


def opened_folder(tmp_path, **options):
    """Open a folder of class folders, after writing one if it is missing."""
    if not (tmp_path / "mine").exists():
        class_folders(tmp_path / "mine")
    return opened("folder/mine", tmp_path, split={"val": 0}, **options)


def problems(name, folder, **options):
    """The lines with which a data set is refused; `folder` reads HERE in them."""
    with pytest.raises(InputError) as error:
        opened(name, folder, **options)
    return str(error.value).replace(str(folder), "HERE").splitlines()


def refused(name, folder, **options):
    """The only line with which a data set is refused."""
    (line,) = problems(name, folder, **options)
    return line


def test_the_kinds_are_the_files_of_the_folder():
    modules = {prefix: type(kind).__module__ for prefix, kind in sources.kinds().items()}
    names = {path.stem for path in Path(sources.__path__[0]).glob("*.py")}
    files = {name for name in names if name != "base" and not name.startswith("_")}
    assert sorted(modules.values()) == sorted(f"benchmark.data.sources.{name}" for name in files)
    expected = {"digits": "digits", "folder": "folders", "hfds": "huggingface"}
    assert expected.items() <= {key: name.split(".")[-1] for key, name in modules.items()}.items()


def test_a_new_kind_is_one_new_file(extra_folder, tmp_path):
    (extra_folder / "blank.py").write_text(NEW_KIND)
    data = opened("blank/20", tmp_path)
    assert (data.samples, len(data.val), data.classes, data.size) == (16, 4, 2, (3, 8, 8))
    assert training(data).images[1, 0, 0, 0] == data.train_index[1]
    message = refused("blnk/20", tmp_path)
    assert message.startswith("dataset: no data set 'blnk/20'; choose from ")
    assert " blank/<count>, " in message


def test_a_file_without_a_kind_is_an_error_of_its_author(extra_folder):
    (extra_folder / "empty.py").write_text("")
    with pytest.raises(TypeError, match=r"^empty\.py: must define one subclass of SourceKind"):
        sources.kinds()


def test_two_kinds_of_one_prefix_are_an_error_of_their_author(extra_folder):
    (extra_folder / "other.py").write_text(NEW_KIND.replace('"blank"', '"folder"'))
    with pytest.raises(TypeError, match=r"^other\.py: another kind has the prefix 'folder'$"):
        sources.kinds()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digit", "did you mean 'digits'?"),
        ("digits/", "did you mean 'digits'?"),
        ("digits/mine", "did you mean 'digits'?"),
        ("cifar100", "did you mean 'torch/cifar100'?"),
        ("torch/cifar1000", "did you mean 'torch/cifar100'?"),
        ("torch/mine", "did you mean 'torch/mnist'?"),
        ("zzz", "choose from digits, folder/<path>, hfds/<name>, torch/cifar10, "),
        ("folder/", "did you mean 'folder/<path>'?"),
        ("hfds", "choose from digits, folder/<path>, hfds/<name>, "),
    ],
)
def test_a_name_that_no_source_could_have_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(ValueError, match=re.escape(f"no data set {name!r}; {hint}")):
        make_dataset(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tourch/cifar10", "did you mean 'torch/cifar10'?"),
        ("zzz/mine", "choose from "),
    ],
)
def test_an_unknown_kind_of_source_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(InputError) as error:
        sources.locate(make_dataset(name))
    assert str(error.value).startswith(f"dataset: no data set {name!r}; {hint}")


def test_a_folder_of_class_folders_is_read_in_the_order_of_its_names(tmp_path):
    class_folders(tmp_path / "mine")
    (tmp_path / "mine/train/.hidden").mkdir()

    data = opened_folder(tmp_path)

    assert (data.classes, data.samples, data.size) == (3, 24, (3, 10, 12))
    assert torch.equal(training(data).images, pixels(*range(24)))
    assert training(data).labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8


@pytest.mark.parametrize("test", ["test", "validation", "val"])
def test_the_test_images_are_those_of_the_first_split_that_exists(tmp_path, test):
    class_folders(tmp_path / "mine", counts=(("train", 2), (test, 3), ("val2", 1)))
    assert len(opened_folder(tmp_path)._source.test()) == 9
    assert len(opened_folder(tmp_path, test_split="val2")._source.test()) == 3


def test_a_folder_may_be_named_by_its_own_path(tmp_path):
    folder = class_folders(tmp_path / "mine")
    assert opened(f"folder/{folder}", tmp_path / "elsewhere").samples == 20


def test_grey_images_and_those_with_transparency_become_rgb(tmp_path):
    folder = class_folders(tmp_path / "mine")
    picture(0).convert("L").save(folder / "train/a/0.png")
    picture(1).convert("RGBA").save(folder / "train/a/1.png")

    images = training(opened_folder(tmp_path)).images

    assert (images[0][0] == images[0][1]).all()
    assert torch.equal(images[1], pixels(1)[0])


def test_an_image_size_resizes_the_shorter_side_and_keeps_the_middle(tmp_path):
    folder = class_folders(tmp_path / "mine", width=40, height=20)
    picture(0, width=20, height=50).save(folder / "train/a/0.png")

    images = training(opened_folder(tmp_path, image_size=10)).images

    for index, size, box in ((0, (10, 25), (0, 8, 10, 18)), (1, (20, 10), (5, 0, 15, 10))):
        with Image.open(folder / f"train/a/{index}.png") as image:
            expected = np.asarray(image.resize(size, Image.Resampling.BICUBIC).crop(box))
        assert torch.equal(images[index], torch.from_numpy(expected.transpose(2, 0, 1).copy()))


def test_a_hugging_face_folder_is_read_with_its_classes(tmp_path):
    parquet(tmp_path / "mine")
    data = opened("hfds/mine", tmp_path, split={"val": 0})
    assert (data.classes, data.samples, len(data._source.test())) == (3, 12, 6)
    assert torch.equal(training(data).images, pixels(*range(12)))
    assert training(data).labels.tolist() == [0, 1, 2] * 4
    assert not list(tmp_path.glob("cache/*/tmp*"))


def test_columns_of_other_names_and_plain_numbers_as_labels_are_accepted(tmp_path):
    parquet(tmp_path / "mine", image="img", label="fine", labels="int64")
    data = opened("hfds/mine", tmp_path, input_key="img", target_key="fine")
    assert (data.classes, data.samples) == (3, 8)


def test_a_data_set_of_torchvision_is_read_from_its_files(tmp_path):
    mnist(tmp_path)
    data = opened("torch/mnist", tmp_path, split={"val": 0})
    assert (data.classes, data.samples, data.size) == (10, 30, (3, 28, 28))
    assert len(data._source.test()) == 10
    assert training(data).labels.tolist() == list(range(10)) * 3


def test_a_missing_folder_is_refused(tmp_path):
    assert refused("folder/mine", tmp_path) == (
        "dataset: there is neither a folder HERE/mine nor a folder mine; "
        "check dataset.name and dataset.root"
    )


def test_a_folder_without_test_images_is_refused(tmp_path):
    class_folders(tmp_path / "mine", counts=(("train", 2),))
    assert refused("folder/mine", tmp_path) == (
        "dataset: HERE/mine has no folder test or validation or val; "
        "add one that contains a folder per class"
    )


@pytest.mark.parametrize("loading", ["resident", "streamed"])
def test_a_folder_without_classes_or_images_is_refused(tmp_path, loading):
    options = {"loading": loading, "image_size": 16}
    (tmp_path / "mine/train").mkdir(parents=True)
    (tmp_path / "mine/test/a").mkdir(parents=True)
    assert problems("folder/mine", tmp_path, **options) == [
        "dataset: HERE/mine/train has no folders; add one for each class",
        "dataset: HERE/mine/test: no images in the class folder a; add some or remove the class",
    ]

    (tmp_path / "mine/train/a").mkdir()
    (tmp_path / "mine/train/a/notes.txt").write_text("none")
    assert problems("folder/mine", tmp_path, **options) == [
        f"dataset: HERE/mine/{part}: no images in the class folder a; add some or remove the class"
        for part in ("train", "test")
    ]


def test_parts_with_different_classes_are_refused(tmp_path):
    class_folders(tmp_path / "mine", classes="ab")
    (tmp_path / "mine/test/b").rename(tmp_path / "mine/test/c")
    assert problems("folder/mine", tmp_path) == [
        "dataset: HERE/mine/test lacks the class folder b of HERE/mine/train; add or remove it",
        "dataset: HERE/mine/train lacks the class folder c of HERE/mine/test; add or remove it",
    ]


def test_many_missing_classes_are_named_at_once_and_cut_short(tmp_path):
    class_folders(tmp_path / "mine", counts=(("train", 1), ("test", 1)), classes="abcdefghijklmn")
    for name in "bcdefghijklm":
        (tmp_path / f"mine/test/{name}/0.png").unlink()
        (tmp_path / f"mine/test/{name}").rmdir()
    (tmp_path / "mine/train/a/0.png").unlink()
    (tmp_path / "mine/train/n/0.png").unlink()

    assert problems("folder/mine", tmp_path) == [
        "dataset: HERE/mine/train: no images in the class folders a, n; add some or remove the "
        "classes",
        "dataset: HERE/mine/test lacks the class folders b, c, d, e, f, g, h, i, j, k and 2 more "
        "of HERE/mine/train; add or remove them",
    ]


def test_both_parts_of_a_folder_are_missed_at_once(tmp_path):
    (tmp_path / "mine").mkdir()
    assert [line.split("; ")[0] for line in problems("folder/mine", tmp_path)] == [
        "dataset: HERE/mine has no folder train",
        "dataset: HERE/mine has no folder test or validation or val",
    ]


def test_an_absolute_path_follows_the_kind_of_source(tmp_path):
    parquet(tmp_path / "table")
    class_folders(tmp_path / "mine")
    elsewhere = tmp_path / "elsewhere"
    assert opened(f"hfds/{tmp_path}/table", elsewhere, split={"val": 0}).samples == 12
    assert opened(f"folder/{tmp_path}/mine", elsewhere, split={"val": 0}).samples == 24


def test_a_truncated_image_is_refused_by_its_name(tmp_path):
    folder = class_folders(tmp_path / "mine", suffix="jpg", width=64, height=64)
    bad = folder / "train/b/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-200])
    message = refused("folder/mine", tmp_path)
    assert message.startswith("HERE/mine/train/b/3.jpg: cannot be decoded (image file is truncated")
    assert message.endswith("; replace it")

    bad.write_bytes(b"")
    message = refused("folder/mine", tmp_path)
    assert message.startswith("HERE/mine/train/b/3.jpg: cannot be decoded (cannot identify")
    assert all(path.suffix == ".lock" for path in (tmp_path / "cache").iterdir())


def test_a_broken_link_is_refused_by_its_name(tmp_path):
    folder = class_folders(tmp_path / "mine")
    (folder / "train/b/9.png").symlink_to("nowhere")
    message = refused("folder/mine", tmp_path)
    assert message == "HERE/mine/train/b/9.png: cannot be read (No such file or directory)"


def test_images_of_different_sizes_are_refused_with_one_of_each_and_the_remedy(tmp_path):
    folder = class_folders(tmp_path / "mine")
    picture(0, width=20).save(folder / "test/c/1.png")
    assert refused("folder/mine", tmp_path) == (
        "dataset: the images differ in size: HERE/mine/train/a/0.png is 12x10, "
        "HERE/mine/test/c/1.png is 20x10 (width x height); set image_size"
    )


def test_more_pixels_than_memory_should_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "LIMIT", 3 * 120 * 36 - 1)
    class_folders(tmp_path / "mine")
    assert refused("folder/mine", tmp_path) == (
        "dataset: folder/mine has 0 GiB of pixels; at most 0 GiB are kept in memory; "
        "set loading: streamed"
    )


def test_one_split_for_both_training_and_testing_is_refused(tmp_path):
    message = refused("folder/mine", tmp_path, train_split="train", test_split="train")
    assert (
        message
        == "dataset: train_split and test_split are both 'train'; set them to different splits"
    )


def test_unknown_columns_are_refused_with_a_list_of_the_known_ones(tmp_path):
    parquet(tmp_path / "mine", image="img", label="fine")
    no_image = "dataset: hfds/mine has no column 'image'; set input_key to one of img"
    no_label = "dataset: hfds/mine has no column 'label'; set target_key to one of fine"
    assert problems("hfds/mine", tmp_path) == [no_image, no_label]
    assert refused("hfds/mine", tmp_path, input_key="img") == no_label

    assert problems("hfds/mine", tmp_path, input_key="fine", target_key="img") == [
        "dataset: hfds/mine: column 'fine' contains no images but classes; set input_key to one of "
        "img",
        "dataset: hfds/mine: column 'img' contains images; labels must be integers counted from 0; "
        "set target_key to one of fine",
    ]


def test_columns_are_checked_before_any_image_is_decoded(tmp_path):
    parquet(tmp_path / "mine", image="img", label="fine")
    messages = []
    with pytest.raises(InputError):
        opened("hfds/mine", tmp_path, messages)
    assert messages == []
    opened("hfds/mine", tmp_path, messages, input_key="img", target_key="fine")
    assert messages == ["dataset hfds/mine: decoding all images, once"]


def test_labels_that_are_no_classes_are_refused(tmp_path):
    parquet(tmp_path / "mine", labels="string")
    message = refused("hfds/mine", tmp_path)
    assert message == (
        "dataset: hfds/mine: column 'label' contains values of type string; labels must be "
        "integers counted from 0; set target_key"
    )


def test_wrong_labels_of_both_parts_are_told_at_once(tmp_path):
    import datasets

    folder = parquet(tmp_path / "mine", labels="int64")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    for part, labels in (("train", [0, 1, -1]), ("test", [0, 7, 1])):
        rows = {"image": [picture(number) for number in range(3)], "label": labels}
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(folder / f"{part}.parquet")

    lines = problems("hfds/mine", tmp_path)
    assert [line.split("; ")[0] for line in lines] == [
        "dataset: HERE/mine: train: column 'label' contains the label -1",
        "dataset: HERE/mine: test: column 'label' contains the label 7, which no training image "
        "has",
    ]


def test_unknown_splits_of_a_hugging_face_data_set_are_refused_with_a_list_of_the_known_ones(
    tmp_path,
):
    parquet(tmp_path / "mine", counts=(("train", 4), ("validation", 3)))
    message = refused("hfds/mine", tmp_path, test_split="tset")
    assert message.startswith("dataset: hfds/mine: Unknown split")
    assert "['train', 'validation']" in message
    assert message.endswith("; set test_split")
    both = problems("hfds/mine", tmp_path, train_split="trian", test_split="tset")
    assert [line.rpartition("; ")[2] for line in both] == ["set train_split", "set test_split"]
    assert len(opened("hfds/mine", tmp_path, split={"val": 1})._source.test()) == 3


def test_a_hugging_face_data_set_without_a_test_split_is_refused(tmp_path):
    parquet(tmp_path / "mine", counts=(("train", 4),))
    message = refused("hfds/mine", tmp_path)
    assert message.endswith("Should be one of ['train'].; set test_split")


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "none"])
def test_damaged_columns_are_refused_by_the_name_of_their_folder(tmp_path, damage, capfd):
    folder = parquet(tmp_path / "mine")
    file = folder / "train.parquet"
    if damage == "none":
        file.unlink()
        (folder / "test.parquet").unlink()
    else:
        content = file.read_bytes()
        damaged = {"truncated": content[:-50], "garbage": b"x" * 500, "empty": b""}
        file.write_bytes(damaged[damage])

    message = refused("hfds/mine", tmp_path)
    assert message.startswith("dataset: HERE/mine cannot be read (")
    assert message.endswith("; restore or replace it")
    assert capfd.readouterr() == ("", "")


def test_a_damaged_image_in_a_column_is_refused_by_its_index(tmp_path):
    import datasets

    folder = parquet(tmp_path / "mine")
    rows = {"image": [{"bytes": b"no image", "path": None}] * 3, "label": [0, 1, 2]}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y", "z"])}
    )
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "test.parquet")

    lines = problems("hfds/mine", tmp_path)
    assert [line.partition(" (")[0] for line in lines] == [
        f"HERE/mine: test: image {index}: cannot be decoded" for index in range(3)
    ]


def test_without_the_package_datasets_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    parquet(tmp_path / "mine")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "datasets" else find_spec(name)
    )
    message = refused("hfds/mine", tmp_path)
    assert message == ("dataset: hfds/mine needs the package datasets; run `pip install datasets`")


def failing(error):
    """A replacement for timm's factory that always raises."""

    def create(*_: object, **__: object):
        raise error

    return create


def test_without_a_network_a_name_that_is_no_folder_is_refused(tmp_path, monkeypatch):
    error = ConnectionError("Couldn't reach 'some/where' on the Hub\nand more")
    monkeypatch.setattr("datasets.load_dataset", failing(error))
    assert refused("hfds/some/where", tmp_path) == (
        "dataset: hfds/some/where: neither HERE/some/where nor some/where is a folder, and the "
        "Hugging Face hub does not provide it (Couldn't reach 'some/where' on the Hub)"
    )

    error = URLError("no network")
    monkeypatch.setattr(timm.data.dataset_factory, "create_dataset", failing(error))
    message = refused("torch/cifar10", tmp_path)
    assert message.startswith(
        "dataset: torch/cifar10 is missing or damaged in HERE and cannot be downloaded (<urlopen"
    )
    assert message.endswith("; put it there or set dataset.root")


@pytest.mark.parametrize("options", [{"test_split": "tset"}, {"train_split": "test"}])
def test_a_data_set_of_torchvision_has_no_other_splits(tmp_path, options):
    assert refused("torch/mnist", tmp_path, **options) == (
        "dataset: torch/mnist has only the parts train and test; "
        "leave out train_split and test_split"
    )


@needs_cifar
@pytest.mark.slow
def test_cifar_100_has_the_pixels_and_the_duplicates_that_are_known_of_it(tmp_path):
    name = f"hfds/{CIFAR.resolve()}"
    data = opened(name, tmp_path, split={"val": 0}, input_key="img", target_key="fine_label")

    parts = (training(data), data._source.test())
    pixels = [part.images.contiguous().numpy() for part in parts]
    assert [hashlib.sha256(images.data).hexdigest() for images in pixels] == [
        "5d081ad8501746f93037b068181bf20f624b722d23c59983e0f90dced623fbef",
        "19201eabd7f5a7b3fce5732d1ae2aa80690532b2d7befcad330352b575898d91",
    ]
    assert (data.classes, data.duplicates["train/test"]) == (100, 10)
    assert Path(CIFAR).name == "cifar100"
    assert [round(value, 5) for value in data.mean] == [0.50708, 0.48655, 0.44092]
    assert [round(value, 5) for value in data.std] == [0.26733, 0.25644, 0.27615]
