"""Streamed images: the same bits with any number of workers, which end with their loader and say nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import Data, streamed
from benchmark.errors import InputError, SealedError
from benchmark.execution.run import Summary
from benchmark.records.seal import Finished
from benchmark.study.schema import Augmentation, RandAugment, Split, make_dataset
from benchmark.training.progress import Progress
from tests.support.datasources import CPU, class_folders, epoch, mnist, opened, parquet, recipe
from tests.support.records import append
from tests.support.studies import STUDENT, TEACHER, bits, folders, run, tiny

EVERYTHING = Augmentation(resized_crop=0.3, flip=True, randaugment=RandAugment(), cutout=20)
READING = "dataset folder/mine: reading all files, once"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 8 and 4 images of 80x60."""
    made = tmp_path_factory.mktemp("streamed")
    class_folders(made / "mine", suffix="jpg", width=80, height=60)
    return made


def mine(folder, workers=0, said=None, **options):
    options = {"image_size": 56, "loading": "streamed", "workers": workers, **options}
    return opened("folder/mine", folder, said, split={"val": 6}, **options)


def seed_globals():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def globals_drawn():
    """What the process's own streams would give next."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True), EVERYTHING])
def test_an_epoch_has_the_same_bits_with_any_number_of_workers_and_draws_from_no_global_stream(
    folder, augmentation
):
    found = []
    for workers in (0, 2, 1):
        seed_globals()
        found.append(epoch(mine(folder, workers), 3, 2, 4, augmentation, mixup=0.2, cutmix=1.0))
        drawn = globals_drawn()
        seed_globals()
        assert drawn == globals_drawn()
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
    images, labels, places = found[0]
    assert images.shape == (16, 3, 56, 56)
    assert images.dtype == torch.float32
    assert ((images >= 0) & (images <= 1)).all()
    assert len(labels) == len(set(places.tolist())) == 16


def test_another_epoch_or_seed_augments_otherwise_and_the_same_image_has_one_augmentation_an_epoch(
    folder,
):
    data = mine(folder)
    by_place = {}
    for seed, number, size in ((0, 0, 4), (0, 1, 4), (1, 0, 4), (0, 0, 3)):
        images, _, places = epoch(
            data, seed, number, size, EVERYTHING.model_copy(update={"cutout": None})
        )
        by_place[seed, number, size] = dict(zip(places.tolist(), images, strict=True))
    first = by_place[0, 0, 4]
    for other in ((0, 1, 4), (1, 0, 4)):
        shared = first.keys() & by_place[other].keys()
        assert shared
        assert not any(torch.equal(first[place], by_place[other][place]) for place in shared)
    shared = first.keys() & by_place[0, 0, 3].keys()
    assert all(torch.equal(first[place], by_place[0, 0, 3][place]) for place in shared)


def test_images_carry_their_labels_and_come_whole(folder):
    data = mine(folder, workers=2)
    assert (data.samples, len(data.val), data.classes, data.size) == (18, 6, 3, (3, 56, 56))
    paths = [folder / f"mine/train/{name}/{index}.jpg" for name in "abc" for index in range(8)]
    images, labels, places = epoch(data, batch_size=1)
    expected = {}
    for place, source in enumerate(data.train_index.tolist()):
        with Image.open(
            paths[source]
        ) as image:  # 56 / 0.875 = 64 is the shorter side, of which the middle is kept
            resized = image.resize((85, 64), Image.Resampling.BICUBIC).crop((14, 4, 70, 60))
        expected[place] = (
            torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy()).float() / 255
        )
    assert all(
        torch.equal(image, expected[place])
        for image, place in zip(images, places.tolist(), strict=True)
    )
    assert labels.tolist() == [int(data.train_index[place]) // 8 for place in places.tolist()]
    parts = list(data.val.batches(4))
    assert [len(part) for part in parts] == [4, 2]
    again = torch.cat(list(data.val.batches(512)))
    assert torch.equal(torch.cat(parts), again)
    assert data.val.labels.tolist() == [place // 8 for place in data.val_index.tolist()]


def test_half_of_the_images_are_flipped(folder):
    data, flipped = mine(folder), 0
    plain = dict(zip(*[epoch(data, 0, 0, 1)[what] for what in (2, 0)], strict=True))
    plain = {int(place): image for place, image in plain.items()}
    for number in range(6):
        images, _, places = epoch(data, 0, number, 1, Augmentation(flip=True))
        for image, place in zip(images, places.tolist(), strict=True):
            mirrored = torch.equal(image, plain[place].flip(2))
            assert mirrored or torch.equal(image, plain[place])
            flipped += mirrored
    assert 35 <= flipped <= 73  # of 108, four deviations around the half


def test_a_random_crop_is_no_smaller_than_its_share(folder, monkeypatch):
    from timm.data.transforms import RandomResizedCropAndInterpolation as Crop

    found, params = [], Crop.get_params
    monkeypatch.setattr(
        Crop, "get_params", staticmethod(lambda *args: found.append(params(*args)) or found[-1])
    )
    for number in range(4):
        epoch(mine(folder), 0, number, 1, Augmentation(resized_crop=0.5))
    areas = [height * width / (80 * 60) for _, _, height, width in found]
    assert len(areas) == 72
    assert min(areas) > 0.48
    assert max(areas) > 0.8


def test_the_test_images_are_sealed_until_the_training_is_finished(folder, tmp_path):
    data = mine(folder)
    with pytest.raises(SealedError):
        data.test(Finished(tmp_path))
    append(tmp_path / "journal.jsonl", "trained", epoch=0, sha256="0" * 64)
    test = data.test(Finished(tmp_path))
    assert (len(test), sum(map(len, test.batches(5))), test.labels.tolist()) == (
        12,
        12,
        [0] * 4 + [1] * 4 + [2] * 4,
    )


def test_mean_and_deviation_are_of_the_images_as_they_are_validated_on(folder, monkeypatch):
    data = mine(folder)
    whole = opened(
        "folder/mine", folder, split={"val": 0}, image_size=56, loading="streamed", workers=0
    )
    pixels = epoch(whole, batch_size=24)[0].double()
    assert torch.tensor(data.mean, dtype=torch.float64).allclose(
        pixels.mean(dim=(0, 2, 3)), atol=1e-6
    )
    assert torch.tensor(data.std, dtype=torch.float64).allclose(
        pixels.std(dim=(0, 2, 3), correction=0), atol=1e-6
    )


def test_a_source_is_read_once_and_a_changed_file_alone_is_read_again(tmp_path, monkeypatch):
    class_folders(tmp_path / "mine", suffix="jpg")
    said, read = [], []
    digest = streamed.Files.digest

    def counted(part, place):
        read.append(place)
        return digest(part, place)

    monkeypatch.setattr(streamed.Files, "digest", counted)
    options = {"image_size": 8}
    found = [mine(tmp_path, said=said, **options) for _ in range(2)]
    assert (found[0].fingerprint, found[0].mean) == (found[1].fingerprint, found[1].mean)
    assert (said, len(read)) == ([READING], 36)
    file = tmp_path / "mine/train/a/0.jpg"
    file.write_bytes((tmp_path / "mine/test/b/1.jpg").read_bytes())
    changed = mine(tmp_path, said=said, **options)
    assert (said, len(read)) == ([READING] * 2, 37)
    assert changed.fingerprint != found[0].fingerprint
    assert sum(changed.duplicates.values()) == 1
    mine(tmp_path, said=said, image_size=16)
    assert (said, len(read)) == ([READING] * 3, 37)


@pytest.mark.parametrize("name", ["card.json", "hashes"])
def test_damage_to_what_is_known_of_the_files_is_noticed_and_repaired(tmp_path, name):
    class_folders(tmp_path / "mine", suffix="jpg")
    said = []
    whole = mine(tmp_path, said=said, image_size=8)
    (card,) = tmp_path.glob("cache/*/card.json")
    damaged = [card] if name == "card.json" else [*tmp_path.glob("cache/hashes-*.json"), card]
    for file in damaged:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    repaired = mine(tmp_path, said=said, image_size=8)
    assert repaired.fingerprint == whole.fingerprint
    assert len(said) == 3
    assert "damaged" in said[1]


def test_streams_of_other_sources_have_the_images_of_their_resident_twins(tmp_path):
    parquet(tmp_path / "columns")
    mnist(tmp_path)
    for name in ("hfds/columns", "torch/mnist"):
        resident = opened(name, tmp_path, image_size=32)
        data = opened(name, tmp_path, image_size=32, loading="streamed", workers=2)
        assert data.split_record() == resident.split_record()
        assert data.classes == resident.classes
        assert torch.equal(data.val.labels, resident.val.labels)
        assert next(iter(data.epoch(0, 0, recipe(2)))).images.shape == (2, 3, 32, 32)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_truncated_image_is_refused_by_its_name_in_one_line(tmp_path, workers):
    class_folders(tmp_path / "mine", suffix="jpg", width=64, height=64)
    data = mine(tmp_path, workers=workers)
    bad = tmp_path / "mine/test/b/3.jpg"
    bad.write_bytes(bad.read_bytes()[:-200])
    with pytest.raises(InputError) as error:
        list(data._source.test().batches())
    assert str(error.value).startswith(f"{bad}: cannot be decoded (image file is truncated")
    assert "\n" not in str(error.value)
    assert not multiprocessing.active_children()


def test_workers_end_with_their_epoch_and_with_one_that_is_left_early(folder):
    data = mine(folder, workers=2)
    list(data.epoch(0, 0, recipe(4)))
    assert not multiprocessing.active_children()
    left = data.epoch(0, 1, recipe(4))
    next(left)
    assert multiprocessing.active_children()
    left.close()
    assert not multiprocessing.active_children()


SCRIPT = """
import signal, sys
from pathlib import Path
import torch
from benchmark.cli import _stop
from benchmark.data import Data
from benchmark.study.schema import Augmentation, Recipe, Split, make_dataset
for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, _stop)
root = Path(sys.argv[1])
dataset = make_dataset("folder/mine", root=str(root), image_size=56, loading="streamed", workers=2)
data = Data(dataset, Split(val=6), torch.device("cpu"), root / "cache", lambda text: None)
for epoch in range(10**6):
    for _ in data.epoch(0, epoch, Recipe(epochs=1, batch_size=4, augmentation=Augmentation(flip=True))):
        print(epoch, flush=True)
"""


def ended(group):
    """Whether all processes of a group end within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("each", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_whole_group_is_told_once_and_leaves_no_worker(folder, each):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    time.sleep(0.3)
    os.killpg(process.pid, each)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, errors) == (
        128 + each,
        "kdbench: stopped; run the same command again to resume\n",
    )
    assert ended(process.pid)


def test_more_workers_than_the_machine_has_processors_are_not_started(folder):
    data = mine(folder, workers=1000)
    assert data._source._workers == os.cpu_count()


def test_the_fingerprint_is_of_names_labels_and_contents(tmp_path):
    def fingerprint():
        data = Data(
            make_dataset(f"folder/{tmp_path / 'mine'}", image_size=8, loading="streamed"),
            Split(val=4),
            CPU,
            tmp_path / "cache",
            [].append,
        )
        return data.fingerprint

    class_folders(tmp_path / "mine", suffix="jpg")
    found = [fingerprint()]
    train = tmp_path / "mine/train"
    (train / "a/0.jpg").rename(train / "a/00.jpg")
    found.append(fingerprint())
    (train / "a/00.jpg").rename(train / "b/00.jpg")
    found.append(fingerprint())
    (train / "b/00.jpg").rename(train / "a/0.jpg")
    assert fingerprint() == found[0]
    assert len(set(found)) == 3


def studied(folder, **changes):
    """A study on the images of a folder, streamed: two epochs of two batches."""
    augmentation = {
        "resized_crop": 0.5,
        "flip": True,
        "randaugment": {"operations": 1},
        "cutout": 16,
    }
    recipe = {"epochs": 2, "batch_size": 8, "augmentation": augmentation, "mixup": 0.2}
    return {
        **tiny(["student", "kd"], split={"val": 6}, **changes),
        "dataset": {
            "name": "folder/mine",
            "root": str(folder),
            "image_size": 64,
            "loading": "streamed",
            "workers": 1,
        },
        "pairs": [{"name": "pair", "teacher": TEACHER, "student": STUDENT}],
        "recipe": recipe,
    }


class Interrupted(Progress):
    """Stops a study after a student's first epoch."""

    def epoch(self, cell, *_):
        if not cell.startswith("teacher"):
            raise KeyboardInterrupt


def test_a_streamed_study_trains_and_evaluates_its_cells_once_and_goes_on_with_the_same_bits(
    folder, tmp_path
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(whole, studied(folder)) == Summary(planned=2, trained=2)
    assert run(whole, studied(folder)) == Summary(planned=2, already_done=2)
    with pytest.raises(KeyboardInterrupt):
        run(parts, studied(folder), Interrupted())
    assert run(parts, studied(folder)) == Summary(planned=2, trained=2)
    assert not multiprocessing.active_children()
    for name, cell in folders(parts).items():
        assert bits(cell) == bits(folders(whole)[name])
        assert {"test/acc1", "test/agreement", "cost/macs"} <= bits(cell)["final"].keys()
