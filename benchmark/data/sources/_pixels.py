"""Turns images of all pixel types into RGB with 8 bits per channel.

Images with 8 bits per channel, or fewer, are converted as Pillow does: palettes are looked up,
transparency is dropped, and CMYK, YCbCr and HSV become RGB. Of 16 bits per channel, the higher 8
are kept. Other pixels have no range that is known (32-bit integers, floating-point numbers) and
are refused. A rotation in the EXIF data is not applied: published accuracies were measured without.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_CONVERTED = {
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"),
    *("CMYK", "YCbCr", "LAB", "HSV"),
}
"""Pillow's modes with at most 8 bits per channel."""

_REFUSED = {"I": "32-bit integer", "F": "32-bit floating-point"}

_BITS_PER_SAMPLE = 258
"""The TIFF tag with the number of bits per channel."""


class PixelTypeError(ValueError):
    """An image has pixels whose range is unknown."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an image in RGB, with 8 bits per channel.

    Raises:
        PixelTypeError: The image has pixels of another type.
    """
    if image.mode in _CONVERTED:
        return image.convert("RGB")

    if image.mode.startswith("I;16") or _has_16_bits(image):
        pixels = np.asarray(image).astype(np.int64) >> (_bits(image) - 8)
        return Image.fromarray(pixels.astype(np.uint8)).convert("RGB")

    kind = _REFUSED.get(image.mode, f"mode {image.mode!r}")
    raise PixelTypeError(f"has {kind} pixels; convert it to 8 bits per channel")


def has_one_colour(image: Image.Image) -> bool:
    """Return whether all pixels of an image are equal."""
    return all(low == high for low, high in _extrema(to_rgb(image)))


def _extrema(image: Image.Image) -> tuple[tuple[float, float], ...]:
    """Return the lowest and the highest value of each channel of an RGB image."""
    extrema: tuple[tuple[float, float], ...] = image.getextrema()  # type: ignore[assignment]
    return extrema


def _has_16_bits(image: Image.Image) -> bool:
    """Return whether an image in Pillow's mode of 32 bits comes from a format that has only 16."""
    return image.mode == "I" and image.format in ("PNG", "PPM")


def _bits(image: Image.Image) -> int:
    """Return the number of bits per channel that are used."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    return max(8, min(16, int(bits[0])))
