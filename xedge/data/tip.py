"""Threat image projection: an object cut out of one scan and seen through another.

What a detector counts behind two objects is air times the product of their transmissions
(Beer-Lambert), so that inserting an object multiplies; nothing ever becomes brighter, and where
the cut-out shows nothing, nothing changes. What this approximates:

- The scan is taken for monochromatic. In each energy of a real, polychromatic tube the first
  object hardens the beam, and the product is a little too dark. Scatter is not modelled.
- A dual-energy pair multiplies in each energy, and the ratio plane by the ratio of ratios.
- Pseudo-colour is no transmission: colours are multiplied as if each channel were one, like
  filters laid on each other. Dark colours come out darker than the scanner's palette has them.
- What lay over and under the object is unknown. It is estimated from the pixels around the box
  and divided out; what is left of clutter comes along with the object.
- Turned or scaled, an object keeps its thickness; it is turned in the picture's plane only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from xedge.encode import RATIO_LIMIT, RATIO_STEPS, RATIO_TABLE
from xedge.errors import DataError, ImageError
from xedge.spec import Channels
from xedge.types import F32, U8

LEAST_DEPTH = 0.03
"""Depth -ln(transmission) below which a pixel counts as background: about 3 % of light."""

NOISES = 4.0
"""Background too: what is no deeper than this many deviations of the pixels around the box."""

LEAST_PIXELS = 4
LEAST_FILL = 0.06
"""Share of its box that the largest piece of an object covers: a thin blade across it does."""

LEAST_WHOLE = 0.6
"""Share of all pieces that the largest has."""

SCALES = (0.85, 1.15)
"""Sizes that `insert` draws: the families of real objects vary about as much."""


@dataclass(frozen=True, eq=False)
class CutOut:
    """An object without its background.

    Attributes:
        depth: -ln(transmission) of each plane, float32 ``[3, h, w]``, zero where nothing is; the
            third of dual energy is the logarithm of the object's ratio of high to low.
        channels: What the planes are.
    """

    depth: F32
    channels: Channels

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return int(self.depth.shape[1]), int(self.depth.shape[2])


def _ratios() -> npt.NDArray[np.float64]:
    """The ratio that each value of dual energy's third plane stands for, float64 ``[256]``."""
    values = np.arange(256)
    first = np.searchsorted(RATIO_TABLE, values, "left")
    last = np.maximum(np.searchsorted(RATIO_TABLE, values, "right") - 1, first)
    return np.maximum((first + last) / 2, 1) / RATIO_STEPS


_RATIOS = _ratios()


def cut_out(
    planes: U8,
    box: Sequence[float] | F32,
    air: U8,
    channels: Channels = Channels.PSEUDO_COLOUR,
) -> CutOut:
    """The object in a box, its surroundings divided out.

    The background inside the box is interpolated from a ring around it (from air, where the
    ring is empty), so that a bag's lining or a garment over the object goes away and the object
    stays.

    Args:
        planes: uint8 ``[3, h, w]`` of the scan that shows the object.
        box: x1 y1 x2 y2 of the object, pixels.
        air: What air reads in each plane, ``[3]``: 255 in colour, `xedge.encode.AIR_PLANES`.
        channels: What the planes are.

    Raises:
        ImageError: When the planes are no uint8 ``[3, h, w]``.
        DataError: When the box is not in the image, or nothing in it stands out.
    """
    _check(planes)
    _, height, width = planes.shape
    x1, y1 = (int(np.floor(max(float(v), 0.0))) for v in box[:2])
    x2, y2 = (int(np.ceil(min(float(v), n))) for v, n in zip(box[2:], (width, height), strict=True))
    if x2 - x1 < 2 or y2 - y1 < 2:
        raise DataError("an object cannot be cut out", expected="a box of 2 x 2 pixels or more",
                        found=f"{[float(v) for v in box]} in {width} x {height}")  # fmt: skip
    rim = max(2, round(0.05 * max(x2 - x1, y2 - y1)))
    left, top = max(x1 - rim, 0), max(y1 - rim, 0)
    right, bottom = min(x2 + rim, width), min(y2 + rim, height)
    light = _light(planes[:, top:bottom, left:right], air, channels)
    depth = np.empty_like(light)
    noise = 0.0
    inside = slice(y1 - top, y2 - top), slice(x1 - left, x2 - left)
    around = np.ones(light.shape[1:], np.bool_)
    around[inside] = False
    for k, plane in enumerate(light):
        depth[k] = _background(plane, rim) - plane
        if around.any() and (k < 2 or channels is Channels.PSEUDO_COLOUR):
            noise = max(noise, 1.4826 * float(np.median(np.abs(depth[k][around]))))
    depth = depth[:, inside[0], inside[1]].copy()
    attenuating = depth[:2] if channels is Channels.DUAL_ENERGY else depth
    mask = attenuating.max(axis=0) > max(LEAST_DEPTH, NOISES * noise)
    mask = _body(mask)
    if not mask.any():
        raise DataError(
            "an object cannot be cut out",
            expected="pixels darker than what is around the box",
            found=f"none in {[float(v) for v in box]}",
            remedy="Take another object: this one is hidden, or its box is beside it",
        )
    depth[:, ~mask] = 0
    attenuating = depth[:2] if channels is Channels.DUAL_ENERGY else depth
    np.maximum(attenuating, 0, out=attenuating)
    return CutOut(_tight(depth), channels)


def _body(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest piece of a mask and those of a tenth of it or more; none when it is in bits.

    What is smaller is noise, or the rim of something else. An object that is lighter than its
    surroundings, or hidden among edges, leaves bits only.
    """
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sizes = stats[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0  # the background
    largest = sizes.max()
    if largest < max(LEAST_PIXELS, LEAST_FILL * mask.size, LEAST_WHOLE * sizes.sum()):
        return np.zeros_like(mask)
    kept: npt.NDArray[np.bool_] = (sizes * 10 >= largest)[pieces] & mask
    return kept


def _tight(depth: F32) -> F32:
    """The depth without empty rows and columns at its edges."""
    ys, xs = np.nonzero(depth.any(axis=0))
    return np.ascontiguousarray(depth[:, ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])


def _check(planes: U8) -> None:
    if planes.ndim != 3 or planes.shape[0] != 3 or planes.dtype != np.uint8:
        raise ImageError("planes cannot be used", expected="uint8 [3, height, width]",
                         found=f"{planes.dtype} {list(planes.shape)}")  # fmt: skip


def _light(planes: U8, air: U8, channels: Channels) -> F32:
    """Ln(transmission) of planes; of dual energy's third minus the logarithm of its ratio."""
    # A count of 0 is at most half a step: its logarithm would have no end.
    light = np.log(np.maximum(planes.astype(np.float32), 0.5))
    light -= np.log(air.astype(np.float32))[:, None, None]
    np.minimum(light, 0, out=light)
    if channels is Channels.DUAL_ENERGY:
        light[2] = -np.log(_RATIOS[planes[2]])
    return np.asarray(light, np.float32)


def _background(plane: F32, rim: int) -> F32:
    """What the plane would be without the object: a Coons patch through its four edges.

    An edge is the brightest of its ring at each place, smoothed: an object that touches its box
    or a strap beside it is no background.
    """
    smooth = np.asarray(cv2.blur(plane, (3, 3), borderType=cv2.BORDER_REPLICATE), np.float32)
    h, w = plane.shape
    depth_y, depth_x = min(rim, h), min(rim, w)
    upper, lower = _edge(smooth[:depth_y].max(axis=0)), _edge(smooth[-depth_y:].max(axis=0))
    left, right = _edge(smooth[:, :depth_x].max(axis=1)), _edge(smooth[:, -depth_x:].max(axis=1))
    y, x = np.linspace(0, 1, h)[:, None], np.linspace(0, 1, w)[None, :]
    between = (1 - y) * upper + y * lower + (1 - x) * left[:, None] + x * right[:, None]
    corners = (
        (1 - x) * (1 - y) * (upper[0] + left[0])
        + x * (1 - y) * (upper[-1] + right[0])
        + (1 - x) * y * (lower[0] + left[-1])
        + x * y * (lower[-1] + right[-1])
    ) / 2
    edges = np.concatenate([upper, lower, left, right])
    patch: F32 = np.clip(between - corners, edges.min(), edges.max()).astype(np.float32)
    return patch


def _edge(line: F32) -> F32:
    """A line smoothed over a quarter of its length."""
    size = max(len(line) // 4, 1) | 1
    return np.asarray(
        cv2.blur(line[None], (size, 1), borderType=cv2.BORDER_REPLICATE)[0], np.float32
    )


def turn(cutout: CutOut, rng: np.random.Generator, scales: tuple[float, float] = SCALES) -> CutOut:
    """The object mirrored by chance, turned by any angle and scaled a little.

    Args:
        cutout: The object.
        rng: Draws mirror, angle and scale.
        scales: Least and greatest scale.
    """
    depth = cutout.depth[:, :, ::-1] if rng.random() < 0.5 else cutout.depth
    angle, scale = rng.uniform(0, 360), rng.uniform(*scales)
    h, w = cutout.shape
    matrix = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle, scale)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_w, new_h = int(np.ceil(w * cos + h * sin)) + 2, int(np.ceil(w * sin + h * cos)) + 2
    matrix[:, 2] += np.array([(new_w - w) / 2, (new_h - h) / 2])
    # Depth is what adds up along a ray: interpolated depth is that of a blurred object.
    rows = np.ascontiguousarray(depth.transpose(1, 2, 0))
    turned: F32 = (
        np.asarray(cv2.warpAffine(rows, matrix, (new_w, new_h), borderValue=0), np.float32)
        .transpose(2, 0, 1)
        .copy()
    )
    body = turned[: 2 if cutout.channels is Channels.DUAL_ENERGY else 3].max(axis=0)
    turned[:, body < LEAST_DEPTH / 2] = 0
    return CutOut(_tight(turned), cutout.channels) if turned.any() else cutout


def insert(
    planes: U8,
    cutout: CutOut,
    x: float,
    y: float,
    rng: np.random.Generator | None,
    air: U8,
) -> tuple[U8, F32]:
    """A copy of the scan with the object in it, and the object's box.

    Args:
        planes: uint8 ``[3, h, w]`` of the scan to insert into, of the cut-out's channels.
        cutout: The object.
        x: Where its middle goes, pixels from the left; moved inwards where it would stick out.
        y: The same from the top.
        rng: Mirrors, turns and scales the object (`turn`); None inserts it as it is.
        air: What air reads in each plane, ``[3]``.

    Returns:
        Planes uint8 ``[3, h, w]``, no pixel of a transmission plane brighter than before or
        than the object in air, and unchanged outside the box; the box float32 ``[4]``, x1 y1 x2
        y2. Of an object larger than the image the part that fits is inserted.

    Raises:
        ImageError: When the planes are no uint8 ``[3, h, w]``.
    """
    _check(planes)
    moved = cutout if rng is None else turn(cutout, rng)
    _, height, width = planes.shape
    depth = moved.depth[:, :height, :width]
    h, w = depth.shape[1:]
    left = int(np.clip(round(x - w / 2), 0, width - w))
    top = int(np.clip(round(y - h / 2), 0, height - h))
    result = np.array(planes)
    piece = result[:, top : top + h, left : left + w]
    here = depth.any(axis=0)
    filtered = np.minimum(piece, air[:, None, None]) * np.exp(-depth)
    value = np.rint(filtered).astype(np.uint8)
    if moved.channels is Channels.DUAL_ENERGY:
        ratio = _RATIOS[piece[2]] * np.exp(depth[2])
        index = np.clip(np.rint(ratio * RATIO_STEPS), 0, RATIO_LIMIT).astype(np.intp)
        value[2] = RATIO_TABLE[index]
    piece[:, here] = value[:, here]
    return result, np.array([left, top, left + w, top + h], np.float32)
