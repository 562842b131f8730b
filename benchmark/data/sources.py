"""Where images come from: a name in a study -> the training and test images of a data set, decoded one at a time.

`digits` needs no files. `torch/<name>` is torchvision's and `hfds/<name>` a Hugging Face data set, from a folder or the
hub, both through timm. `folder/<path>` holds a folder per class under `train` and `test`, `validation` or `val`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import io
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from PIL import Image
from torch import Tensor

from benchmark.data.split import stratified, without
from benchmark.errors import InputError, first_line
from benchmark.schema import Dataset

TORCH = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "imagenet", "places365")
TEST_SPLITS = ("test", "validation", "val")
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class Part(ABC):
    """Labelled images that are decoded when they are asked for, in any thread or process.  labels: int64 [N]."""

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def where(self, place: int) -> str:
        """Which image this is, for messages."""

    @abstractmethod
    def read(self, place: int) -> Image.Image | IO[bytes] | Path:
        """An image, or what it is decoded from."""

    def image(self, place: int) -> Image.Image:
        """An image in RGB. Raises InputError if it cannot be decoded."""
        try:
            found = self.read(place)
            if isinstance(found, Image.Image):
                return found.convert("RGB")
            with Image.open(found) as opened:
                return opened.convert("RGB")
        except Exception as error:  # whatever a decoder raises, the image is what is wrong
            raise InputError(f"{self.where(place)}: cannot be decoded ({first_line(error)}); replace it") from error

    def digest(self, place: int) -> str:
        """SHA-256 of what an image shows."""
        image = self.image(place)
        return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()

    def title(self, place: int) -> str:
        """The name of an image inside the data set."""
        return str(place)


@dataclass(frozen=True)
class Source:
    """A data set as it comes."""

    train: Part
    test: Part
    classes: int


@dataclass(frozen=True)
class Located:
    """A data set that has been found, but not read.

    signature: of what lies where, plain data that change when the images may have; None if reading it costs nothing.
    load: reads it, given a folder for files that are needed as long as its images are.
    """

    signature: Any
    load: Callable[[Path], Source]


def locate(dataset: Dataset) -> Located:
    """The data set of a study. Raises InputError for a name that is none, or a folder that is missing."""
    kind, _, rest = dataset.name.partition("/")
    if dataset.name == "digits":
        return Located(None, lambda _: _digits())
    if kind in SOURCES and rest:
        if dataset.train_split is not None and dataset.train_split == dataset.test_split:
            raise InputError(f"dataset: train_split and test_split are both {dataset.train_split!r}")
        return SOURCES[kind](dataset, rest)
    near = difflib.get_close_matches(dataset.name, ["digits", *(f"torch/{name}" for name in TORCH)], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "there are digits, torch/<name>, hfds/<name> and folder/<path>"
    raise InputError(f"dataset: no data set {dataset.name!r}; {hint}")


class _Digits(Part):
    def __init__(self, pixels: Tensor, labels: Tensor):
        self.pixels, self.labels = pixels, labels

    def where(self, place: int) -> str:
        return f"digits: image {place}"

    def read(self, place: int) -> Image.Image:
        return Image.fromarray(self.pixels[place].numpy())


def _digits() -> Source:
    """scikit-learn's digits: 1,797 real images of 8x8, here 32x32 RGB. No test set comes with it: a quarter is one."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images)[:, None]
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    pixels = (large[:, 0] * 255 / 16).round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    test = stratified(labels, len(labels) // 4, "digits/test")
    train = without(len(labels), test)
    return Source(_Digits(pixels[train], labels[train]), _Digits(pixels[test], labels[test]), classes=10)


class Files(Part):
    """Images in files.  names: relative to the folder."""

    def __init__(self, folder: Path, names: list[str], labels: list[int]):
        self.folder, self.names, self.labels = folder, names, torch.tensor(labels, dtype=torch.int64)

    def where(self, place: int) -> str:
        """The path of a file."""
        return str(self.folder / self.names[place])

    def read(self, place: int) -> Path:
        """The path of a file."""
        return self.folder / self.names[place]

    def digest(self, place: int) -> str:
        """SHA-256 of a file. Raises InputError if it cannot be read."""
        try:
            with self.read(place).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.where(place)}: cannot be read ({error.strerror})") from None

    def title(self, place: int) -> str:
        """The name of a file."""
        return self.names[place]

    def stamps(self) -> Iterator[tuple[str, int, int]]:
        """Name, size and time of each file, by which a changed one is known."""
        for name in self.names:
            status = (self.folder / name).stat()
            yield name, status.st_size, status.st_mtime_ns


def files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """All files below a folder, by name relative to it, in order. Raises InputError for a link that leads nowhere."""
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for path in (f"{parent}/{name}" for name in sorted(names)):
            try:
                yield path[len(str(folder)) + 1 :], os.stat(path)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _signature(folder: Path) -> list[str]:
    """Of a folder: its place, and names, sizes and times of all its files."""
    stamps = [(name, status.st_size, status.st_mtime_ns) for name, status in files(folder)]
    return [str(folder), hashlib.sha256(repr(stamps).encode()).hexdigest()]


def _local(dataset: Dataset, name: str) -> Path | None:
    """The folder that a name means, below the data set's root or as it is."""
    return next((path.resolve() for path in (Path(dataset.root, name), Path(name)) if path.is_dir()), None)


def _folder(dataset: Dataset, name: str) -> Located:
    folder = _local(dataset, name)
    if folder is None:
        raise InputError(f"dataset: no folder {Path(dataset.root, name)}, nor {name} as it is; see dataset.root")
    train, test = (_one_of(folder, split) for split in _splits(dataset))
    return Located([_signature(train), _signature(test)], lambda _: _class_folders(train, test))


def _splits(dataset: Dataset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names under which the training images and the test images are looked for."""
    test = (dataset.test_split,) if dataset.test_split else TEST_SPLITS
    return (dataset.train_split or "train",), test


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise InputError(f"dataset: {folder} has no folder {' or '.join(names)}; it must hold a folder per class")
    return found


def _class_names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_folders(train: Path, test: Path) -> Source:
    parts, classes = [], []
    for folder in (train, test):
        classes.append(_class_names(folder))
        if not classes[-1]:
            raise InputError(f"dataset: {folder} has no folders; it must hold one for each class")
        names, labels = [], []
        for label, name in enumerate(classes[-1]):
            found = [file for file, _ in files(folder / name) if Path(file).suffix.lower() in SUFFIXES]
            if not found:
                raise InputError(f"dataset: {folder / name} has no images")
            names += [f"{name}/{file}" for file in found]
            labels += [label] * len(found)
        parts.append(Files(folder, names, labels))
    odd = sorted(set(classes[0]) ^ set(classes[1]))
    if odd:
        there, missing = (train, test) if odd[0] in classes[0] else (test, train)
        raise InputError(f"dataset: {there} has a class folder {odd[0]!r} that {missing} has not")
    return Source(parts[0], parts[1], len(classes[0]))


class _Torch(Part):
    def __init__(self, name: str, images: Any, classes: int):
        self.name, self.images = name, images
        self.labels = _labels(list(map(int, images.targets)), classes, name)

    def where(self, place: int) -> str:
        return f"{self.name}: image {place}"

    def read(self, place: int) -> Image.Image:
        image: Image.Image = self.images[place][0]
        return image


def _torch(dataset: Dataset, name: str) -> Located:
    if name not in TORCH:
        near = difflib.get_close_matches(name, TORCH, n=1)
        hint = f"did you mean 'torch/{near[0]}'?" if near else f"there are {', '.join(TORCH)}"
        raise InputError(f"dataset: no data set {dataset.name!r}; {hint}")
    train, test = dataset.train_split or "train", dataset.test_split or "validation"
    if train != "train" or test not in TEST_SPLITS:
        raise InputError(f"dataset: {dataset.name} has no parts but train and test; leave out train_split, test_split")
    root = Path(dataset.root).resolve()

    def load(_: Path) -> Source:
        parts = [_torchvision(dataset.name, root, split) for split in (train, test)]
        classes = len(getattr(parts[0], "classes", ())) or 1 + max(map(int, parts[0].targets))
        train_part, test_part = (_Torch(dataset.name, part, classes) for part in parts)
        return Source(train_part, test_part, classes)

    return Located(str(root), load)


def _torchvision(name: str, root: Path, split: str) -> Any:
    """A data set of torchvision, downloaded if it is not in its folder."""
    from timm.data.dataset_factory import create_dataset

    try:
        try:
            return create_dataset(name, root=str(root), split=split, download=False)
        except RuntimeError:  # not there, or not whole
            root.mkdir(parents=True, exist_ok=True)
            return create_dataset(name, root=str(root), split=split, download=True)
    except Exception as error:  # whatever torchvision raises, it has no whole data set
        message = f"dataset: {name} is not in {root}, or damaged, and cannot be downloaded ({first_line(error)})"
        raise InputError(f"{message}; put it there or set dataset.root") from error


class _HuggingFace(Part):
    """A part of a Hugging Face data set, read by timm."""

    def __init__(self, title: str, reader: Any, labels: Tensor):
        self.name, self.reader, self.labels = title, reader, labels

    def where(self, place: int) -> str:
        return f"{self.name}: image {place}"

    def read(self, place: int) -> IO[bytes]:
        with self.reader[place][0] as found:
            return io.BytesIO(found.read())


def _hugging_face(dataset: Dataset, name: str) -> Located:
    folder = _local(dataset, name)
    if folder is None:
        root = str(Path(dataset.root).resolve())
        return Located(root, lambda _: _hugging_face_parts(dataset, name, root))
    return Located(_signature(folder), lambda scratch: _hugging_face_parts(dataset, str(folder), str(scratch), folder))


def _hugging_face_parts(dataset: Dataset, name: str, cache: str, folder: Path | None = None) -> Source:
    if importlib.util.find_spec("datasets") is None:
        raise InputError(f"dataset: {dataset.name} needs the package 'datasets': pip install 'kdbench[hf]'")
    readers = []
    with _quiet(progress=folder is None):
        for names in _splits(dataset):
            readers.append(_reader(dataset, name, cache, names, folder))
    classes, parts = len(readers[0].class_to_idx), []
    for reader in readers:
        title = f"{name}: {reader.split}"
        values = reader.dataset[reader.label_key][:]
        if not classes and all(isinstance(value, int) for value in values):
            classes = 1 + max(values)
        parts.append(_HuggingFace(title, reader, _labels(values, classes, f"{title}: column {reader.label_key!r}")))
    if readers[0].class_to_idx != readers[1].class_to_idx:
        raise InputError(f"dataset: {name}: {readers[0].split} and {readers[1].split} have different classes")
    return Source(parts[0], parts[1], classes)


def _reader(dataset: Dataset, name: str, cache: str, splits: tuple[str, ...], folder: Path | None) -> Any:
    """The reader by timm of the first of some splits that there is, after its columns were checked."""
    from timm.data.dataset_factory import create_dataset

    images, labels = dataset.input_key or "image", dataset.target_key or "label"
    error: Exception | None = None
    for split in splits:
        try:
            reader = create_dataset(f"hfds/{name}", root=cache, split=split, input_key=images, target_key=labels).reader
        except Exception as raised:  # whatever the library raises, the data set is what is wrong
            error = raised
            if "Unknown split" in str(raised):
                continue
            break
        if not len(reader):
            raise InputError(f"dataset: {dataset.name}: {split} has no images")
        table = reader.dataset.data
        # timm's cast to images makes a column up, of nulls, where there is none.
        columns = [name for name in table.column_names if name != images or table.column(name).null_count < len(reader)]
        for key, column in (("input_key", images), ("target_key", labels)):
            if column not in columns:
                known = ", ".join(columns)
                raise InputError(f"dataset: {dataset.name} has no column {column!r}; set {key} to one of {known}")
        return reader
    assert error is not None
    if "Unknown split" in str(error):
        raise InputError(f"dataset: {dataset.name}: {first_line(error)}; set train_split and test_split") from error
    if "cast" in str(error):
        raise InputError(f"dataset: {dataset.name}: column {images!r} holds no images; set input_key") from error
    if folder is None:
        looked = f"neither {Path(dataset.root, name)} nor {name} is a folder, and the Hugging Face hub does not give it"
        raise InputError(f"dataset: {dataset.name}: {looked} ({first_line(error)})") from error
    raise InputError(f"dataset: {folder} cannot be read ({first_line(error)}); restore or replace it") from error


@contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """The `datasets` library logs nothing inside, for its errors become one line; downloads show their progress."""
    import datasets  # type: ignore[import-untyped]

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels, shown = [logger.level for logger in loggers], datasets.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    if not progress:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not shown:
            datasets.enable_progress_bars()


def _labels(values: list[Any], classes: int, where: str) -> Tensor:
    """Labels as int64 [N]. Raises InputError if one of them is no class."""
    wrong = next((value for value in values if not isinstance(value, int) or not 0 <= value < classes), None)
    if wrong is not None:
        hint = "labels are whole numbers from 0; set target_key, or a test_split whose labels are public"
        raise InputError(f"dataset: {where} holds {wrong!r}; {hint}")
    return torch.tensor(values, dtype=torch.int64)


SOURCES: dict[str, Callable[[Dataset, str], Located]] = {"torch": _torch, "hfds": _hugging_face, "folder": _folder}
