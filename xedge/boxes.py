"""Box arithmetic on float32 ``[n, 4]`` arrays of x1 y1 x2 y2. Pure: new arrays come back.

>>> import numpy as np
>>> a = np.array([[0, 0, 10, 10]], np.float32)
>>> float(iou(a, np.array([[5, 0, 15, 10]], np.float32))[0, 0])
0.3333333432674408
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from xedge.types import F32, I32


def area(boxes: F32) -> F32:
    """Area of each box in square pixels, ``[n]``; zero for an inverted box."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    product: F32 = sides[:, 0] * sides[:, 1]
    return product


def intersection(a: F32, b: F32) -> F32:
    """Area shared by each box of ``a [n, 4]`` with each of ``b [m, 4]``, ``[n, m]``."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0)
    shared: F32 = sides[..., 0] * sides[..., 1]
    return shared


def iou(a: F32, b: F32) -> F32:
    """Intersection over union of each box of ``a [n, 4]`` with each of ``b [m, 4]``, ``[n, m]``."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - shared
    ratio: F32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def clip(boxes: F32, height: float, width: float) -> F32:
    """The boxes cut off at an image of ``height`` by ``width`` pixels."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, np.float32(0), limit).astype(np.float32)


def nms(
    boxes: F32, scores: F32, labels: I32, threshold: float, limit: int = 100
) -> npt.NDArray[np.intp]:
    """Indices of the boxes kept by greedy non-maximum suppression within each class.

    The best score is kept first and suppresses what overlaps it by more than ``threshold``
    within its class; stopping at ``limit`` kept boxes is exact, since they come by score.
    Ties keep the lower index, so every platform gives the same order.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size and len(kept) < limit:
        best, order = order[0], order[1:]
        kept.append(int(best))
        same = labels[order] == labels[best]
        overlap = iou(boxes[best : best + 1], boxes[order])[0]
        order = order[~(same & (overlap > threshold))]
    return np.asarray(kept, np.intp)
