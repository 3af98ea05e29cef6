"""Bags cut out of corrected lines by the air between them.

A line holds matter when at least ``min_elements`` of its low-energy samples lie below a level.
There are two levels: a bag begins at lines below the lower one and goes on while lines are
below the higher one, so that noise near one level cannot cut a bag in pieces. ``min_gap_lines``
lines of air in a row end it. Some lines of air on each side belong to the scan.

Pure and incremental: the same lines give the same bags however they are packed into strips.
Every line that comes in leaves in exactly one piece, as part of a bag or of a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.flatfield import Mask, count_true
from xedge.scanner.pieces import BagBegun, BagEnded, BagLines, GapLines, Lines, Piece, Seen
from xedge.types import AIR_COUNTS, I64, U16, Reason


@dataclass(frozen=True)
class CutterConfig:
    """How bags are told from air.

    Attributes:
        begin_level: Share of air below which a sample lets a bag begin.
        end_level: Share of air above which all samples must be for a bag to end.
        min_elements: Samples below the level that make a line of matter; fewer may be faults.
        begin_lines: Lines of matter in a row that begin a bag.
        min_gap_lines: Lines of air in a row that end it.
        margin_lines: Lines of air kept before and behind a bag, at most `min_gap_lines`.
        max_bag_lines: A bag with more lines, its trailing margin aside, is cut here, and every
            part flagged OVERSIZE_BAG.
        continuous: True for a belt without gaps, of loose parcels say: the parts are sound bags,
            of which a lane shows its engine the seams as well, instead of flagged ones.
        edge_lines: Lines with matter at an outermost element that make a CLIPPED_BAG.

    Raises:
        ConfigError: When the numbers do not fit together.
    """

    begin_level: float = 0.92
    end_level: float = 0.95
    min_elements: int = 4
    begin_lines: int = 2
    min_gap_lines: int = 24
    margin_lines: int = 16
    max_bag_lines: int = 1600
    continuous: bool = False
    edge_lines: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.begin_level <= self.end_level < 1:
            raise ConfigError("levels must rise from begin to end, between 0 and 1 of air",
                              found=f"{self.begin_level}, {self.end_level}")  # fmt: skip
        if min(self.min_elements, self.begin_lines, self.edge_lines) < 1:
            raise ConfigError("matter needs at least one element and one line")
        if not 0 <= self.margin_lines <= self.min_gap_lines or self.min_gap_lines < 1:
            raise ConfigError("the margin cannot be longer than the gap",
                              found=f"{self.margin_lines} of {self.min_gap_lines}")  # fmt: skip
        if self.max_bag_lines <= self.min_gap_lines + self.begin_lines:
            raise ConfigError("bags must be longer than the gap between them",
                              found=f"max_bag_lines {self.max_bag_lines}")  # fmt: skip


@dataclass(eq=False)
class _OpenBag:
    """The bag under the beam."""

    number: int
    reasons: set[Reason]
    edge: I64  # lines with matter at each outermost element
    seen: list[Seen | None]  # by each view
    lines: int = 0
    short_gaps: int = 0
    tail_encoder: int = 0
    tail_ns: int = 0


class BagCutter:
    """Cuts one belt into bags; feed it corrected lines in the order of the belt.

    Args:
        config: How bags are told from air.
        first_bag: The number of the first one.
        views: The elements of each view in a line; matter in any of them makes a bag. None for one.
    """

    def __init__(
        self,
        config: CutterConfig | None = None,
        first_bag: int = 1,
        views: Sequence[slice] | None = None,
    ) -> None:
        self._config = config or CutterConfig()
        self._views = list(views or [slice(0, None)])
        self._outermost = [end for view in self._views
                           for end in (view.start, (view.stop or 0) - 1)]  # fmt: skip
        self._begin_level = np.uint16(self._config.begin_level * AIR_COUNTS)
        self._end_level = np.uint16(self._config.end_level * AIR_COUNTS)
        self._bag: _OpenBag | None = None
        self._count = first_bag - 1
        # Lines not settled yet: between bags the margin of the next one, behind a bag's margin
        # the air that is not yet long enough to be a gap.
        self._held: list[Lines] = []
        self._rising = 0  # lines of matter in a row at the end of _held, between bags
        self._air = 0  # lines of air in a row behind the open bag's last matter
        # What a bag inherits that begins right behind a hole. The start counts as one: a bag that
        # is under the beam by then has lost its front.
        self._doubt = {Reason.INCOMPLETE_SCAN}
        self._since_hole = 0

    @property
    def held_lines(self) -> int:
        """Lines that came in and have not left yet."""
        return sum(map(len, self._held))

    @property
    def open_bag(self) -> int | None:
        """Number of the bag under the beam, if there is one."""
        return self._bag.number if self._bag else None

    def shows_matter(self, lines: Lines) -> bool:
        """True when a bag may begin in these lines."""
        return bool(self._by_view(lines.low, self._begin_level).any())

    def feed(self, lines: Lines) -> tuple[Piece, ...]:
        """What these lines settle, in the order of the belt."""
        pieces: list[Piece] = []
        darkest = lines.low.min()
        begin = matter = None  # most strips need one of the two
        row = 0
        while row < len(lines):
            if self._bag is None:
                if begin is None:
                    begin = self._matter(lines.low, self._begin_level, darkest)
                row += self._seek(lines[row:], begin[row:], pieces)
            else:
                if matter is None:
                    matter = self._matter(lines.low, self._end_level, darkest)
                row += self._follow(lines[row:], matter[row:], pieces)
        return tuple(pieces)

    def hole(self, lines: int, reason: Reason) -> tuple[Piece, ...]:
        """What it settles that ``lines`` lines are missing here; what surrounds them is flagged.

        A hole as long as a gap may hide one: the open bag ends, and matter behind the hole is
        another bag. Both are flagged.
        """
        pieces: list[Piece] = []
        if self._bag is not None:
            self._bag.reasons.add(reason)
            if lines >= self._config.min_gap_lines:
                self._end(pieces)
        if self._bag is None:
            self._release(pieces, keep=0)
            self._rising = 0
            self.doubt(reason)
        return tuple(pieces)

    def flag(self, reason: Reason) -> None:
        """Flag the open bag, if there is one."""
        if self._bag is not None:
            self._bag.reasons.add(reason)

    def doubt(self, reason: Reason) -> None:
        """Flag the open bag; without one, what begins within a margin from here."""
        if self._bag is not None:
            self._bag.reasons.add(reason)
            return
        if not self._near_hole():
            self._doubt.clear()
        self._doubt.add(reason)
        self._since_hole = 0

    def number(self) -> int:
        """The number of a bag that was found otherwise than by cutting."""
        self._count += 1
        return self._count

    def finish(self) -> tuple[Piece, ...]:
        """What it settles that no more lines come; a bag still under the beam is incomplete."""
        pieces: list[Piece] = []
        if self._bag is not None:
            if self._air < max(1, self._config.margin_lines):
                self._bag.reasons.add(Reason.INCOMPLETE_SCAN)
            self._end(pieces)
        self._release(pieces, keep=0)
        self._rising = 0
        return tuple(pieces)

    def _matter(self, low: U16, level: np.uint16, darkest: np.uint16) -> Mask:
        if darkest >= level:  # most strips of an idle belt
            return np.zeros(len(low), np.bool_)
        # Each view by itself: a few faulty elements in each would else be matter together.
        matter: Mask = np.logical_or.reduce(self._by_view(low, level))
        return matter

    def _by_view(self, low: U16, level: np.uint16) -> Mask:
        """Lines of matter in each view, bool ``[views, n]``."""
        dark: Mask = low < level
        counts = [count_true(dark[:, view]) for view in self._views]
        matter: Mask = np.stack(counts) >= self._config.min_elements
        return matter

    def _seek(self, lines: Lines, begin: Mask, pieces: list[Piece]) -> int:
        """Look for the beginning of a bag; how many of the lines are dealt with."""
        rising, wanted = self._rising, self._config.begin_lines
        for at, matter in enumerate(begin.tolist()):
            rising = rising + 1 if matter else 0
            if rising == wanted:
                self._since_hole += at + 1
                self._rising = 0
                self._held.append(lines[: at + 1])
                self._release(pieces, keep=self._config.margin_lines + rising)
                self._begin(pieces)
                return at + 1
        self._since_hole += len(lines)
        self._rising = rising
        self._held.append(lines)
        self._release(pieces, keep=self._config.margin_lines + rising)
        return len(lines)

    def _follow(self, lines: Lines, matter: Mask, pieces: list[Piece]) -> int:
        """Go on with the open bag through one run of matter or air; lines dealt with."""
        assert self._bag is not None
        changes = np.flatnonzero(matter != matter[0])
        run = int(changes[0]) if changes.size else len(lines)
        if not matter[0]:
            return self._follow_air(lines[:run], pieces)
        room = self._config.max_bag_lines - self._bag.lines - self.held_lines
        if room <= 0:
            if not self._config.continuous:
                self._bag.reasons.add(Reason.OVERSIZE_BAG)
                self._doubt.add(Reason.OVERSIZE_BAG)
            self._end(pieces, cut=True)
            self._since_hole = 0
            run = 1
        run = min(run, max(room, 1))
        self._held.append(lines[:run])
        if self._bag is None:
            self._begin(pieces)
        else:
            self._bag.short_gaps += self._air >= self._config.begin_lines
            self._give(pieces, matter=True)
        self._air = 0
        return run

    def _follow_air(self, lines: Lines, pieces: list[Piece]) -> int:
        config = self._config
        run = min(len(lines), config.min_gap_lines - self._air)
        kept = min(run, max(0, config.margin_lines - self._air))
        if kept:
            self._held.append(lines[:kept])
            self._give(pieces)
        if run > kept:
            self._held.append(lines[kept:run])
        self._air += run
        if self._air == config.min_gap_lines:
            self._end(pieces)
            self._release(pieces, keep=config.margin_lines)
        return run

    def _begin(self, pieces: list[Piece]) -> None:
        self._count += 1
        edge = np.zeros(len(self._outermost), np.int64)
        doubt = set(self._doubt) if self._near_hole() else set()
        self._bag = _OpenBag(self._count, doubt, edge, [None] * len(self._views))
        self._doubt.clear()
        self._air = 0
        pieces.append(BagBegun(self._count, int(self._held[0].encoder[0])))
        self._give(pieces, matter=True)

    def _near_hole(self) -> bool:
        return self._since_hole <= self._config.margin_lines + self._config.begin_lines

    def _give(self, pieces: list[Piece], matter: bool = False) -> None:
        """Give all held lines to the open bag; with ``matter``, the last of them is its tail."""
        assert self._bag is not None
        lines = Lines.concatenate(self._held)
        self._held.clear()
        self._bag.lines += len(lines)
        self._bag.edge += [
            np.count_nonzero(lines.low[:, end] < self._end_level) for end in self._outermost
        ]
        if matter:
            self._bag.tail_encoder = int(lines.encoder[-1])
            self._bag.tail_ns = int(lines.time_ns[-1])
            if len(self._views) > 1:
                self._see(self._bag, lines)
        pieces.append(BagLines(self._bag.number, lines))

    def _see(self, bag: _OpenBag, lines: Lines) -> None:
        """Write down where each view sees the bag."""
        for view, matter in enumerate(self._by_view(lines.low, self._end_level)):
            rows = np.flatnonzero(matter)
            if rows.size:
                before = bag.seen[view]
                first = int(lines.encoder[rows[0]]) if before is None else before[0]
                bag.seen[view] = first, int(lines.encoder[rows[-1]])

    def _end(self, pieces: list[Piece], cut: bool = False) -> None:
        assert self._bag is not None
        bag, self._bag = self._bag, None
        if bag.edge.max() >= self._config.edge_lines:
            bag.reasons.add(Reason.CLIPPED_BAG)
        seen = tuple(bag.seen) if len(self._views) > 1 else ()
        pieces.append(BagEnded(bag.number, frozenset(bag.reasons), bag.tail_encoder, bag.tail_ns,
                               cut, bag.short_gaps, seen))  # fmt: skip

    def _release(self, pieces: list[Piece], keep: int) -> None:
        """Settle held lines as air between bags, all but the last ``keep``."""
        spare = self.held_lines - keep
        if spare <= 0:
            return
        pieces.append(GapLines(spare))
        while spare:
            first = self._held[0]
            if len(first) <= spare:
                self._held.pop(0)
                spare -= len(first)
            else:
                self._held[0] = first[spare:]
                spare = 0
