"""One bag of a lane from its first line to its decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xedge.lane.config import LaneConfig
from xedge.scanner.pieces import Lines
from xedge.scanner.windows import GrowingPlanes
from xedge.types import I64, U8, U16, Detections, Reason, Scan


@dataclass(eq=False)
class Bag:
    """What a lane's core keeps of a bag that is not decided yet.

    Attributes:
        number: Its number, from 1.
        opened_ns: When it began, on the clock of the running belt.
        low: Room for its corrected low-energy lines; empty when they are not stored.
        high: The same for high energy.
        encoder: The same for encoder counts.
        lines: Lines so far.
        first_line: The detector's line counter at the first one.
        head_encoder: Encoder counts at the first line.
        tail_encoder: Encoder counts at the last one, of matter once the bag has ended.
        tail_ns: When that line was read out.
        ended: True when no more lines belong to it.
        stored: False when the lane was too full to keep its lines.
        windows: Windows so far.
        pending: Windows that are not answered yet.
        told_ns: The deadline that the engine was told last.
        reasons: What is wrong with it.
        parts: What was found, by window.
        starts: First line of each window, by window.
        rungs: The rung that screened each window, by window.
        planes: Those of each view so far, while there are windows to come.
    """

    number: int
    opened_ns: int
    low: U16
    high: U16
    encoder: I64
    lines: int = 0
    first_line: int = 0
    head_encoder: int = 0
    tail_encoder: int = 0
    tail_ns: int = 0
    ended: bool = False
    stored: bool = True
    windows: int = 0
    pending: int = 0
    told_ns: int = 0
    reasons: set[Reason] = field(default_factory=set)
    parts: dict[int, Detections] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    rungs: dict[int, str] = field(default_factory=dict)
    planes: tuple[tuple[slice, GrowingPlanes], ...] = ()

    @staticmethod
    def begin(
        number: int, opened_ns: int, views: Sequence[slice], config: LaneConfig, *, stored: bool
    ) -> Bag:
        """A bag without a line, with room for its lines unless the lane is too full.

        Args:
            number: Its number.
            opened_ns: When it began.
            views: The elements of each view.
            config: The set-up.
            stored: Whether its lines are kept.
        """
        elements = views[-1].stop
        cutter = config.cutter
        room = cutter.max_bag_lines + cutter.margin_lines if stored else 0
        room += config.windows.overlap if stored and cutter.continuous else 0
        return Bag(
            number,
            opened_ns,
            np.empty((room, elements), np.uint16),
            np.empty((room, elements), np.uint16),
            np.empty(room, np.int64),
            stored=stored,
            reasons=set() if stored else {Reason.OVERLOAD},
            planes=tuple(
                (view, GrowingPlanes(config.windows, room, view.stop - view.start))
                for view in views if stored
            ),
        )  # fmt: skip

    def append(self, lines: Lines) -> None:
        """Take the next lines of the scan."""
        if not self.lines:
            self.first_line, self.head_encoder = int(lines.counter[0]), int(lines.encoder[0])
        self.tail_encoder, self.tail_ns = int(lines.encoder[-1]), int(lines.time_ns[-1])
        end = self.lines + len(lines)
        if self.stored:
            self.low[self.lines : end] = lines.low
            self.high[self.lines : end] = lines.high
            self.encoder[self.lines : end] = lines.encoder
        self.lines = end
        for view, planes in self.planes:
            planes.grow(self.low[:end, view], self.high[:end, view])

    def window(self, view: int, start: int) -> U8:
        """The planes of a view's window that starts at a line."""
        columns, planes = self.planes[view]
        rows = slice(0, self.lines)
        return planes.window(self.low[rows, columns], self.high[rows, columns], start)

    def end(self) -> None:
        """No line will come any more, and no window."""
        self.ended, self.planes = True, ()

    def go_on_from(self, before: Bag | None, overlap: int) -> None:
        """Begin with the last lines of the part before, so that some window shows the seam whole.

        Args:
            before: That part; None when it has no lines any more.
            overlap: How many lines.
        """
        if before is None or not before.stored:
            self.reasons.add(Reason.INCOMPLETE_SCAN)
            return
        if not self.stored:
            return
        overlap = min(overlap, before.lines)
        rows = slice(before.lines - overlap, before.lines)
        for mine, its in (
            (self.low, before.low), (self.high, before.high), (self.encoder, before.encoder)
        ):  # fmt: skip
            mine[:overlap] = its[rows]
        self.lines = overlap
        self.first_line = before.first_line + rows.start
        self.head_encoder = int(before.encoder[rows.start])

    def scan(self, reasons: frozenset[Reason], direction: int) -> Scan | None:
        """Its corrected lines, with what the encoder read; None when they were not stored."""
        if not self.stored:
            return None
        rows = slice(0, self.lines)
        return Scan(
            self.number,
            self.low[rows],
            self.high[rows],
            direction * self.encoder[rows],
            self.first_line,
            self.tail_ns,
            reasons,
        )
