"""Boxes and names drawn into pictures for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from xedge.types import F32, I32, U8, Detections

COLOURS: Final[tuple[tuple[int, int, int], ...]] = (
    (200, 0, 60),
    (140, 0, 200),
    (0, 90, 220),
    (0, 120, 110),
    (170, 90, 0),
    (220, 0, 160),
)
"""Red, green, blue of the classes in turn: dark enough for white air, and none of the palette's."""


def draw_detections(rgb: U8, found: Detections, classes: Sequence[str]) -> U8:
    """A copy of the picture with a box and ``name score`` for each detection.

    Args:
        rgb: uint8 ``[h, w, 3]``.
        found: What was found, in the picture's pixels.
        classes: Names of the labels.
    """
    texts = [
        f"{classes[int(label)]} {score:.2f}"
        for label, score in zip(found.labels, found.scores, strict=True)
    ]
    return draw_boxes(rgb, found.boxes, found.labels, texts)


def draw_boxes(rgb: U8, boxes: F32, labels: I32, texts: Sequence[str]) -> U8:
    """A copy of the picture with boxes and a text at each; the first is drawn on top.

    Args:
        rgb: uint8 ``[h, w, 3]``.
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2, pixels.
        labels: int32 ``[n]``, from which the colours come.
        texts: What is written at each box.
    """
    picture = np.ascontiguousarray(rgb).copy()
    size = max(picture.shape[:2]) / 1000.0
    thick = max(round(2 * size), 1)
    # The best detection comes first, and is drawn last, on top of the others.
    for k in reversed(range(len(boxes))):
        x1, y1, x2, y2 = (round(float(v)) for v in boxes[k])
        colour = COLOURS[int(labels[k]) % len(COLOURS)]
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thick)
        _write(picture, texts[k], x1, y1, colour, max(0.5 * size, 0.35))
    return picture


def _write(
    picture: U8, text: str, x: int, y: int, colour: tuple[int, int, int], scale: float
) -> None:
    """Text on a plate of the colour above the point, or below it at the picture's upper edge."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), baseline = cv2.getTextSize(text, font, scale, 1)
    top = y - height - baseline - 2
    top = top if top >= 0 else y
    left = max(min(x, picture.shape[1] - width - 2), 0)
    cv2.rectangle(
        picture, (left, top), (left + width + 2, top + height + baseline + 2), colour, cv2.FILLED
    )
    at = (left + 1, top + height + 1)
    cv2.putText(picture, text, at, font, scale, (255, 255, 255), 1, cv2.LINE_AA)
