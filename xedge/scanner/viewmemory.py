"""The last lines of one view, by their places on the belt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from xedge.scanner.flatfield import Mask
from xedge.scanner.intake import COUNTER_PERIOD, FAR, before, wrapped
from xedge.types import I64, U16, Strip

Indices = npt.NDArray[np.intp]
Rows = Indices | slice


@dataclass(frozen=True, eq=False)
class ViewLines:
    """Lines that a view leads with.

    Attributes:
        places: Where they are, int64 ``[n]``.
        low: Low energy, uint16 ``[n, elements]``.
        high: High energy.
        missing: Lines that never came before each, int64 ``[n]``.
        time_ns: When each was read out, int64 ``[n]``.
        fresh: Lines that were part of no row before.
    """

    places: I64
    low: U16
    high: U16
    missing: I64
    time_ns: I64
    fresh: int


class ViewMemory:
    """Lines of one view that may yet be part of a row; the belt standing adds none.

    Args:
        elements: Elements of a line.
        offset: Counts of belt by which it sees a place after the first view.
        room: Lines that are kept at the most.
        period: Counts after which the encoder starts anew.
        direction: -1 when the encoder counts down while the belt runs forward.

    Attributes:
        first: The encoder at its first line, rising with the belt; None before there was one.
        furthest: The furthest it has read.
        latest: The last line that came, low and high.
        ended: True when no more will come.
        unused: Lines that are part of no row yet.
        jumps: Strips in a row that are beyond a jump of the encoder.
    """

    def __init__(self, elements: int, offset: int, room: int, period: int, direction: int) -> None:
        self.elements, self.offset = elements, offset
        self._period, self._direction = period, direction
        self._places: I64 = np.empty(2 * room, np.int64)
        self._missing: I64 = np.empty(2 * room, np.int64)
        self._time_ns: I64 = np.empty(2 * room, np.int64)
        self._used: Mask = np.empty(2 * room, np.bool_)
        self._low: U16 = np.empty((2 * room, elements), np.uint16)
        self._high: U16 = np.empty((2 * room, elements), np.uint16)
        self._start = self._end = self._cursor = 0
        self._room = room
        self._raw_read = self._raw = 0  # of the last line: as read, and as placed
        self._counter: int | None = None  # of the next line
        self._lost = 0  # lines missing before the next that is kept
        self._captured_ns: int | None = None
        self.first: int | None = None
        self.furthest = 0
        nothing = np.zeros(elements, np.uint16)
        self.latest: tuple[U16, U16] = (nothing, nothing)
        self.ended = False
        self.unused = 0
        self.jumps = 0

    @property
    def encoder(self) -> tuple[int, int]:
        """Of the last line: as it was read, and as it is counted here."""
        return self._raw_read, self._raw

    @property
    def first_place(self) -> int:
        """The place of the first line that came."""
        return (self.first or 0) - self.offset

    @property
    def waits(self) -> bool:
        """True while there are lines that have not led a row."""
        return self._cursor < self._end

    def begin(self, strip: Strip, anchor: ViewMemory | None) -> None:
        """The first strip comes; its encoder is close to that of a view that began before."""
        self._raw_read = int(strip.encoder[0])
        self._raw = self._direction * self._raw_read
        if anchor is not None:
            its_read, its_raw = anchor.encoder
            step = wrapped(self._raw_read - its_read, self._period)
            self._raw = its_raw + self._direction * step
        self.first = self.furthest = self._raw

    def unwrapped(self, encoder: I64) -> I64:
        """What the encoder reads, without its wraps, rising with the belt."""
        steps = wrapped(encoder - before(encoder, self._raw_read), self._period)
        placed: I64 = self._raw + self._direction * np.cumsum(steps)
        return placed

    def repeats(self, strip: Strip) -> bool:
        """True when the line counter went back."""
        if self._counter is None:
            return False
        return wrapped(strip.first_line - self._counter, COUNTER_PERIOD) < 0

    def jumped(self, strip: Strip, raw: I64, line: float) -> bool:
        """True when the encoder moved as no belt does from one line to the next that came.

        Args:
            strip: The strip.
            raw: Its encoder, as of `unwrapped`.
            line: Counts from one line to the next.
        """
        gap = 0
        if self._counter is not None:
            gap = wrapped(strip.first_line - self._counter, COUNTER_PERIOD)
        steps = np.abs(raw - before(raw, self._raw)) / line
        # The belt may have gone either way while lines were lost; how many a counter that starts
        # anew does not say.
        steps[0] = steps[0] - gap if gap >= 0 else 0.0
        return bool(steps.max() > FAR + 1)

    def append(self, strip: Strip, raw: I64, line: float) -> int:
        """Take a strip; how many of its lines show a place again, for the belt stood.

        Args:
            strip: The strip.
            raw: Its encoder, as of `unwrapped`.
            line: Counts from one line to the next.
        """
        if self._counter is not None:
            self._lost += max(0, wrapped(strip.first_line - self._counter, COUNTER_PERIOD))
        self._counter = (strip.first_line + len(strip)) % COUNTER_PERIOD
        earlier = self._captured_ns if self._captured_ns is not None else strip.captured_ns
        pace = max(0, strip.captured_ns - earlier) / len(strip)
        self._captured_ns = strip.captured_ns
        places = raw - self.offset
        keep = self._moved(places, 0.5 * line)
        self._raw_read, self._raw = int(strip.encoder[-1]), int(raw[-1])
        self.furthest = max(self.furthest, int(raw.max()))
        self.latest = (strip.low[-1], strip.high[-1])
        if len(keep):
            self._make_room(len(keep))
            rows = slice(self._end, self._end + len(keep))
            which = _run(keep)
            self._places[rows] = places[which]
            self._low[rows], self._high[rows] = strip.low[which], strip.high[which]
            self._missing[rows], self._used[rows] = 0, False
            self._missing[self._end], self._lost = self._lost, 0
            behind = len(strip) - 1 - keep
            self._time_ns[rows] = strip.captured_ns - (behind * pace).astype(np.int64)
            self._end = rows.stop
            self.unused += len(keep)
        return len(strip) - len(keep)

    def _moved(self, places: I64, least: float) -> Indices:
        """Rows that are so far from the last one that is kept before them."""
        last = self._last_place()
        far = np.abs(places - before(places, int(places[0]) if last is None else last)) >= least
        if far[1:].all() and (last is None or far[0]):  # a belt that runs
            return np.arange(len(places))
        keep = []
        for row, place in enumerate(places.tolist()):
            if last is None or abs(place - last) >= least:
                keep.append(row)
                last = place
        return np.array(keep, np.intp)

    def _last_place(self) -> int | None:
        return int(self._places[self._end - 1]) if self._end > self._start else None

    def _make_room(self, lines: int) -> None:
        if self._end + lines <= len(self._places):
            return
        kept = slice(self._start, self._end)
        for array in (self._places, self._missing, self._time_ns, self._used, self._low,
                      self._high):  # fmt: skip
            array[: kept.stop - kept.start] = array[kept].copy()
        self._cursor -= self._start
        self._start, self._end = 0, kept.stop - kept.start

    def count_up_to(self, limit: float) -> int:
        """Lines from the next one on that lie no farther than a place."""
        beyond = self._places[self._cursor : self._end] > limit
        return int(np.argmax(beyond)) if beyond.any() else len(beyond)

    def skip_before(self, place: float) -> None:
        """Lead with no line before a place."""
        waiting = self._places[self._cursor : self._end]
        behind = waiting < place
        # Up to the last of them: what came before the belt turned is behind as well.
        self._cursor += int(np.flatnonzero(behind)[-1]) + 1 if behind.any() else 0

    def next(self, count: int) -> ViewLines:
        """Lead with the next lines."""
        rows = slice(self._cursor, self._cursor + count)
        fresh = count - int(np.count_nonzero(self._used[rows]))
        self._used[rows] = True
        self.unused -= fresh
        self._cursor = rows.stop
        return ViewLines(self._places[rows].copy(), self._low[rows], self._high[rows],
                         self._missing[rows].copy(), self._time_ns[rows].copy(), fresh)  # fmt: skip

    def partners(self, places: I64, near: float) -> tuple[Mask, Rows, int]:
        """Which places were seen here, the lines that saw those, and how many are new to rows."""
        mine = self._places[self._start : self._end]
        if not len(mine):
            return np.zeros(len(places), np.bool_), np.zeros(0, np.intp), 0
        if (mine[1:] > mine[:-1]).all():
            above = np.minimum(np.searchsorted(mine, places), len(mine) - 1)
            below = np.maximum(above - 1, 0)
            best = np.where(places - mine[below] < mine[above] - places, below, above)
        else:  # the belt was here before: of equally near lines the youngest
            off = np.abs(mine[None, :] - places[:, None])[:, ::-1]
            best = len(mine) - 1 - np.argmin(off, axis=1)
        found: Mask = np.abs(mine[best] - places) <= near
        rows = self._start + (best if found.all() else best[found])
        if not len(rows):
            return found, rows, 0
        span = slice(int(rows.min()), int(rows.max()) + 1)
        used = int(np.count_nonzero(self._used[span]))
        self._used[rows] = True
        fresh = int(np.count_nonzero(self._used[span])) - used
        self.unused -= fresh
        return found, _run(rows), fresh

    def lines_at(self, rows: Rows) -> tuple[U16, U16]:
        """Low and high lines."""
        return self._low[rows], self._high[rows]

    def forget_before(self, place: float | None, leading: bool) -> int:
        """Let go of what lies behind a place, or is too much; how many lines were in no row."""
        held = self._places[self._start : self._end]
        spare = max(0, len(held) - self._room)
        if place is not None and len(held) and held[0] < place:
            near = held >= place
            spare = max(spare, int(np.argmax(near)) if near.any() else len(held))
        if leading:  # its next lines wait for other views: on a belt that rocks, without end
            spare = max(min(spare, self._cursor - self._start), len(held) - self._room * 3 // 2)
        if not spare:
            return 0
        gone = slice(self._start, self._start + spare)
        unused = spare - int(np.count_nonzero(self._used[gone]))
        self.unused -= unused
        self._start += spare
        if (skipped := self._start - self._cursor) > 0:
            self._cursor = self._start
            if leading and self.waits:  # to who takes the rows they never came
                self._missing[self._start] += skipped
        return unused


def _run(rows: Indices) -> Rows:
    """The same rows, as a slice where they follow each other: a view of lines is no copy."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
