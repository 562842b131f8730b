"""The cache: made once, whole or not at all, checked each time, and made again where it is damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from filelock import FileLock

from benchmark.errors import InputError
from tests.support.datasources import class_folders, opened, parquet, picture, training

DECODING = "dataset folder/mine: decoding all images, once"


@pytest.fixture
def folder(tmp_path):
    class_folders(tmp_path / "mine")
    return tmp_path


def mine(folder, said):
    return opened("folder/mine", folder, said)


def entry(folder):
    (found,) = [path for path in (folder / "cache").iterdir() if path.is_dir()]
    return found


def test_images_are_decoded_once_and_are_the_same_when_they_come_from_the_cache(folder):
    said = []
    first, again = mine(folder, said), mine(folder, said)
    assert said == [DECODING]
    assert again.fingerprint == first.fingerprint
    assert (again.mean, again.std, again.size) == (first.mean, first.std, first.size)
    for one, other in (
        (training(first), training(again)),
        (first._source.test(), again._source.test()),
    ):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
    assert sorted(path.name for path in entry(folder).iterdir()) == [
        "card.json",
        "test.images",
        "test.labels",
        "train.images",
        "train.labels",
    ]


def test_writing_into_cached_images_leaves_the_files_as_they_are(folder):
    said = []
    training(mine(folder, said))
    mine(folder, said)._source._train.images.zero_()
    assert training(mine(folder, said)).images.any()
    assert said == [DECODING]


DAMAGES = {
    "a flipped bit of a pixel": (
        "train.images",
        lambda content: content[:77] + bytes([content[77] ^ 1]) + content[78:],
    ),
    "a flipped bit of a test pixel": (
        "test.images",
        lambda content: content[:-1] + bytes([content[-1] ^ 128]),
    ),
    "a flipped bit of a label": (
        "train.labels",
        lambda content: content[:8] + bytes([content[8] ^ 1]) + content[9:],
    ),
    "a truncated file": ("test.labels", lambda content: content[:-1]),
    "an empty file": ("train.images", lambda content: b""),
    "a longer file": ("train.images", lambda content: content + b"0"),
    "a missing file": ("test.images", None),
    "a torn card": ("card.json", lambda content: content[: len(content) // 2]),
    "an empty card": ("card.json", lambda content: b""),
    "another card": ("card.json", lambda content: b"[1, 2]"),
    "a changed mean": (
        "card.json",
        lambda content: content.replace(b'"mean": [\n   0.', b'"mean": [\n   1.'),
    ),
    "a changed number of classes": (
        "card.json",
        lambda content: content.replace(b'"classes": 3', b'"classes": 2'),
    ),
    "a card that is no text": ("card.json", lambda content: b"\xff" + content),
    "a missing card": ("card.json", None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_said_in_one_line_and_repaired(folder, damage):
    said = []
    whole = mine(folder, said)
    expected = training(whole).images.clone(), whole._source.test().images.clone()
    name, change = DAMAGES[damage]
    file = entry(folder) / name
    if change is None:
        file.unlink()
    else:
        before = file.read_bytes()
        file.write_bytes(change(before))
        assert file.read_bytes() != before
    said.clear()
    repaired = mine(folder, said)
    assert len(said) == 2
    assert said[0].startswith(f"{entry(folder)}: damaged (")
    assert said[0].endswith("); the data set is read again")
    assert "\n" not in said[0]
    assert said[1] == DECODING
    assert (repaired.fingerprint, repaired.mean, repaired.classes) == (
        whole.fingerprint,
        whole.mean,
        3,
    )
    assert torch.equal(training(repaired).images, expected[0])
    assert torch.equal(repaired._source.test().images, expected[1])
    mine(folder, said)
    assert len(said) == 2


def test_a_changed_added_or_removed_file_is_read_again(folder):
    said = []
    found = [mine(folder, said).fingerprint]
    file = folder / "mine/train/a/0.png"
    picture(99).save(file)
    found.append(mine(folder, said).fingerprint)
    (folder / "mine/train/a/9.png").write_bytes(file.read_bytes())
    found.append(mine(folder, said).fingerprint)
    (folder / "mine/train/a/9.png").unlink()
    assert mine(folder, said).fingerprint == found[1]
    assert len(set(found)) == 3
    assert said == [DECODING] * 3


def test_other_options_have_an_entry_of_their_own_and_where_it_lies_is_no_part_of_the_images(
    folder,
):
    said = []
    first = mine(folder, said)
    assert opened("folder/mine", folder, said, image_size=8).size == (3, 8, 8)
    assert opened(f"folder/{folder / 'mine'}", folder, said).fingerprint == first.fingerprint
    assert opened("folder/mine", folder, said, workers=0).fingerprint == first.fingerprint
    assert len(said) == 3


def test_an_image_twice_in_a_part_or_in_two_is_counted(folder):
    file = (folder / "mine/train/a/0.png").read_bytes()
    for other in ("mine/train/b/1.png", "mine/test/a/0.png", "mine/test/c/3.png"):
        (folder / other).write_bytes(file)
    data = opened("folder/mine", folder, split={"val": 0})
    assert data.duplicates == {"train/val": 0, "train/test": 2, "val/test": 0}
    again = opened("folder/mine", folder, split={"val": 0})
    assert again.split_record()["duplicates"] == data.duplicates


SCRIPT = """
import sys
from pathlib import Path
import torch
from benchmark.data import Data
from benchmark.study.schema import Split, make_dataset
root = Path(sys.argv[1])
say = lambda text: print(text, flush=True)
data = Data(make_dataset("folder/mine", root=str(root)), Split(val=4), torch.device("cpu"), root / "cache", say)
print(data.fingerprint)
"""


def started(folder, **environment):
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("place", ["data.write:1", "data.write:3", "data.built"])
def test_a_process_killed_while_it_decodes_leaves_nothing_that_counts(folder, place):
    killed = started(folder, KDBENCH_FAILPOINT=place)
    assert (killed.wait(60), killed.stdout.read(), killed.stderr.read()) == (
        -signal.SIGKILL,
        f"{DECODING}\n",
        "",
    )
    killed.stdout.close()
    killed.stderr.close()
    assert entry(folder).suffix == ".part"
    said = []
    data = mine(folder, said)
    assert said == [DECODING]
    assert data.samples == 20
    assert entry(folder).suffix == ""


def test_of_several_processes_at_once_one_decodes_and_the_others_wait(folder):
    mine(folder, [])
    name = entry(folder)
    for file in name.iterdir():
        file.unlink()
    name.rmdir()
    with FileLock(name.with_suffix(".lock")):
        both = [started(folder) for _ in range(2)]
        for process in both:
            assert (
                process.stdout.readline()
                == f"{name}: another process reads this data set; waiting for it\n"
            )
    outputs = [process.communicate(timeout=60) for process in both]
    assert [
        (process.returncode, error) for process, (_, error) in zip(both, outputs, strict=True)
    ] == [(0, "")] * 2
    lines = [line for output, _ in outputs for line in output.splitlines()]
    assert lines.count(DECODING) == 1
    assert len(set(lines)) == 2
    assert len(lines) == 3


def test_a_cache_that_cannot_be_written_is_refused_in_one_line(folder):
    (folder / "cache").write_text("a file")
    with pytest.raises(InputError) as error:
        mine(folder, [])
    assert str(error.value).endswith(": the data set cannot be kept here (File exists)")
    assert "\n" not in str(error.value)


def test_a_hugging_face_data_set_in_the_cache_needs_no_package(tmp_path, monkeypatch):
    parquet(tmp_path / "mine")
    first = opened("hfds/mine", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("timm.data.dataset_factory.create_dataset", None)
    assert opened("hfds/mine", tmp_path).fingerprint == first.fingerprint


def test_the_card_is_readable_and_tells_the_facts(folder):
    started_at = time.time()
    data = mine(folder, [])
    card = json.loads((entry(folder) / "card.json").read_text())
    assert card["facts"]["fingerprint"] == data.fingerprint
    assert (card["facts"]["train"], card["facts"]["test"], card["facts"]["twins"]) == (24, 12, [])
    assert (entry(folder) / "card.json").stat().st_mtime >= started_at - 1
