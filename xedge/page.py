"""Pages for people: one HTML file that needs nothing beside it, drawn in one style.

A page's template lies beside the module that fills it and begins with ``{% include "page.css" %}``.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from xedge.types import U8

if TYPE_CHECKING:
    import jinja2

JPEG_QUALITY: Final = 84
"""Of the pictures inside a page: 40 of them are a few MB."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A box in a picture, with its label's place; all in the picture's units.

    Attributes:
        kind: ``found``, ``false``, ``missed`` or ``truth``.
        box: x, y, width, height.
        text: What its label says; empty for none.
        label: x, y, width, height of the label's plate.
        tip: What it is, in a sentence.
    """

    kind: str
    box: Box
    text: str
    label: Box
    tip: str


def page_environment(templates: Path) -> jinja2.Environment:
    """Where templates are found and how they are filled: values escaped, unknown names refused.

    Args:
        templates: Folder of the page's own templates; the shared style is found by itself.

    Raises:
        ModuleNotFoundError: Without jinja2 (extra ``report``).
    """
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def encoded(rgb: U8, kind: str, *flags: int) -> bytes:
    """The picture ``[h, w, 3]`` or ``[h, w]`` as a file of a kind, such as ``.png``."""
    good, data = cv2.imencode(
        kind, np.ascontiguousarray(rgb[..., ::-1] if rgb.ndim == 3 else rgb), flags
    )
    assert good  # an 8-bit picture in memory can always be encoded
    return bytes(data.tobytes())


def data_uri(rgb: U8) -> str:
    """The picture as a JPEG inside a page."""
    jpeg = encoded(rgb, ".jpg", cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def labelled_mark(
    kind: str, box: Box, text: str, tip: str, font: float, frame: Box, taken: list[Box]
) -> Mark:
    """A mark whose label avoids those in ``taken``, and joins them.

    Args:
        kind: As `Mark` says.
        box: x1, y1, x2, y2.
        text: What the label says.
        tip: What it is, in a sentence.
        font: Size of the label's letters.
        frame: x, y, width, height of the picture; the label stays inside.
        taken: Plates of the labels placed so far.
    """
    x1, y1, x2, y2 = box
    width, height = font * (0.62 * len(text) + 0.7), font * 1.4
    # Above and below the box, flush with either side, then beside it, then further away.
    rows = [(y1 - (k + 1) * height, y2 + k * height) for k in range(4)]
    edges = [(x, y) for row in rows for x in (x1, x2 - width) for y in row]
    spots = [*edges[:4], (x1, y1), (x1, y2 - height), (x2, y1), (x1 - width, y1), *edges[4:]]
    inside = [_kept_in((x, y, width, height), frame) for x, y in spots]
    free = [spot for spot in inside if not any(_overlap(spot, other) for other in taken)]
    label = (free or inside)[0]
    taken.append(label)
    return Mark(kind, sides(box), text, label, tip)


def sides(box: Box) -> Box:
    """The x, y, width and height of a box x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    return x1, y1, x2 - x1, y2 - y1


def _kept_in(plate: Box, frame: Box) -> Box:
    x, y, width, height = plate
    left, top, wide, high = frame
    x = max(left, min(x, left + wide - width))
    return x, max(top, min(y, top + high - height)), width, height


def _overlap(a: Box, b: Box) -> bool:
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    along = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return across > 0 and along > 0


def round_step(span: float, most: int) -> float:
    """The smallest 1, 2 or 5 times a power of ten that goes less than ``most`` times into span.

    >>> round_step(175.0, 30), round_step(180.0, 8)
    (10.0, 50.0)
    """
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(s * power for s in (1, 2, 5, 10, 20) if span / (s * power) < most)


def ticks(end: float, most: int) -> list[float]:
    """Round numbers from 0 to ``end``.

    >>> ticks(180.0, 8)
    [0.0, 50.0, 100.0, 150.0]
    """
    step = round_step(end, most)
    return [round(k * step, 6) for k in range(math.floor(end / step + 1e-9) + 1)]
