"""Which detections hit which objects: the one matching that all metrics of boxes count on.

A detection matches the best-overlapping unmatched object of its class and image with IoU at
least the threshold; each object is matched once; detections are taken in order of falling score.
That is COCO's rule. PASCAL VOC's differs where objects of one class overlap: there a detection
looks at its best-overlapping object only, matched or not.

Some objects do not count: those of another level, and difficult ones. A detection that matches
such an object, having found none that counts, is ignored: it is neither right nor wrong. An object
of another level takes one detection, as in COCO's area ranges; a difficult one any number, as in
PASCAL VOC (Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010,
section 4.1, and its development kit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge import boxes as box_arithmetic
from xedge.errors import InputError
from xedge.types import F32, I32, Detections

COCO_THRESHOLDS: tuple[float, ...] = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))
"""IoU 0.50, 0.55, ... 0.95."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects that are really in one image.

    Attributes:
        boxes: float32 ``[n, 4]``, x1 y1 x2 y2, in the pixels of the detections.
        labels: int32 ``[n]``, index into the class names.
        levels: int32 ``[n]``, the level of each object, or None where there are none.
        difficult: bool ``[n]``, True for an object that need not be found, or None where all must.

    Raises:
        InputError: On shapes that do not fit together.
    """

    boxes: F32
    labels: I32
    levels: I32 | None = None
    difficult: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = self.labels.shape[0] if self.labels.ndim == 1 else -1
        optional = {"levels": self.levels, "difficult": self.difficult}
        given = {name: array.shape for name, array in optional.items() if array is not None}
        if self.boxes.shape != (n, 4) or any(shape != (n,) for shape in given.values()):
            raise InputError(
                "the objects of an image do not fit together",
                expected="boxes [n, 4], labels [n], levels and difficult [n] or None",
                found=f"boxes {self.boxes.shape}, labels {self.labels.shape}"
                + "".join(f", {name} {shape}" for name, shape in given.items()),
            )
        if self.difficult is not None and self.difficult.dtype != np.bool_:
            raise InputError(
                "the mark of difficult objects cannot be used",
                expected="bool",
                found=str(self.difficult.dtype),
            )

    def counted(self, label: int | None = None, level: int | None = None) -> npt.NDArray[np.bool_]:
        """Which objects must be found, bool ``[n]``: those of the class and level, not difficult.

        Args:
            label: Only objects of this class; None takes all.
            level: Only objects of this level, where there are levels; None takes all.
        """
        chosen = np.ones(self.labels.shape, bool)
        if self.difficult is not None:
            chosen &= ~self.difficult
        if label is not None:
            chosen &= self.labels == label
        if level is not None and self.levels is not None:
            chosen &= self.levels == level
        return chosen


@dataclass(frozen=True, eq=False)
class Matches:
    """What the detections of one class hit, highest score first, at each of ``t`` thresholds.

    Attributes:
        scores: float32 ``[n]``.
        hit: bool ``[t, n]``, the detection found an object that counts.
        ignored: bool ``[t, n]``, the detection found one that does not.
        objects: Number of objects that count.
    """

    scores: F32
    hit: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]
    objects: int


def match(
    detections: Detections, truth: Truth, label: int, level: int | None, thresholds: Sequence[float]
) -> Matches:
    """The greedy matches of one class in one image. Objects that count go before ignored ones.

    Args:
        detections: Of the image.
        truth: Of the image.
        label: The class.
        level: Count only the objects of this level; None counts all.
        thresholds: Of the IoU, rising.
    """
    rows = np.flatnonzero(detections.labels == label)
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    objects = np.flatnonzero(truth.labels == label)
    counted = truth.counted(level=level)[objects]
    lasting = np.zeros(objects.size, bool) if truth.difficult is None else truth.difficult[objects]
    overlap = box_arithmetic.iou(detections.boxes[rows], truth.boxes[objects])
    limits = np.array(thresholds, np.float32)
    hit = np.zeros((limits.size, rows.size), bool)
    ignored = hit.copy()
    free = np.ones((limits.size, objects.size), bool)
    # Most detections reach no object at all: only the others need the greedy loop.
    for row in np.flatnonzero((overlap >= limits[0]).any(axis=1)):
        open_yet = np.ones(limits.size, bool)
        for wanted, mark in ((counted, hit), (~counted, ignored)):
            reach = np.where(free & wanted, overlap[row], np.float32(-1))
            best = reach.argmax(axis=1)
            taken = open_yet & (reach[np.arange(limits.size), best] >= limits)
            free[taken, best[taken]] = lasting[best[taken]]
            mark[taken, row] = True
            open_yet &= ~taken
    return Matches(detections.scores[rows], hit, ignored, int(counted.sum()))


def match_all(
    images: Sequence[tuple[Detections, Truth]],
    label: int,
    level: int | None = None,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
) -> Matches:
    """The matches of one class in all images, ties in the order of images and rows.

    Args:
        images: Detections and truth of each image.
        label: The class.
        level: Count only the objects of this level; None counts all.
        thresholds: Of the IoU, rising.

    Raises:
        InputError: When a threshold lies outside its range; at 0 every detection would hit.
    """
    for iou in thresholds:
        if not 0 < iou <= 1:
            raise InputError(
                "an IoU threshold cannot be used", expected="above 0 and at most 1", found=str(iou)
            )
    parts = [match(d, t, label, level, thresholds) for d, t in images]
    if not parts:
        none = np.zeros((len(thresholds), 0), bool)
        return Matches(np.zeros(0, np.float32), none, none, 0)
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    return Matches(
        scores[order],
        np.concatenate([part.hit for part in parts], axis=1)[:, order],
        np.concatenate([part.ignored for part in parts], axis=1)[:, order],
        sum(part.objects for part in parts),
    )


def threshold_between(kept: float, below: float) -> float:
    """A score threshold that keeps ``kept`` and drops ``below``, halfway where float32 has room.

    The answer is a float32 number, so that ``score >= threshold`` says the same in float32 and in
    float64.

    >>> threshold_between(0.75, 0.25)
    0.5
    """
    middle = np.float32((float(kept) + float(below)) / 2)
    return float(middle if middle > np.float32(below) else np.float32(kept))


def check_labels(image: int, labels: I32, classes: int) -> None:
    """Nothing, when all labels of an image are classes.

    Raises:
        InputError: When one is not.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(
            f"image {image} has a label that is no class",
            expected=f"0..{classes - 1}",
            found=f"{labels.min()}..{labels.max()}",
        )


def pair_images(
    detections: Sequence[Detections],
    truths: Sequence[Truth],
    classes: int | None = None,
    level: int | None = None,
) -> list[tuple[Detections, Truth]]:
    """Detections and truth of each image, checked.

    Args:
        detections: One value an image.
        truths: The truth of the same images, in the same order.
        classes: Number of classes that the labels must lie in; None leaves them unchecked.
        level: The level that will be counted, None for all.

    Raises:
        InputError: When the two lists differ in length, a label is no class, or levels are asked
            for and an image has none.
    """
    if len(detections) != len(truths):
        raise InputError(
            "detections and truth are not of the same images",
            expected=f"{len(truths)} images",
            found=f"{len(detections)}",
        )
    images = list(zip(detections, truths, strict=True))
    for index, (found, truth) in enumerate(images):
        if classes is not None:
            check_labels(index, np.concatenate([found.labels, truth.labels]), classes)
        if level is not None and truth.levels is None:
            raise InputError(
                f"image {index} has no levels",
                expected=f"a level for each object, to count those of level {level}",
                found="none",
            )
    return images
