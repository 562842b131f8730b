"""Streamed images: the same bits with any number of workers, which end with their loader."""

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

from benchmark.data import Data
from benchmark.data.sources import _files
from benchmark.errors import InputError, SealedError
from benchmark.execution.run import Summary
from benchmark.records.seal import Finished
from benchmark.study.schema import Augmentation, RandAugment, Recipe, Split, make_dataset
from benchmark.training.progress import Progress
from tests.support.datasources import CPU, class_folders, epoch, mnist, opened, parquet, recipe
from tests.support.networks import STUDENT, TEACHER
from tests.support.records import append
from tests.support.studies import bits, folders, run, tiny

pytestmark = pytest.mark.trains

EVERYTHING = Augmentation(resized_crop=0.3, flip=True, randaugment=RandAugment(), cutout=20)
READING = "dataset folder/mine: reading all files, once"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes with 8 training and 4 test images of 80x60 each."""
    folder = tmp_path_factory.mktemp("streamed")
    class_folders(folder / "mine", suffix="jpg", width=80, height=60)
    return folder


def mine(folder, workers=0, messages=None, **options):
    options = {"image_size": 56, "loading": "streamed", "workers": workers, **options}
    return opened("folder/mine", folder, messages, split={"val": 6}, **options)


def seed_global_streams():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


def next_global_draws():
    """What the global streams of the process give next."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(flip=True), EVERYTHING])
def test_an_epoch_has_the_same_bits_with_any_number_of_workers_and_draws_from_no_global_stream(
    folder, augmentation
):
    epochs = []
    for workers in (0, 2, 1):
        seed_global_streams()
        epochs.append(epoch(mine(folder, workers), 3, 2, 4, augmentation, mixup=0.2, cutmix=1.0))
        draws = next_global_draws()
        seed_global_streams()
        assert draws == next_global_draws()

    first, *others = epochs
    for other in others:
        assert all(map(torch.equal, first, other))

    images, labels, indices = first
    assert images.shape == (16, 3, 56, 56)
    assert images.dtype == torch.float32
    assert ((images >= 0) & (images <= 1)).all()
    assert len(labels) == len(set(indices.tolist())) == 16


def test_another_epoch_or_seed_augments_differently_and_an_image_has_one_augmentation_an_epoch(
    folder,
):
    data = mine(folder)
    augmentation = EVERYTHING.model_copy(update={"cutout": None})

    def images_by_index(seed, number, batch_size):
        images, _, indices = epoch(data, seed, number, batch_size, augmentation)
        return dict(zip(indices.tolist(), images, strict=True))

    first = images_by_index(seed=0, number=0, batch_size=4)
    for seed, number in ((0, 1), (1, 0)):
        other = images_by_index(seed, number, batch_size=4)
        shared = first.keys() & other.keys()
        assert shared
        assert not any(torch.equal(first[index], other[index]) for index in shared)

    other_batches = images_by_index(seed=0, number=0, batch_size=3)
    shared = first.keys() & other_batches.keys()
    assert all(torch.equal(first[index], other_batches[index]) for index in shared)


def test_images_carry_their_labels_and_come_completely(folder):
    data = mine(folder, workers=2)
    assert (data.samples, len(data.val), data.classes, data.size) == (18, 6, 3, (3, 56, 56))

    paths = [folder / f"mine/train/{name}/{index}.jpg" for name in "abc" for index in range(8)]
    expected = {}
    for index, source_index in enumerate(data.train_index.tolist()):
        with Image.open(paths[source_index]) as image:
            # The shorter side becomes 56 / 0.875 = 64 pixels long; then the middle is kept.
            resized = image.resize((85, 64), Image.Resampling.BICUBIC).crop((14, 4, 70, 60))
        pixels = torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy())
        expected[index] = pixels.float() / 255

    images, labels, indices = epoch(data, batch_size=1)
    for image, label, index in zip(images, labels.tolist(), indices.tolist(), strict=True):
        assert torch.equal(image, expected[index])
        assert label == int(data.train_index[index]) // 8

    batches = list(data.val.batches(4))
    assert [len(batch) for batch in batches] == [4, 2]
    assert torch.equal(torch.cat(batches), torch.cat(list(data.val.batches(512))))
    assert data.val.labels.tolist() == [index // 8 for index in data.val_index.tolist()]


def test_half_of_the_images_are_flipped(folder):
    data = mine(folder)
    images, _, indices = epoch(data, 0, 0, 1)
    plain = dict(zip(indices.tolist(), images, strict=True))

    flipped = 0
    for number in range(6):
        images, _, indices = epoch(data, 0, number, 1, Augmentation(flip=True))
        for image, index in zip(images, indices.tolist(), strict=True):
            mirrored = torch.equal(image, plain[index].flip(2))
            assert mirrored or torch.equal(image, plain[index])
            flipped += mirrored

    assert 35 <= flipped <= 73  # of 108, four standard deviations around the half


def test_a_random_crop_is_no_smaller_than_its_share(folder, monkeypatch):
    from timm.data.transforms import RandomResizedCropAndInterpolation as Crop

    boxes = []
    get_params = Crop.get_params

    def recorded(*args):
        boxes.append(get_params(*args))
        return boxes[-1]

    monkeypatch.setattr(Crop, "get_params", staticmethod(recorded))
    for number in range(4):
        epoch(mine(folder), 0, number, 1, Augmentation(resized_crop=0.5))

    areas = [height * width / (80 * 60) for _, _, height, width in boxes]
    assert len(areas) == 72
    assert min(areas) > 0.48
    assert max(areas) > 0.8


def test_the_test_images_are_sealed_until_the_training_is_finished(folder, tmp_path):
    data = mine(folder)
    with pytest.raises(SealedError):
        data.test(Finished(tmp_path))

    append(tmp_path / "journal.jsonl", "trained", epoch=0, sha256="0" * 64)
    test = data.test(Finished(tmp_path))
    assert len(test) == sum(map(len, test.batches(5))) == 12
    assert test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_part_of_the_test_images_is_read_from_the_same_files(folder, tmp_path):
    append(tmp_path / "journal.jsonl", "trained", epoch=0, sha256="0" * 64)
    options = {"image_size": 56, "loading": "streamed", "workers": 0}
    split = {"val": 3, "test_samples": 6}
    data = opened("folder/mine", folder, split=split, **options)
    some, every = data.test(Finished(tmp_path)), mine(folder).test(Finished(tmp_path))

    assert some.labels.tolist() == [0, 0, 1, 1, 2, 2]
    whole = torch.cat(list(every.batches()))
    assert torch.equal(torch.cat(list(some.batches(4))), whole[data.test_index])


def test_mean_and_deviation_are_of_the_images_as_they_are_validated_on(folder):
    data = mine(folder)
    options = {"image_size": 56, "loading": "streamed", "workers": 0}
    undivided = opened("folder/mine", folder, split={"val": 0}, **options)
    pixels = epoch(undivided, batch_size=24)[0].double()

    mean = torch.tensor(data.mean, dtype=torch.float64)
    std = torch.tensor(data.std, dtype=torch.float64)
    assert mean.allclose(pixels.mean(dim=(0, 2, 3)), atol=1e-6)
    assert std.allclose(pixels.std(dim=(0, 2, 3), correction=0), atol=1e-6)


def test_a_source_is_read_once_and_of_changed_files_only_those_are_read_again(
    tmp_path, monkeypatch
):
    class_folders(tmp_path / "mine", suffix="jpg")
    messages, read = [], []
    digest = _files.Files.examine

    def counted(part, index):
        read.append(index)
        return digest(part, index)

    monkeypatch.setattr(_files.Files, "examine", counted)
    first, again = (mine(tmp_path, messages=messages, image_size=8) for _ in range(2))
    assert (again.fingerprint, again.mean) == (first.fingerprint, first.mean)
    assert (messages, len(read)) == ([READING], 36)

    file = tmp_path / "mine/train/a/0.jpg"
    file.write_bytes((tmp_path / "mine/test/b/1.jpg").read_bytes())
    changed = mine(tmp_path, messages=messages, image_size=8)
    assert (messages, len(read)) == ([READING] * 2, 37)
    assert changed.fingerprint != first.fingerprint
    assert sum(changed.duplicates.values()) == 1

    mine(tmp_path, messages=messages, image_size=16)
    assert (messages, len(read)) == ([READING] * 3, 37)


@pytest.mark.parametrize("name", ["card.json", "hashes"])
def test_damage_to_the_facts_or_to_the_hashes_of_files_is_detected_and_repaired(tmp_path, name):
    class_folders(tmp_path / "mine", suffix="jpg")
    messages = []
    intact = mine(tmp_path, messages=messages, image_size=8)

    (card,) = tmp_path.glob("cache/*/card.json")
    hashes = [] if name == "card.json" else list(tmp_path.glob("cache/files-*.json"))
    for file in (*hashes, card):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    repaired = mine(tmp_path, messages=messages, image_size=8)
    assert repaired.fingerprint == intact.fingerprint
    assert len(messages) == 3
    assert "damaged" in messages[1]


def test_streams_of_other_sources_have_the_images_of_their_resident_twins(tmp_path):
    parquet(tmp_path / "columns")
    mnist(tmp_path)
    for name in ("hfds/columns", "torch/mnist"):
        resident = opened(name, tmp_path, image_size=32)
        streamed = opened(name, tmp_path, image_size=32, loading="streamed", workers=2)
        assert streamed.split_record() == resident.split_record()
        assert streamed.classes == resident.classes
        assert torch.equal(streamed.val.labels, resident.val.labels)
        assert next(iter(streamed.epoch(0, 0, recipe(2)))).inputs.shape == (2, 3, 32, 32)


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

    abandoned = data.epoch(0, 1, recipe(4))
    next(abandoned)
    assert multiprocessing.active_children()
    abandoned.close()
    assert not multiprocessing.active_children()


SCRIPT = """
import signal, sys
from pathlib import Path
import torch
from benchmark.cli.signals import _stop
from benchmark.data import Data
from benchmark.study.schema import Augmentation, make_dataset, Recipe, Split

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, _stop)

root = Path(sys.argv[1])
dataset = make_dataset("folder/mine", root=str(root), image_size=56, loading="streamed", workers=2)
data = Data(dataset, Split(val=6), torch.device("cpu"), root / "cache", lambda text: None)
recipe = Recipe(epochs=1, batch_size=4, augmentation=Augmentation(flip=True))
for epoch in range(10**6):
    for _ in data.epoch(0, epoch, recipe):
        print(epoch, flush=True)
"""


def has_ended(group):
    """Whether all processes of a group end within ten seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_stop_of_the_whole_group_is_reported_once_and_leaves_no_worker(folder, number):
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
    os.killpg(process.pid, number)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()

    assert process.returncode == 128 + number
    assert errors == "kdbench: stopped; run the same command again to resume\n"
    assert has_ended(process.pid)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_entered_at_any_batch(folder, workers):
    data = mine(folder, workers=workers)
    mixed = Recipe(epochs=1, batch_size=4, augmentation=EVERYTHING, mixup=0.2, cutmix=1.0)
    whole = list(data.epoch(3, 1, mixed, True))
    for start in range(len(whole) + 1):
        rest = list(data.epoch(3, 1, mixed, True, start))
        assert len(rest) == len(whole) - start
        for found, expected in zip(rest, whole[start:], strict=True):
            for key in ("inputs", "second", "labels", "index", "targets"):
                assert torch.equal(getattr(found, key), getattr(expected, key))


def test_no_more_workers_are_started_than_the_machine_has_processors(folder):
    data = mine(folder, workers=1000)
    assert data._source._workers == os.cpu_count()


def test_the_fingerprint_covers_names_labels_and_contents(tmp_path):
    dataset = make_dataset(f"folder/{tmp_path / 'mine'}", image_size=8, loading="streamed")

    def fingerprint():
        return Data(dataset, Split(val=4), CPU, tmp_path / "cache", [].append).fingerprint

    class_folders(tmp_path / "mine", suffix="jpg")
    first = fingerprint()

    train = tmp_path / "mine/train"
    (train / "a/0.jpg").rename(train / "a/00.jpg")
    renamed = fingerprint()

    (train / "a/00.jpg").rename(train / "b/00.jpg")
    relabelled = fingerprint()

    (train / "b/00.jpg").rename(train / "a/0.jpg")
    assert fingerprint() == first
    assert len({first, renamed, relabelled}) == 3


def streamed_study(folder, **changes):
    """A study on streamed images of a folder: two epochs of two batches."""
    augmentation = {
        "resized_crop": 0.5,
        "flip": True,
        "randaugment": {"operations": 1},
        "cutout": 16,
    }
    recipe = {"epochs": 2, "batch_size": 8, "augmentation": augmentation, "mixup": 0.2}
    dataset = {
        "name": "folder/mine",
        "root": str(folder),
        "image_size": 64,
        "loading": "streamed",
        "workers": 1,
    }
    return {
        **tiny(["student", "kd"], split={"val": 6}, **changes),
        "dataset": dataset,
        "pairs": [{"name": "pair", "teacher": TEACHER, "student": STUDENT}],
        "recipe": recipe,
    }


class Interrupted(Progress):
    """Stops a study after a student's first epoch."""

    def epoch(self, cell, *_):
        if not cell.startswith("teacher"):
            raise KeyboardInterrupt


def test_a_streamed_study_trains_its_cells_once_and_resumes_with_the_same_bits(folder, tmp_path):
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert run(whole, streamed_study(folder)) == Summary(planned=2, trained=2)
    assert run(whole, streamed_study(folder)) == Summary(planned=2, already_done=2)

    with pytest.raises(KeyboardInterrupt):
        run(interrupted, streamed_study(folder), Interrupted())
    assert run(interrupted, streamed_study(folder)) == Summary(planned=2, trained=2)
    assert not multiprocessing.active_children()

    for name, cell in folders(interrupted).items():
        assert bits(cell) == bits(folders(whole)[name])
        assert {"test/acc1", "test/agreement", "cost/macs"} <= bits(cell)["final"].keys()
