"""The cache: built once, completely or not at all, checked each time, rebuilt if damaged."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from benchmark.data import cache, resident
from benchmark.errors import InputError
from tests.support.datasources import CPU, class_folders, opened, parquet, picture, training

pytestmark = pytest.mark.subprocess

DECODING = "dataset folder/mine: decoding all images, once"


@pytest.fixture
def folder(tmp_path):
    class_folders(tmp_path / "mine")
    return tmp_path


def mine(folder, messages):
    return opened("folder/mine", folder, messages)


def entry(folder):
    """The only folder in the cache."""
    (only,) = [path for path in (folder / "cache").iterdir() if path.is_dir()]
    return only


def test_images_are_decoded_once_and_are_the_same_when_they_come_from_the_cache(folder):
    messages = []
    first = mine(folder, messages)
    again = mine(folder, messages)

    assert messages == [DECODING]
    assert again.fingerprint == first.fingerprint
    assert (again.mean, again.std, again.size) == (first.mean, first.std, first.size)

    for decoded, cached in (
        (training(first), training(again)),
        (first._source.test(), again._source.test()),
    ):
        assert torch.equal(decoded.images, cached.images)
        assert torch.equal(decoded.labels, cached.labels)

    assert sorted(path.name for path in entry(folder).iterdir()) == [
        "card.json",
        "test.images",
        "test.labels",
        "train.images",
        "train.labels",
    ]


def test_writing_to_cached_images_leaves_the_files_unchanged(folder):
    messages = []
    training(mine(folder, messages))
    mine(folder, messages)._source._train.images.zero_()
    assert training(mine(folder, messages)).images.any()
    assert messages == [DECODING]


def test_images_are_read_from_their_file_in_the_order_of_networks_without_a_copy(folder):
    source = mine(folder, [])._source
    for part in (source._train, source.test()):
        assert part.images.is_contiguous(memory_format=torch.channels_last)
        assert part.to(CPU).images.data_ptr() == part.images.data_ptr()

    pixels = source._train.images.permute(0, 2, 3, 1).contiguous().numpy()
    assert (entry(folder) / "train.images").read_bytes() == pixels.tobytes()


def test_the_fingerprint_is_that_of_the_images_channel_by_channel(folder):
    data = mine(folder, [])
    expected = hashlib.sha256()
    for part in (data._source._train, data._source.test()):
        for tensor in (part.images, part.labels):
            expected.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
            expected.update(tensor.contiguous().numpy().data)
    assert data.fingerprint == expected.hexdigest()


def test_an_entry_of_an_earlier_version_is_told_and_made_again(folder):
    messages = []
    fingerprint = mine(folder, messages).fingerprint
    facts = cache.read_card(entry(folder))
    cache.write_card(entry(folder), replace(facts, files={}))

    messages.clear()
    assert mine(folder, messages).fingerprint == fingerprint
    assert messages == [
        f"{entry(folder)}: from an earlier version, which stored pixels in another order; "
        "reading the data set again",
        DECODING,
    ]


def test_an_entry_of_an_earlier_version_stays_if_the_images_are_gone(folder, monkeypatch):
    messages = []
    mine(folder, messages)
    facts = cache.read_card(entry(folder))
    cache.write_card(entry(folder), replace(facts, files={}))
    before = {path.name: path.read_bytes() for path in entry(folder).iterdir()}

    def gone(*_):
        raise InputError("no such image")

    monkeypatch.setattr(resident, "_decode", gone)
    with pytest.raises(InputError, match="no such image"):
        mine(folder, messages)
    assert {path.name: path.read_bytes() for path in entry(folder).iterdir()} == before


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
"""Name of a file, and what the damage makes of its content; None removes it."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_detected_reported_in_one_line_and_repaired(folder, damage):
    messages = []
    intact = mine(folder, messages)
    train_images = training(intact).images.clone()
    test_images = intact._source.test().images.clone()

    name, change = DAMAGES[damage]
    file = entry(folder) / name
    if change is None:
        file.unlink()
    else:
        before = file.read_bytes()
        file.write_bytes(change(before))
        assert file.read_bytes() != before

    messages.clear()
    repaired = mine(folder, messages)
    report, decoding = messages
    assert report.startswith(f"{entry(folder)}: damaged (")
    assert report.endswith("); reading the data set again")
    assert "\n" not in report
    assert decoding == DECODING

    assert repaired.fingerprint == intact.fingerprint
    assert repaired.mean == intact.mean
    assert repaired.classes == 3
    assert torch.equal(training(repaired).images, train_images)
    assert torch.equal(repaired._source.test().images, test_images)

    mine(folder, messages)
    assert len(messages) == 2


def test_the_data_set_is_read_again_after_a_file_has_changed_come_or_gone(folder):
    messages = []
    fingerprints = [mine(folder, messages).fingerprint]

    file = folder / "mine/train/a/0.png"
    picture(99).save(file)
    fingerprints.append(mine(folder, messages).fingerprint)

    added = folder / "mine/train/a/9.png"
    added.write_bytes(file.read_bytes())
    fingerprints.append(mine(folder, messages).fingerprint)

    added.unlink()
    assert mine(folder, messages).fingerprint == fingerprints[1]
    assert len(set(fingerprints)) == 3
    assert messages == [DECODING] * 3


def test_other_options_have_their_own_entry_and_the_location_is_no_part_of_the_images(folder):
    messages = []
    first = mine(folder, messages)
    assert opened("folder/mine", folder, messages, image_size=8).size == (3, 8, 8)

    by_path = opened(f"folder/{folder / 'mine'}", folder, messages)
    assert by_path.fingerprint == first.fingerprint
    assert opened("folder/mine", folder, messages, workers=0).fingerprint == first.fingerprint
    assert len(messages) == 3


def test_an_image_that_occurs_twice_in_a_part_or_across_parts_is_counted(folder):
    content = (folder / "mine/train/a/0.png").read_bytes()
    for copy in ("mine/train/b/1.png", "mine/test/a/0.png", "mine/test/c/3.png"):
        (folder / copy).write_bytes(content)

    data = opened("folder/mine", folder, split={"val": 0})
    assert data.duplicates == {"train/val": 0, "train/test": 2, "val/test": 0}

    again = opened("folder/mine", folder, split={"val": 0})
    assert again.split_record()["duplicates"] == data.duplicates


SCRIPT = """
import sys
from pathlib import Path
import torch
from benchmark.data import Data
from benchmark.study.schema import make_dataset, Split

def say(text):
    print(text, flush=True)

root = Path(sys.argv[1])
dataset = make_dataset("folder/mine", root=str(root))
data = Data(dataset, Split(val=4), torch.device("cpu"), root / "cache", say)
print(data.fingerprint)
"""


def start_process(folder, **environment):
    """Start a process that opens the data set and prints its fingerprint."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("failpoint", ["data.write:1", "data.write:3", "data.built"])
def test_a_process_killed_while_it_decodes_leaves_no_entry(folder, failpoint):
    process = start_process(folder, KDBENCH_FAILPOINT=failpoint)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (output, errors) == (f"{DECODING}\n", "")
    assert entry(folder).suffix == ".part"

    messages = []
    data = mine(folder, messages)
    assert messages == [DECODING]
    assert data.samples == 20
    assert entry(folder).suffix == ""


def test_of_several_processes_at_once_one_decodes_and_the_others_wait(folder):
    mine(folder, [])
    removed = entry(folder)
    for file in removed.iterdir():
        file.unlink()
    removed.rmdir()

    with FileLock(removed.with_suffix(".lock")):
        processes = [start_process(folder) for _ in range(2)]
        for process in processes:
            message = f"{removed}: another process is reading this data set; waiting for it\n"
            assert process.stdout.readline() == message

    lines = []
    for process in processes:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        lines += output.splitlines()

    assert lines.count(DECODING) == 1
    assert len(set(lines)) == 2
    assert len(lines) == 3


def test_a_cache_that_cannot_be_written_is_refused_in_one_line(folder):
    (folder / "cache").write_text("a file")
    with pytest.raises(InputError) as error:
        mine(folder, [])
    assert str(error.value).endswith(
        ": the data set cannot be cached here (File exists); remove it, or choose another path"
    )
    assert "\n" not in str(error.value)


def test_a_hugging_face_data_set_in_the_cache_needs_no_package(tmp_path, monkeypatch):
    parquet(tmp_path / "mine")
    first = opened("hfds/mine", tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("timm.data.dataset_factory.create_dataset", None)
    assert opened("hfds/mine", tmp_path).fingerprint == first.fingerprint


def test_the_card_is_readable_and_holds_the_facts(folder):
    started_at = time.time()
    data = mine(folder, [])
    card = entry(folder) / "card.json"
    facts = json.loads(card.read_text())["facts"]
    assert facts["fingerprint"] == data.fingerprint
    assert (facts["train"], facts["test"], facts["twins"]) == (24, 12, [])
    assert card.stat().st_mtime >= started_at - 1
