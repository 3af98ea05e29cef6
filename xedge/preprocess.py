"""Pictures: pseudo-colour for people, its approximate inverse, and the geometry of a resize.

Pseudo-colour follows the convention of the trade: organic matter is orange, light metals and
mixtures are green, heavy metals are blue, air is white and what nothing passes is black. The
hue comes from the ratio of logarithms ``ln(low / AIR) / ln(high / AIR)``, which is the ratio of
the effective attenuation coefficients in the two energies and does not depend on thickness for
monochromatic rays. A tube's beam hardens, which draws the ratio of thick metal towards that of
water; `_material` undoes most of that (see there). Brightness comes from ``-ln(high / AIR)``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xedge.errors import ImageError
from xedge.types import AIR_COUNTS, F32, U8, U16

F64 = npt.NDArray[np.float64]

_DEPTHS, _RATIOS = 512, 512
_DEPTH_LIMIT = 7.0
"""Attenuation -ln(high / AIR) at the last row of the palette: 55 counts of 60,000."""
_RATIO_FIRST, _RATIO_LAST = 1.0, 3.0
_THIN = 0.01
"""Added to both logarithms (times `_WATER`): below it a ratio is noise and reads as organic."""
_WATER = 1.25
_STRAY = (220, 110)
"""Counts of scatter and glare, low and high, taken off before the logarithm.

Behind thick metal they are most of what is read, and would draw its ratio to that of water. Some
0.4 % and 0.2 % of air is usual; it is a constant for the eye, and no correction for a model.
"""
_SOFT = 60.0
"""Counts: about the noise there, below which a difference of counts means nothing."""

Ink = tuple[float, float, float]


@dataclass(frozen=True)
class Palette:
    """A colour map of the trade: which colour a material has, and how dark it becomes.

    Attributes:
        inks: Material number (see `_material`), rising, and how strongly its colour absorbs red,
            green, blue.
        gain: How dark matter is shown: the ink's depth at an attenuation of 1.
        power: Exponent of the attenuation in that depth.
        deepest: Depth of ink that none gets beyond, so that thick matter keeps some of its colour.
        dense: Attenuation from which all is shown as metal, whatever its ratio: nothing else in a
            bag is as dark, and what is read behind it is scatter.
        air: What air looks like, as a grey or colour of 0 to 1 a channel.
    """

    inks: tuple[tuple[float, Ink], ...]
    gain: float = 0.9
    power: float = 0.75
    deepest: float = math.inf
    dense: float = math.inf
    air: Ink = (1.0, 1.0, 1.0)


TRADE = Palette(
    inks=(
        (0.00, (0.06, 0.40, 1.10)),  # organic: orange
        (0.20, (0.10, 0.38, 1.06)),
        (0.53, (0.76, 0.22, 0.84)),  # aluminium, glass, salts: green
        (0.85, (1.10, 0.50, 0.12)),  # steel: blue
        (1.60, (1.10, 0.74, 0.16)),  # copper and heavier, thick: violet-blue
    )
)
"""The palette of every picture that is shown to people."""


_TO_METAL = 0.5
"""Attenuation within which a palette with a `Palette.dense` turns from there to metal."""


def _material(ratio: F64, depth: F64) -> F64:
    """Material number of a ratio of logarithms at a depth: water 0.1, aluminium 0.5, steel 1.1.

    With a 160 kV tungsten spectrum and a sandwich detector, ``ratio - 1.19`` of one metal falls
    as about ``1 / (0.35 + 0.75 * depth)`` as the beam hardens, so the product is nearly constant
    along a step wedge.
    """
    number: F64 = (ratio - 1.19) * (0.35 + 0.75 * depth)
    return number


def _depth_axis() -> F64:
    # Quadratic: fine steps where matter is thin, or broad pale areas would show bands.
    axis: F64 = _DEPTH_LIMIT * np.linspace(0.0, 1.0, _DEPTHS) ** 2
    return axis


def _ratio_axis() -> F64:
    axis: F64 = np.linspace(_RATIO_FIRST, _RATIO_LAST, _RATIOS)
    return axis


@functools.lru_cache(maxsize=48)
def _colours(palette: Palette = TRADE) -> U8:
    """RGB of every depth and ratio, uint8 ``[512, 512, 4]``; the fourth byte is not used."""
    depth, ratio = _depth_axis()[:, None], _ratio_axis()[None, :]
    number = _material(ratio, depth)
    stops = [stop for stop, _ in palette.inks]
    seen = palette.gain * depth**palette.power
    if palette.deepest < math.inf:
        seen = -palette.deepest * np.expm1(-seen / palette.deepest)
    if palette.dense < math.inf:
        metal = stops[-2] * np.clip((depth - palette.dense) / _TO_METAL, 0.0, 1.0)
        number = np.maximum(number, metal)
    light = np.empty((_DEPTHS, _RATIOS, 3))
    for channel in range(3):
        ink = np.interp(number, stops, [colour[channel] for _, colour in palette.inks])
        light[..., channel] = np.exp(-ink * seen - 0.08 * seen**2)
    # The last tenth of the range fades to black, which no ink reaches by itself.
    light *= np.clip((_DEPTH_LIMIT - depth) / (0.1 * _DEPTH_LIMIT), 0.0, 1.0)[..., None]
    # Where the hue turns with depth, from orange to green, a lighter ink must not outshine what was
    # thinner: more of a material is never brighter.
    total = light.sum(axis=2)
    light *= (np.minimum.accumulate(total, axis=0) / np.maximum(total, 1e-12))[..., None]
    colours = np.zeros((_DEPTHS, _RATIOS, 4), np.uint8)
    colours[..., :3] = np.rint(255.0 * light * palette.air)
    colours.flags.writeable = False
    return colours


def _attenuation(stray: int) -> F64:
    """-ln of the share of air that each count 0..65535 stands for, stray counts taken off.

    The difference d becomes (d + sqrt(d^2 + 4 s^2)) / 2, s being `_SOFT`, which has no corner where
    d vanishes, never reaches zero, and is undone by p - s^2 / p.
    """
    excess = np.arange(65536, dtype=np.float64) - stray
    primary = (excess + np.hypot(excess, 2 * _SOFT)) / 2
    depth: F64 = np.maximum(np.log((AIR_COUNTS - stray) / primary), 0.0)
    return depth


def _counts(depth: F64, stray: int) -> U16:
    """The counts behind matter of an attenuation: the inverse of `_attenuation`."""
    primary = (AIR_COUNTS - stray) * np.exp(-depth)
    counts: U16 = np.rint(np.maximum(primary - _SOFT**2 / primary + stray, 0)).astype(np.uint16)
    return counts


@functools.cache
def _count_tables() -> tuple[F32, F32, npt.NDArray[np.int32]]:
    """For each count: its attenuation when low and when high, and where its palette row starts."""
    low, high = (_attenuation(stray) for stray in _STRAY)
    rows = np.rint((_DEPTHS - 1) * np.sqrt(np.minimum(high / _DEPTH_LIMIT, 1.0)))
    return low.astype(np.float32), high.astype(np.float32), rows.astype(np.int32) * _RATIOS


def pseudo_colour(low: U16, high: U16, palette: Palette = TRADE) -> U8:
    """A picture for people of a dual-energy pair, uint8 RGB ``[h, w, 3]``; air is white.

    Args:
        low: Corrected low-energy counts, uint16 ``[h, w]``; air is `AIR_COUNTS`.
        high: Corrected high-energy counts, the same shape.
        palette: Another maker's colours, and air, than ours.

    Raises:
        ImageError: When the two are not equally large uint16 images.
    """
    if low.shape != high.shape or low.ndim != 2 or {low.dtype, high.dtype} != {np.dtype("uint16")}:
        raise ImageError(
            "a dual-energy pair cannot be shown",
            expected="two uint16 images of one size",
            found=f"low {low.dtype} {list(low.shape)}, high {high.dtype} {list(high.shape)}",
            remedy="Give the corrected counts of both energies",
        )
    of_low, of_high, rows = _count_tables()
    ratio = of_low[low]
    ratio += np.float32(_THIN * _WATER)
    ratio /= of_high[high] + np.float32(_THIN)
    steps = (_RATIOS - 1) / (_RATIO_LAST - _RATIO_FIRST)
    ratio -= np.float32(_RATIO_FIRST)
    ratio *= np.float32(steps)
    ratio += np.float32(0.5)
    np.clip(ratio, 0, _RATIOS - 1, out=ratio)
    index = rows[high]
    index += ratio.astype(np.int32)
    # One 32-bit word a pixel is gathered three times faster than three bytes.
    words = _colours(palette).view(np.uint32).reshape(-1)[index]
    rgba = words.view(np.uint8).reshape(*low.shape, 4)
    return np.ascontiguousarray(rgba[..., :3])


def _cells(rgb: U8) -> U16:
    """Which of 32 x 32 x 32 cells each colour ``[..., 3]`` is in; white and black are centres."""
    step: U16 = ((np.arange(256) * 31 + 127) // 255).astype(np.uint16)
    red, green, blue = (step[rgb[..., channel]] for channel in range(3))
    index = red * np.uint16(1024) + green * np.uint16(32) + blue
    return index.astype(np.uint16)


@functools.cache
def _inverse() -> tuple[U16, U16]:
    """Low and high counts of the palette's nearest colour, for the centre of each cell."""
    depths, ratios = _depth_axis(), _ratio_axis()
    # A picture cannot hold what lies below its palette's black; 0.85 keeps a trace of light.
    usable = depths <= 0.85 * _DEPTH_LIMIT
    colours = _colours(TRADE)[usable, :, :3].reshape(-1, 3)
    levels = np.arange(32) * np.float32(255 / 31)
    centres = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    # One colour of the palette a cell, the nearest to its centre, leaves few enough to search.
    cells = _cells(colours)
    offset = ((colours - centres[cells]) ** 2).sum(1)
    order = np.lexsort((offset, cells))
    chosen = order[np.unique(cells[order], return_index=True)[1]]
    palette = colours[chosen].astype(np.float32)
    squares = (palette**2).sum(1)
    nearest = np.concatenate(
        [np.argmin(squares - 2 * block @ palette.T, axis=1) for block in np.split(centres, 32)]
    )
    row, column = np.divmod(chosen[nearest], ratios.size)
    depth, ratio = depths[row], ratios[column]
    low_depth = np.maximum(ratio * (depth + _THIN) - _THIN * _WATER, 0.0)
    return _counts(low_depth, _STRAY[0]), _counts(depth, _STRAY[1])


def counts_from_pseudo_colour(rgb: U8) -> tuple[U16, U16]:
    """Approximate corrected counts (low, high) of a pseudo-colour picture, uint16 ``[h, w]`` each.

    Every colour becomes the nearest colour of our own palette, in steps of 8 grey levels. Other
    makers' palettes differ and eight bits hold less than sixteen, so this is a guess: good enough
    to put a picture before a model of dual-energy planes, and no measurement of anything.

    Args:
        rgb: uint8 ``[h, w, 3]``, red first.

    Raises:
        ImageError: When it is not such a picture.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ImageError(
            "a pseudo-colour picture cannot be used",
            expected="uint8 [height, width, 3]",
            found=f"{rgb.dtype} {list(rgb.shape)}",
        )
    low, high = _inverse()
    index = _cells(rgb)
    return low[index], high[index]


@dataclass(frozen=True)
class Placement:
    """Where a picture lies after a resize: pure geometry, and its inverse.

    Attributes:
        source_height: Height of the picture, pixels.
        source_width: Width of the picture, pixels.
        height: Height of the resized picture, without padding.
        width: Width of the resized picture, without padding.
        left: Columns of padding to its left.
        top: Rows of padding above it.
    """

    source_height: int
    source_width: int
    height: int
    width: int
    left: int = 0
    top: int = 0

    def __post_init__(self) -> None:
        if min(self.source_height, self.source_width, self.height, self.width) < 1:
            raise ImageError(
                "a picture vanishes when it is resized",
                expected="at least one pixel each way",
                found=f"{self.source_width} x {self.source_height} to {self.width} x {self.height}",
                remedy="Check the size of a pixel in millimetres",
            )

    @staticmethod
    def scaled(height: int, width: int, scale: float) -> Placement:
        """A resize by ``scale`` each way, to the nearest whole pixel."""
        return Placement(height, width, round(height * scale), round(width * scale))

    @staticmethod
    def letterbox(height: int, width: int, to_height: int, to_width: int) -> Placement:
        """The largest resize that fits ``to_height`` by ``to_width``, in its middle."""
        scale = min(to_height / height, to_width / width)
        h = min(max(round(height * scale), 1), to_height)
        w = min(max(round(width * scale), 1), to_width)
        return Placement(height, width, h, w, (to_width - w) // 2, (to_height - h) // 2)

    @property
    def _factors(self) -> F32:
        x, y = self.width / self.source_width, self.height / self.source_height
        return np.array([x, y, x, y], np.float32)

    @property
    def _offsets(self) -> F32:
        return np.array([self.left, self.top, self.left, self.top], np.float32)

    def resize(self, picture: U8) -> U8:
        """The picture resized without padding: area-averaged when it shrinks, else linear."""
        if picture.shape[:2] != (self.source_height, self.source_width):
            raise ImageError(
                "a picture does not fit its placement",
                expected=f"{self.source_height} x {self.source_width} pixels",
                found=f"{picture.shape[0]} x {picture.shape[1]}",
            )
        shrinks = self.height * self.width < self.source_height * self.source_width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (self.width, self.height), interpolation=how)
        return np.asarray(resized, np.uint8)

    def to_target(self, boxes: F32) -> F32:
        """Boxes ``[n, 4]`` of the picture in pixels of the resized, padded one."""
        return (boxes * self._factors + self._offsets).astype(np.float32)

    def to_source(self, boxes: F32) -> F32:
        """Boxes ``[n, 4]`` of the resized, padded picture in pixels of the picture."""
        return ((boxes - self._offsets) / self._factors).astype(np.float32)


def pad_planes(planes: U8, height: int, width: int, fill: U8) -> U8:
    """The planes in the top left corner of a larger window, uint8 ``[3, height, width]``.

    Args:
        planes: uint8 ``[3, h, w]``, h and w not above the window's.
        height: Height of the window.
        width: Width of the window.
        fill: Value of each plane around them, uint8 ``[3]``, such as `encode.AIR_PLANES`.
    """
    window = np.empty((3, height, width), np.uint8)
    window[:] = fill[:, None, None]
    window[:, : planes.shape[1], : planes.shape[2]] = planes
    return window
