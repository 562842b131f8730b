"""Files that are no data are left out; names of all kinds and damaged images are dealt with."""

from __future__ import annotations

import os
import shutil

import pytest

from benchmark.errors import InputError
from tests.support.datasources import class_folders, opened, picture, training

LOADING = pytest.mark.parametrize("loading", ["resident", "streamed"])


@pytest.fixture
def folder(tmp_path):
    return class_folders(tmp_path / "mine", suffix="jpg", width=64, height=64)


def read(folder, loading="resident", messages=None):
    return opened(
        "folder/mine", folder.parent, messages, split={"val": 0}, image_size=16, loading=loading
    )


def lines_of_refusal(folder, loading):
    with pytest.raises(InputError) as error:
        read(folder, loading)
    return str(error.value).splitlines()


@LOADING
def test_hidden_files_and_those_of_operating_systems_are_no_data(folder, loading):
    before = read(folder, loading)
    entries = sorted(folder.parent.glob("cache/*/card.json"))

    for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".cache/deep"):
        shutil.copytree(folder / "train/b", folder / "train/a" / hidden)
        shutil.copytree(folder / "train/b", folder / "train" / hidden)
    (folder / "train/c/._0.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (folder / "test/c/.hidden.jpg").symlink_to("nowhere")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / "train" / name).write_bytes(b"no image")
        (folder / "test/a" / name).write_bytes(b"no image")

    messages = []
    after = read(folder, loading, messages)
    assert (after.samples, after.classes) == (24, 3)
    assert after.fingerprint == before.fingerprint
    assert messages == []  # what was read before is still valid
    assert sorted(folder.parent.glob("cache/*/card.json")) == entries


@LOADING
def test_names_of_files_and_classes_need_not_be_utf_8(folder, loading):
    plain = read(folder, loading)
    os.rename(os.fsencode(folder / "train/c/7.jpg"), os.fsencode(folder) + b"/train/c/\xff7.jpg")
    renamed = read(folder, loading)
    assert renamed.samples == 24
    assert sum(len(images) for images in training(renamed).batches()) == 24
    assert (renamed.fingerprint == plain.fingerprint) is (loading == "resident")

    for part in ("train", "test"):
        os.rename(os.fsencode(folder / part / "c"), os.fsencode(folder / part) + b"/c\xe9")
    latin = read(folder, loading)
    assert latin.class_names == ("a", "b", "c\\xe9")
    assert training(latin).labels.tolist() == training(plain).labels.tolist()


@LOADING
def test_a_damaged_image_with_an_odd_name_is_told_in_one_printable_line(folder, loading):
    odd = os.fsencode(folder) + b"/train/c/\xff\x1b[31m\n9.jpg"
    with open(odd, "wb") as file:
        file.write(b"no image")
    (line,) = lines_of_refusal(folder, loading)
    assert line.startswith(f"{folder}/train/c/\\xff\\x1b[31m\\n9.jpg: cannot be decoded (")
    assert line.isprintable()


@LOADING
def test_damaged_images_of_all_parts_are_named_at_once_when_the_data_set_is_opened(folder, loading):
    for name in ("train/b/3.jpg", "test/a/1.jpg", "test/c/0.jpg"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-200])
    lines = lines_of_refusal(folder, loading)
    expected = ["train/b/3.jpg", "test/a/1.jpg", "test/c/0.jpg"]
    assert [line.partition(":")[0] for line in lines] == [f"{folder}/{name}" for name in expected]
    assert {"cannot be decoded (image file is truncated" in line for line in lines} == {True}


@LOADING
@pytest.mark.parametrize(
    "names",
    [
        ["train/a/0.jpg", "train/b/3.jpg", "test/c/0.jpg"],
        [f"train/{name}/{number}.jpg" for name in "abc" for number in range(8)][:9],
    ],
)
def test_a_damaged_first_image_hides_no_other_damaged_one(folder, loading, names):
    for name in names:
        (folder / name).write_bytes(b"no image")
    lines = lines_of_refusal(folder, loading)
    assert [line.partition(":")[0] for line in lines] == [f"{folder}/{name}" for name in names]


@LOADING
def test_of_a_data_set_without_any_sound_image_the_first_damaged_ones_are_named(folder, loading):
    for path in folder.glob("t*/*/*.jpg"):
        path.write_bytes(b"no image")
    lines = lines_of_refusal(folder, loading)
    assert lines[0].startswith(f"{folder}/train/a/0.jpg: cannot be decoded (")
    assert len(lines) == 11
    assert lines[-1].startswith("dataset: ")


@LOADING
def test_many_damaged_images_are_counted(folder, loading):
    for path in folder.glob("t*/*/*.jpg"):
        if path.name != "0.jpg":
            path.write_bytes(b"no image")
    lines = lines_of_refusal(folder, loading)
    assert len(lines) == 11
    assert lines[-1] == "dataset: 20 more images cannot be read either"


@LOADING
def test_an_image_that_is_restored_leaves_the_data_set_as_it_was(folder, loading):
    before = read(folder, loading)
    path = folder / "test/b/2.jpg"
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    lines_of_refusal(folder, loading)
    path.write_bytes(content)
    assert read(folder, loading).fingerprint == before.fingerprint


def test_of_a_data_set_with_a_damaged_image_only_that_is_read_again(folder, monkeypatch):
    from benchmark.data.sources import _files

    path = folder / "test/b/2.jpg"
    content = path.read_bytes()
    path.write_bytes(content[:-200])
    lines_of_refusal(folder, "streamed")
    path.write_bytes(content)

    examine, examined = _files.Files.examine, []

    def counted(part, index):
        examined.append(part.where(index))
        return examine(part, index)

    monkeypatch.setattr(_files.Files, "examine", counted)
    read(folder, "streamed")
    assert examined == [str(path)]


def test_a_link_to_a_folder_that_contains_it_is_refused_by_its_name(folder):
    (folder / "train/a/loop").symlink_to(folder / "train")
    assert lines_of_refusal(folder, "resident") == [
        f"{folder}/train/a/loop: is a link to a folder that contains it; remove the link"
    ]


def test_a_link_to_another_folder_is_followed(folder, tmp_path):
    (tmp_path / "more").mkdir()
    picture(999, width=64, height=64).save(tmp_path / "more/x.jpg")
    (folder / "train/a/more").symlink_to(tmp_path / "more")
    assert read(folder).samples == 25
