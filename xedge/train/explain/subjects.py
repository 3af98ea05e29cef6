"""The pictures that are explained: held-out items of a recipe's data, or picture files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from xedge.detector import ASSUMED_PICTURE_MM
from xedge.encode import AIR, dual_energy_planes
from xedge.errors import ImageError
from xedge.metrics import Truth
from xedge.pictures import ColourPicture, DualEnergyPicture, read_picture
from xedge.preprocess import Placement, counts_from_pseudo_colour, pad_planes, pseudo_colour
from xedge.scanner.windows import WindowPlan
from xedge.spec import Channels, ModelSpec
from xedge.train.batch import Item, collate, truth_of
from xedge.train.config import PictureData
from xedge.train.recipe import Recipe
from xedge.train.sample import Sample, fit
from xedge.types import U8

_HALF: Final = 128
"""What the low byte of a count is taken to be where only the high one is known."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One picture or window as the model sees it.

    Attributes:
        name: What it is called.
        planes: uint8 ``[3, H, W]``.
        rgb: The same for people, uint8 ``[H, W, 3]``.
        truth: The objects in it, in its pixels; None where nobody knows.
        presence: int8 ``[C]`` as in `Item`; None where nobody knows.
        guessed: Whether the planes are a guess at counts, from a pseudo-colour picture.
    """

    name: str
    planes: U8
    rgb: U8
    truth: Truth | None = None
    presence: npt.NDArray[np.int8] | None = None
    guessed: bool = False


def to_subject(item: Item, channels: Channels) -> Subject:
    """An item of a recipe's data as something to explain."""
    planes, truth = item.planes.numpy(), truth_of(collate([item]))[0]
    return Subject(item.name, planes, colours(planes, channels), truth, item.presence.numpy())


def colours(planes: U8, channels: Channels) -> U8:
    """Planes ``[3, h, w]`` as a picture for people, uint8 ``[h, w, 3]``.

    Of dual-energy planes it is the pseudo-colour picture of the counts' high bytes.
    """
    if channels is Channels.PSEUDO_COLOUR:
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    high, low = (plane.astype(np.uint16) * 256 + _HALF for plane in planes[:2])
    return pseudo_colour(low, high)


def spread(total: int, count: int) -> list[int]:
    """At most ``count`` places out of ``total``, evenly spread.

    >>> spread(9, 3), spread(2, 5)
    ([0, 4, 8], [0, 1])
    """
    return sorted({int(k) for k in np.linspace(0, total - 1, min(count, total)).round()})


def open_subjects(
    path: Path, recipe: Recipe, spec: ModelSpec, air_counts: int, pixel_mm: float | None
) -> Iterator[Subject]:
    """What there is to explain in a picture file; several windows where it is a long scan.

    A picture is put before the model as the recipe's data is: fitted to its size, or cut into
    windows at the scanner's own pitch.

    Args:
        path: One of `xedge.pictures.FORMATS`.
        recipe: What the model was trained by.
        spec: The model's description.
        air_counts: What unattenuated air reads in a 16-bit file.
        pixel_mm: Size of a colour picture's pixel at the belt, millimetres, where a model of
            counts is to see it; None assumes that its longer side is `ASSUMED_PICTURE_MM`.

    Raises:
        ImageError: When the file cannot be used, or does not fit the model.
    """
    picture = read_picture(path, air_counts)
    data = recipe.data
    pixel, guessed = spec.binning, False
    if spec.channels is Channels.PSEUDO_COLOUR:
        planes = np.ascontiguousarray(picture.rgb.transpose(2, 0, 1))
    elif isinstance(picture, DualEnergyPicture):
        planes = dual_energy_planes(picture.low, picture.high, spec.binning)
    else:
        planes, pixel = _guessed(picture, spec, pixel_mm), 1
        guessed = True
    if isinstance(data, PictureData) or data.view == "whole":
        keep_ratio = isinstance(data, PictureData) and data.keep_ratio
        none = np.zeros(0, np.int32)
        whole = Sample(planes, np.zeros((0, 4), np.float32), none, none)
        fitted = fit(whole, spec.height, spec.width, spec.channels, keep_ratio=keep_ratio).planes
        yield Subject(path.name, fitted, colours(fitted, spec.channels), guessed=guessed)
        return
    height, width = planes.shape[1:]
    if width > spec.width or height < 1:
        raise ImageError(
            f"{path} does not fit the model",
            expected=f"at most {spec.width} pixels of {spec.pixel_mm} mm across the belt",
            found=f"{width} across, {height} along",
            remedy="Crop the picture, or give the size of its pixels with --pixel-mm",
        )
    starts = WindowPlan(spec.height, min(128 // spec.binning, spec.height // 2), 1).starts(height)
    for start in starts:
        part = planes[:, start : start + spec.height]
        window = pad_planes(part, spec.height, spec.width, AIR[spec.channels])
        lines = f", lines {start * pixel} to {(start + part.shape[1]) * pixel - 1}"
        name = path.name + (lines if len(starts) > 1 else "")
        yield Subject(name, window, colours(window, spec.channels), guessed=guessed)


def _guessed(picture: ColourPicture, spec: ModelSpec, pixel_mm: float | None) -> U8:
    """Planes at the model's scale of what the scanner may have measured of a colour picture."""
    pixel = ASSUMED_PICTURE_MM / max(picture.shape) if pixel_mm is None else pixel_mm
    place = Placement.scaled(*picture.shape, pixel / spec.pixel_mm)
    return dual_energy_planes(*counts_from_pseudo_colour(place.resize(picture.rgb)))
