"""Pictures of screened bags: a file for each bag, and small ones inside the report."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xedge.errors import ConfigError
from xedge.page import data_uri, encoded
from xedge.preprocess import pseudo_colour
from xedge.types import AIR_COUNTS, U8, U16, Scan

THUMB_PIXELS = 72
"""Height of a bag on the report's belt: the belt's width."""

MARGIN = 24
"""Elements of air beside a bag in the report's pictures."""


@dataclass(frozen=True)
class BagPicture:
    """A scan as the report shows it.

    Attributes:
        file: Name of the PNG in the report's folder: the whole scan, at half its size.
        left: First element that the report's picture shows.
        width: Elements that it shows.
        lines: Lines of the scan; all are shown.
        jpeg: The report's picture, a data URI.
        thumb: The scan as it lies on the belt, which runs from right to left; a data URI.
        thumb_width: Width of `thumb`, pixels.
    """

    file: str
    left: int
    width: int
    lines: int
    jpeg: str
    thumb: str
    thumb_width: int


def open_gallery(folder: Path) -> None:
    """Return when the folder is there and can be written, without the results of a run before.

    Raises:
        ConfigError: When it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in [*folder.glob("bag-[0-9]*.png"), folder / "report.html", folder / "demo.json"]:
            old.unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # an error now, not after the first bag
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be used",
            found=error.strerror or str(error),
            remedy="Name another one with --out",
        ) from error


def draw_bag(scan: Scan, folder: Path) -> BagPicture:
    """The pictures of a scan; its PNG is written into the folder.

    Args:
        scan: Corrected lines of one bag.
        folder: Where the PNG goes.
    """
    rgb = pseudo_colour(scan.low, scan.high)
    lines, elements = rgb.shape[:2]
    half = _resized(rgb, elements // 2, lines // 2)
    file = f"bag-{scan.bag:03d}.png"
    (folder / file).write_bytes(encoded(half, ".png"))
    left, right = _extent(scan.low)
    size = THUMB_PIXELS / elements
    # The belt runs from right to left: what is scanned first lies to the left.
    belt = np.ascontiguousarray(half.transpose(1, 0, 2))
    thumb = _resized(belt, max(round(lines * size), 1), THUMB_PIXELS)
    return BagPicture(
        file=file,
        left=left,
        width=right - left,
        lines=lines,
        jpeg=data_uri(rgb[:, left:right]),
        thumb=data_uri(thumb),
        thumb_width=thumb.shape[1],
    )


def _extent(low: U16) -> tuple[int, int]:
    """First and last-but-one element of what is not air, with a margin; all when that is little."""
    matter = np.flatnonzero(np.count_nonzero(low < AIR_COUNTS * 0.92, axis=0) >= 8)
    elements = low.shape[1]
    if not matter.size or matter[-1] - matter[0] < elements // 8:
        return 0, elements
    return max(int(matter[0]) - MARGIN, 0), min(int(matter[-1]) + 1 + MARGIN, elements)


def _resized(rgb: U8, width: int, height: int) -> U8:
    size = (max(width, 1), max(height, 1))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
