"""Images of all pixel types become RGB by one rule each; those without a rule are refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.errors import InputError
from tests.support.datasources import class_folders, opened, picture, training

DEEP = (np.arange(120, dtype=np.uint16) * 500 + 7).reshape(10, 12)
"""Grey values of 16 bits for an image of the size of `picture`."""


@pytest.fixture
def folder(tmp_path):
    return class_folders(tmp_path / "mine")


def replace_first(folder, suffix):
    """Return the path of another first training image, in place of `train/a/0.png`."""
    (folder / "train/a/0.png").unlink()
    return folder / f"train/a/0.{suffix}"


def first_image(folder):
    """The first training image, uint8 [3, H, W]."""
    return training(opened("folder/mine", folder.parent, split={"val": 0})).images[0]


def grey(values):
    """A grey image, uint8 [3, H, W]."""
    return torch.from_numpy(np.stack([values] * 3).astype(np.uint8))


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_of_16_bits_the_higher_8_are_kept(folder, suffix):
    Image.fromarray(DEEP).save(replace_first(folder, suffix))
    assert torch.equal(first_image(folder), grey(DEEP >> 8))


def test_of_16_bits_per_colour_the_higher_8_are_kept(folder):
    colours = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=-1)
    write_deep_png(folder / "train/a/0.png", colours)
    expected = torch.from_numpy((colours >> 8).astype(np.uint8).transpose(2, 0, 1).copy())
    assert torch.equal(first_image(folder), expected)


def write_deep_png(path: Path, colours: np.ndarray) -> None:
    """Write a PNG file with 16 bits per colour, which Pillow reads but does not write."""
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + checksum
    path.write_bytes(content)


@pytest.mark.parametrize("loading", ["resident", "streamed"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(np.int32, "32-bit integer"), (np.float32, "32-bit floating-point")],
)
def test_pixels_without_a_known_range_are_refused_by_the_name_of_their_file(
    folder, kind, name, loading
):
    path = folder / "test/b/1.tif"
    (folder / "test/b/1.png").unlink()
    Image.fromarray(DEEP.astype(kind)).save(path)
    with pytest.raises(InputError) as error:
        opened("folder/mine", folder.parent, image_size=8, loading=loading)
    assert str(error.value) == f"{path}: has {name} pixels; convert it to 8 bits per channel"


def test_black_and_white_images_have_the_lowest_and_the_highest_value(folder):
    dots = (np.arange(120) % 3 == 0).reshape(10, 12)
    Image.fromarray(dots).save(replace_first(folder, "png"))
    assert torch.equal(first_image(folder), grey(dots * 255))


def test_palettes_are_looked_up(folder):
    image = picture(0).quantize(7)
    image.save(folder / "train/a/0.png")
    expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert len(np.unique(expected.reshape(3, -1), axis=1).T) == 7
    assert torch.equal(first_image(folder), torch.from_numpy(expected.copy()))


def test_transparency_is_dropped_whatever_its_value(folder):
    image = picture(0)
    image.putalpha(Image.fromarray(np.arange(120, dtype=np.uint8).reshape(10, 12)))
    image.save(folder / "train/a/0.png")
    expected = torch.from_numpy(np.asarray(picture(0)).transpose(2, 0, 1).copy())
    assert torch.equal(first_image(folder), expected)


def test_cmyk_becomes_rgb_without_a_colour_profile(folder):
    inks = np.zeros((10, 12, 4), np.uint8)
    inks[..., 0] = 200
    inks[..., 3] = 51
    path = replace_first(folder, "tif")
    Image.frombytes("CMYK", (12, 10), inks.tobytes()).save(path)
    # Red is (1 - C)(1 - K), green and blue are 1 - K, in [0, 1].
    red = round(255 * (1 - 200 / 255) * (1 - 51 / 255))
    assert first_image(folder)[:, 0, 0].tolist() == [red, 204, 204]


def test_a_rotation_in_the_exif_data_is_not_applied(folder):
    path = replace_first(folder, "jpg")
    rotation = Image.Exif()
    rotation[0x0112] = 6
    picture(0).save(path, quality=95, exif=rotation)
    with Image.open(path) as image:
        assert image.getexif()[0x0112] == 6
        expected = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
    assert torch.equal(first_image(folder), expected)


@pytest.mark.parametrize("loading", ["resident", "streamed"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_images_of_one_colour_are_counted_and_the_first_is_named(tmp_path, loading, suffix):
    folder = class_folders(tmp_path / "mine", suffix=suffix, width=32, height=32)
    for name in ("train/c/7", "test/b/0"):
        Image.new("RGB", (32, 32), (7, 8, 9)).save(folder / f"{name}.{suffix}")
    options = {"image_size": 16, "loading": loading}
    remark = (
        f"dataset folder/mine: 2 of 36 images have only one colour, first {folder}/train/c/7."
        f"{suffix}"
    )
    for _ in range(2):  # also if the data set was read before
        messages = []
        opened("folder/mine", tmp_path, messages, **options)
        assert messages[-1] == remark


def test_deep_images_that_are_almost_black_are_told(folder):
    Image.fromarray(DEEP % 200).save(folder / "train/a/0.png")  # no value has a bit above the 8th
    messages = []
    opened("folder/mine", folder.parent, messages)
    assert messages[-1] == (
        f"dataset folder/mine: 1 of 36 images has only one colour, first {folder}/train/a/0.png"
    )
