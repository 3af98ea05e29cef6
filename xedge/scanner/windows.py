"""Windows with overlap along the belt, cut while a scan grows, and their detections merged.

A model sees ``lines`` lines of belt at once. Window k starts at line ``k * stride`` and can be
screened as soon as its lines are in; when the bag ends, one last window is aligned to its end.
Two neighbouring windows share at least ``overlap`` lines, so an object that is not longer than
that lies whole in at least one of them.

Merging, in this order, because a cut box may score higher than the whole one and would win a
plain non-maximum suppression:

1. A box that touches an inner edge of its window is *cut*. If a window beyond that edge shows
   the same class there whole, the cut box goes, and the whole one keeps the better score.
2. Two cut boxes of one class that meet across the overlap become one box around both: an
   object longer than the overlap.
3. Non-maximum suppression within each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xedge import boxes as box
from xedge.encode import dual_energy_planes
from xedge.errors import ConfigError
from xedge.spec import ModelSpec
from xedge.types import F32, I32, U8, U16, Detections

EDGE_PIXELS = 2
"""A box that ends this close to a window's edge, in pixels of the planes, may be cut by it."""

SAME_OBJECT = 0.5
"""Share of a cut box (or of the narrower of two) that must lie in the other to be one object."""


@dataclass(frozen=True)
class WindowPlan:
    """How a scan is cut into windows.

    Attributes:
        lines: Lines of the belt in one window, a multiple of `binning`.
        overlap: Lines that neighbouring windows share at the least.
        binning: Lines and elements averaged into one pixel.

    Raises:
        ConfigError: When the numbers do not fit together.
    """

    lines: int = 832
    overlap: int = 128
    binning: int = 2

    def __post_init__(self) -> None:
        whole = self.lines % self.binning == 0 and self.overlap % self.binning == 0
        if not whole or not 0 <= self.overlap < self.lines or not 1 <= self.binning <= 8:
            raise ConfigError(
                "windows cannot be cut like this",
                expected="binning 1..8, lines and overlap multiples of it, overlap below lines",
                found=f"lines {self.lines}, overlap {self.overlap}, binning {self.binning}",
            )

    @staticmethod
    def for_model(spec: ModelSpec, overlap: int | None = None) -> WindowPlan:
        """The plan that fits a model's window height and binning.

        Without an ``overlap`` it is 128 lines, or half of a window that is smaller than twice that.
        """
        if overlap is None:
            overlap = min(WindowPlan.overlap // spec.binning, spec.height // 2) * spec.binning
        return WindowPlan(spec.height * spec.binning, overlap, spec.binning)

    @property
    def stride(self) -> int:
        """Lines from the start of one window to that of the next."""
        return self.lines - self.overlap

    def starts(self, lines: int) -> tuple[int, ...]:
        """First lines of all windows of a finished scan of ``lines`` lines.

        The last is aligned to the scan's end and starts on a multiple of the binning.
        """
        if lines <= self.lines:
            return (0,)
        last = -(-(lines - self.lines) // self.binning) * self.binning
        return (*range(0, lines - self.lines, self.stride), last)

    def ready(self, lines: int, emitted: int) -> tuple[int, ...]:
        """First lines of the windows after the first ``emitted`` that a growing scan fills.

        Every one of them is among `starts` of any longer scan, at the same index: what is
        screened early is never thrown away.
        """
        count = (lines - 1 - self.lines) // self.stride + 1 if lines > self.lines else 0
        return tuple(k * self.stride for k in range(emitted, count))

    def planes(self, low: U16, high: U16, start: int) -> U8:
        """The planes of the window that starts at line ``start``, uint8 ``[3, h, w]``.

        ``h`` is ``lines / binning`` or less at the end of a short scan, and at least one: a scan
        shorter than the binning is repeated.
        """
        low, high = low[start : start + self.lines], high[start : start + self.lines]
        if low.shape[0] < self.binning:
            low, high = (np.repeat(a[-1:], self.binning, axis=0) for a in (low, high))
        return dual_energy_planes(low, high, self.binning)


class GrowingPlanes:
    """The planes of one view of a scan, encoded while its lines come in.

    A window that is full waits for its last lines alone, and what two windows share is encoded
    once. Every window starts on a multiple of the binning, so its pixels are those of the scan.

    Args:
        plan: How the scan is cut into windows.
        lines: Lines that the scan may have.
        elements: Elements of the view.
    """

    def __init__(self, plan: WindowPlan, lines: int, elements: int) -> None:
        self._plan = plan
        self._planes = np.empty((3, lines // plan.binning, elements // plan.binning), np.uint8)
        self._rows = 0

    def grow(self, low: U16, high: U16) -> None:
        """Encode the lines that are new.

        Args:
            low: All corrected low-energy lines so far, uint16 ``[lines, elements]``.
            high: The high-energy lines.
        """
        binning = self._plan.binning
        rows = slice(self._rows, len(low) // binning)
        if rows.start < rows.stop:
            lines = slice(rows.start * binning, rows.stop * binning)
            dual_energy_planes(low[lines], high[lines], binning, self._planes[:, rows])
            self._rows = rows.stop

    def window(self, low: U16, high: U16, start: int) -> U8:
        """The planes of the window that starts at a line, as of `WindowPlan.planes`: a copy."""
        binning = self._plan.binning
        end = min(start + self._plan.lines, len(low))
        if end - start < binning:
            return self._plan.planes(low, high, start)
        self.grow(low, high)
        return self._planes[:, start // binning : end // binning].copy()


@dataclass(eq=False)
class _Pool:
    """Boxes of all windows in scan coordinates, while they are merged."""

    boxes: F32
    scores: F32
    labels: I32
    window: I32
    cut_top: list[bool]
    cut_bottom: list[bool]
    kept: list[bool]

    def same(self, i: np.intp, j: np.intp) -> bool:
        return bool(self.kept[j] and self.labels[i] == self.labels[j])


def merge(
    parts: Sequence[tuple[int, Detections]],
    plan: WindowPlan,
    lines: int,
    nms_iou: float,
    elements: int | None = None,
) -> Detections:
    """Detections of one scan from those of its windows, highest score first.

    Args:
        parts: Start line of each window, in rising order, and what was found in it, in pixels
            of its planes.
        plan: How the scan was cut.
        lines: Lines of the scan; boxes are cut off there.
        nms_iou: Overlap above which the weaker of two boxes of a class is dropped.
        elements: Elements of a line; boxes are cut off there when it is given.

    Returns:
        Boxes in scan coordinates: x in detector elements, y in lines of the scan.
    """
    pool = _pool(parts, plan, lines)
    if len(parts) > 1:
        _drop_cut_where_whole(pool)
        _join_cut(pool)
        # A third window may have shown a part of what is one box by now.
        _drop_cut_where_whole(pool)
    kept = np.flatnonzero(pool.kept)
    boxes, scores, labels = pool.boxes[kept], pool.scores[kept], pool.labels[kept]
    width = float(elements) if elements is not None else float("inf")
    boxes = box.clip(boxes, float(lines), width)
    chosen = box.nms(boxes, scores, labels, nms_iou, limit=max(1, len(scores)))
    return Detections(boxes[chosen], scores[chosen], labels[chosen])


def _pool(parts: Sequence[tuple[int, Detections]], plan: WindowPlan, lines: int) -> _Pool:
    near = EDGE_PIXELS * plan.binning
    boxes: list[F32] = []
    window: list[int] = []
    top: list[bool] = []
    bottom: list[bool] = []
    for k, (start, found) in enumerate(parts):
        shifted = found.boxes * np.float32(plan.binning)
        shifted[:, 1::2] += np.float32(start)
        end = min(start + plan.lines, lines)
        boxes.append(shifted)
        window += [k] * len(found)
        # The first window's upper edge and the last one's lower edge are ends of the bag.
        top += (shifted[:, 1] <= start + near).tolist() if k else [False] * len(found)
        inner = k < len(parts) - 1
        bottom += (shifted[:, 3] >= end - near).tolist() if inner else [False] * len(found)
    return _Pool(
        np.concatenate(boxes) if boxes else np.zeros((0, 4), np.float32),
        np.concatenate([f.scores for _, f in parts]) if parts else np.zeros(0, np.float32),
        np.concatenate([f.labels for _, f in parts]) if parts else np.zeros(0, np.int32),
        np.asarray(window, np.int32),
        top,
        bottom,
        [True] * len(window),
    )


def _drop_cut_where_whole(pool: _Pool) -> None:
    """Take out the cut boxes whose object another window shows whole."""
    if not any(pool.cut_top) and not any(pool.cut_bottom):
        return
    shared = box.intersection(pool.boxes, pool.boxes)
    areas = box.area(pool.boxes)
    for i in np.arange(len(pool.kept)):
        here = pool.window[i]
        for cut, beyond, blind in (
            (pool.cut_top[i], pool.window < here, pool.cut_bottom),
            (pool.cut_bottom[i], pool.window > here, pool.cut_top),
        ):
            if not (cut and pool.kept[i]):
                continue
            rivals = [
                j
                for j in np.flatnonzero(beyond)
                if pool.same(i, j) and not blind[j] and shared[i, j] > SAME_OBJECT * areas[i]
            ]
            if rivals:
                whole = max(rivals, key=lambda j: float(shared[i, j]))
                pool.scores[whole] = max(pool.scores[whole], pool.scores[i])
                pool.kept[i] = False


def _join_cut(pool: _Pool) -> None:
    """Put one box around the two parts of an object that no window shows whole."""
    for i in np.argsort(pool.window, kind="stable"):
        if not (pool.kept[i] and pool.cut_bottom[i]):
            continue
        for j in np.flatnonzero(pool.window > pool.window[i]):
            if not (pool.same(i, j) and pool.cut_top[j]):
                continue
            a, b = pool.boxes[i], pool.boxes[j]
            across = min(a[2], b[2]) - max(a[0], b[0])
            narrower = min(a[2] - a[0], b[2] - b[0])
            if across > SAME_OBJECT * narrower and min(a[3], b[3]) > max(a[1], b[1]):
                pool.boxes[j] = [*np.minimum(a[:2], b[:2]), *np.maximum(a[2:], b[2:])]
                pool.scores[j] = max(pool.scores[i], pool.scores[j])
                pool.cut_top[j] = pool.cut_top[i]
                pool.kept[i] = False
                break
