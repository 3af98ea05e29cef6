"""Several views of one belt brought together: lines of one place, side by side in one wide line.

Views stand one behind the other along the belt and read one encoder. A *row* is made of a line of
the leading view, the last one along the belt that is alive, and of the lines of the others that saw
the same place, found by the encoder: a belt that stands, creeps or runs back shifts nothing. Where
a view has no line, its elements read 0 in both energies, as no living detector does: whoever takes
the rows knows, and a journal does.

A view is waited for as long as it is within ``slack`` of the foremost one, counted in belt and not
in seconds: so the same strips in the same order give the same rows. One that stays behind, or has
ended, is gone until it has caught up; when the leading one goes, the next one along the belt leads.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from xedge.errors import ConfigError
from xedge.scanner.flatfield import Mask
from xedge.scanner.intake import COUNTER_PERIOD
from xedge.scanner.viewmemory import ViewMemory
from xedge.types import I64, U16, Strip

MOST_VIEWS: Final = 4
SLACK_LINES: Final = 96
"""Lines of belt by which a view may be behind before nobody waits for it any more."""

NEAR: Final = 0.75
"""A partner lies within this many lines of where it should."""

KEPT_LINES: Final = 512
"""Lines of belt behind the last row that are kept, for a belt that rolls back."""

MOST_LINES: Final = 256
"""Lines of a strip that are taken at a time."""

JUMP_STRIPS: Final = 3
"""Strips in a row beyond a jump of the encoder that are not believed: one that errs would put its
lines in rows of another place, and nobody would know that this view did not see it."""


class Drop(str, enum.Enum):
    """Why a line of a view is in no row."""

    WRONG_WIDTH = "wrong width"
    DAMAGED = "damaged"
    REPEATED = "repeated"
    JUMPED = "encoder jumped"
    UNPAIRED = "unpaired"
    """There was no row at its place: the belt stood, it came too late, or it is from the start."""


@dataclass(frozen=True)
class ViewPlan:
    """One view.

    Attributes:
        elements: Elements of a line.
        offset: Counts of belt by which it sees a place after the first view does.
    """

    elements: int
    offset: int = 0


@dataclass
class ViewBooks:
    """Lines in = paired + held + dropped by cause.

    Attributes:
        lines_in: Lines that the view's source gave.
        paired: Lines that are part of a row.
        held: Lines that are not settled yet; 0 at the end.
        dropped: Lines that are in no row, by cause.
        lost: True while rows are made without this view, for it is behind or has ended.
    """

    lines_in: int = 0
    paired: int = 0
    held: int = 0
    dropped: dict[Drop, int] = field(default_factory=dict)
    lost: bool = False

    def drop(self, cause: Drop, lines: int) -> None:
        """Count lines that are in no row."""
        if lines:
            self.dropped[cause] = self.dropped.get(cause, 0) + lines

    def in_words(self) -> str:
        """The books for a person."""
        dropped = "".join(f", {n} {cause.value}" for cause, n in sorted(self.dropped.items()))
        return f"{self.lines_in} lines, {self.paired} in rows, {self.held} held{dropped}"

    @property
    def balanced(self) -> bool:
        """True when every line is accounted for."""
        return self.lines_in == self.paired + self.held + sum(self.dropped.values())


class Pairing:
    """Makes rows of the strips of several views. Deterministic, without clock or I/O.

    A row's encoder is what it read when the last view along the belt saw the place.

    Args:
        views: The views in the order of their elements in a row.
        counts_per_line: Encoder counts from one line to the next.
        direction: -1 when the encoder counts down while the belt runs forward.
        encoder_period: Counts after which the encoder starts anew.
        slack_lines: Lines of belt by which a view may be behind.

    Raises:
        ConfigError: On other than 2 to `MOST_VIEWS` views, or an offset that cannot be.
    """

    def __init__(
        self,
        views: Sequence[ViewPlan],
        counts_per_line: float,
        direction: int = 1,
        encoder_period: int = COUNTER_PERIOD,
        slack_lines: int = SLACK_LINES,
    ) -> None:
        if not 2 <= len(views) <= MOST_VIEWS:
            raise ConfigError("these views cannot be brought together",
                              expected=f"2 to {MOST_VIEWS}", found=str(len(views)))  # fmt: skip
        least = min(view.offset for view in views)
        self._last = max(view.offset for view in views) - least
        if self._last > 10_000 * counts_per_line:
            raise ConfigError("views cannot be so far apart", expected="10000 lines or less",
                              found=f"{self._last} counts")  # fmt: skip
        self._line = counts_per_line
        self._slack_lines, self._longest = slack_lines, 0
        self._direction = direction
        room = round(self._last / counts_per_line) + slack_lines + KEPT_LINES + 1024
        self._views = [
            ViewMemory(view.elements, view.offset - least, room, encoder_period, direction)
            for view in views
        ]
        self._edges = np.cumsum([0, *(view.elements for view in views)]).tolist()
        self.books = tuple(ViewBooks() for _ in views)
        self._leader: ViewMemory | None = None
        self._furthest: int | None = None  # place of the furthest row
        self._place = 0  # of the last row
        self._counter = 0
        self._captured_ns = 0

    @property
    def elements(self) -> int:
        """Elements of a row."""
        return int(self._edges[-1])

    @property
    def _slack(self) -> float:
        """Counts of belt by which a view may be behind: it is by a strip before each of its own."""
        return (self._slack_lines + self._longest) * self._line

    @property
    def behind(self) -> frozenset[int]:
        """Views that have not ended, and that nobody waits for."""
        alive = self._alive() if any(m.first is not None for m in self._views) else self._views
        return frozenset(
            k for k, m in enumerate(self._views) if not m.ended and all(m is not a for a in alive)
        )

    def take(self, view: int, strip: Strip) -> list[Strip]:
        """The rows that the next strip of a view completes, as strips."""
        memory, books = self._views[view], self.books[view]
        if len(strip) > MOST_LINES:  # more than is kept
            return [row for part in parts_of(strip, MOST_LINES) for row in self.take(view, part)]
        self._longest = max(self._longest, len(strip))
        books.lines_in += len(strip)
        cause, raw = self._unusable(memory, strip)
        if cause is not None:
            books.drop(cause, len(strip))
            return []
        if raw is None:
            anchor = next((m for m in self._views if m.first is not None), None)
            memory.begin(strip, anchor)
            raw = memory.unwrapped(strip.encoder)
        stood = memory.append(strip, raw, self._line)
        rows = self._rows(strip.captured_ns)
        if memory is self._leader and self._furthest is not None and stood:
            rows += self._standing(stood, strip)
            books.paired += stood
        else:
            books.drop(Drop.UNPAIRED, stood)
        self._settle()
        return rows

    def end(self, view: int) -> list[Strip]:
        """The rows that it completes that no more strips of a view come."""
        self._views[view].ended = True
        rows = self._rows(self._captured_ns)
        self._settle()
        return rows

    def _unusable(self, memory: ViewMemory, strip: Strip) -> tuple[Drop | None, I64 | None]:
        """Why a strip is not used, and its encoder, unwrapped, once there was one before."""
        if strip.elements != memory.elements:
            return Drop.WRONG_WIDTH, None
        if not strip.intact:
            return Drop.DAMAGED, None
        if memory.first is None:
            return None, None
        raw = memory.unwrapped(strip.encoder)
        if memory.repeats(strip) and int(raw[0]) <= memory.furthest:
            return Drop.REPEATED, raw
        # Beyond the slack it would leave all other views behind for ever, lost lines or not.
        ahead = int(raw.max()) - memory.furthest > 2 * self._slack + 2 * len(strip) * self._line
        memory.jumps = memory.jumps + 1 if ahead or memory.jumped(strip, raw, self._line) else 0
        return Drop.JUMPED if 0 < memory.jumps <= JUMP_STRIPS else None, raw

    # Rows

    def _alive(self) -> list[ViewMemory]:
        seen = [m for m in self._views if m.first is not None]
        belt = max(m.furthest for m in seen)
        start = min(m.first for m in seen if m.first is not None)
        # One that has given nothing yet has the same time to begin.
        return [
            m
            for m in self._views
            if not m.ended and belt - (start if m.first is None else m.furthest) <= self._slack
        ]

    def _rows(self, now_ns: int) -> list[Strip]:
        rows: list[Strip] = []
        while any(m.first is not None for m in self._views):
            alive = self._alive()
            all_ended = all(m.ended for m in self._views)
            leaders = [m for m in (self._views if all_ended else alive) if m.waits]
            if not all_ended:
                if any(m.first is None for m in alive):
                    return rows
                top = max((m.offset for m in alive), default=0)
                leaders = [m for m in leaders if m.offset == top][:1]
            leader = max(leaders, key=lambda m: m.offset, default=None)
            if leader is None:
                return rows
            self._lead(leader, alive)
            count = leader.count_up_to(self._limit(leader, alive, all_ended))
            if count:
                rows += self._made(leader, count, now_ns)
            elif not all_ended:
                return rows
        return rows

    def _lead(self, leader: ViewMemory, alive: list[ViewMemory]) -> None:
        """Begin behind the furthest row, and the first one where all that are alive have lines."""
        if self._furthest is None:
            firsts = [m.first - m.offset for m in alive if m.first is not None]
            begin = max(firsts, default=leader.first_place)
            leader.skip_before(begin - NEAR * self._line)
        elif leader is not self._leader:
            leader.skip_before(self._furthest + NEAR * self._line)

    def _limit(self, leader: ViewMemory, alive: list[ViewMemory], all_ended: bool) -> float:
        """The place up to which rows can be made: all that will come is there."""
        if all_ended:
            return np.inf
        limits = [
            m.furthest - m.offset + NEAR * self._line
            for m in alive
            if m is not leader and not m.ended
        ]
        if leader.offset < self._last:  # the last view has its chance to come back until then
            limits.append(max(m.furthest for m in self._views if m.first is not None) - self._last)
        return min(limits, default=np.inf)

    def _made(self, leader: ViewMemory, count: int, now_ns: int) -> list[Strip]:
        """The next lines of the leading view with their partners, as strips without gaps."""
        lines = leader.next(count)
        self._leader = leader
        low = np.empty((count, self.elements), np.uint16)
        high = np.empty((count, self.elements), np.uint16)
        for k, memory in enumerate(self._views):
            columns = slice(self._edges[k], self._edges[k + 1])
            if memory is leader:
                low[:, columns], high[:, columns] = lines.low, lines.high
                self.books[k].paired += lines.fresh
            else:
                found, rows, fresh = memory.partners(lines.places, NEAR * self._line)
                those: Mask | slice = slice(None)
                if not found.all():
                    low[:, columns], high[:, columns], those = 0, 0, found
                low[those, columns], high[those, columns] = memory.lines_at(rows)
                self.books[k].paired += fresh
        strips: list[Strip] = []
        edges = [0, *np.flatnonzero(lines.missing[1:]) + 1, count]
        for a, b in itertools.pairwise(edges):
            self._counter += int(lines.missing[a])
            at_ns = int(lines.time_ns[b - 1]) if leader.offset == self._last else now_ns
            places = lines.places[a:b]
            strips.append(self._strip(places, low[a:b], high[a:b], at_ns))
        top = int(lines.places.max())
        self._furthest = top if self._furthest is None else max(self._furthest, top)
        self._place = int(lines.places[-1])
        return strips

    def _standing(self, count: int, strip: Strip) -> list[Strip]:
        """Rows at the place of the last one: the lane must know that the belt stands."""
        low = np.concatenate([m.latest[0] for m in self._views])
        high = np.concatenate([m.latest[1] for m in self._views])
        places = np.full(count, self._place, np.int64)
        low, high = np.tile(low, (count, 1)), np.tile(high, (count, 1))
        return [self._strip(places, low, high, strip.captured_ns)]

    def _strip(self, places: I64, low: U16, high: U16, captured_ns: int) -> Strip:
        first, self._counter = self._counter, (self._counter + len(places)) % COUNTER_PERIOD
        self._captured_ns = max(self._captured_ns, captured_ns)
        encoder = self._direction * (places + self._last)
        return Strip(first, encoder, low, high, self._captured_ns)

    def _settle(self) -> None:
        """Let go of lines that no row will want, and bring the books up to date."""
        keep, leader = None, self._leader
        if all(memory.ended for memory in self._views):
            keep, leader = np.inf, None
        elif self._furthest is not None:
            keep = self._furthest - KEPT_LINES * self._line
        behind = self.behind
        for k, (memory, books) in enumerate(zip(self._views, self.books, strict=True)):
            books.lost = keep != np.inf and (memory.ended or k in behind)
            books.drop(Drop.UNPAIRED, memory.forget_before(keep, memory is leader))
            books.held = memory.unused


def parts_of(strip: Strip, most: int, before_ns: int | None = None) -> list[Strip]:
    """A long strip as shorter ones.

    Args:
        strip: The strip.
        most: Lines in each at the most.
        before_ns: When the strip before was read out; None makes all parts as old as the strip.
    """
    edges = [*range(0, len(strip), most), len(strip)]
    took_ns = 0 if before_ns is None else max(0, strip.captured_ns - before_ns)
    return [
        Strip(strip.first_line + a, strip.encoder[a:b], strip.low[a:b], strip.high[a:b],
              strip.captured_ns - took_ns * (len(strip) - b) // len(strip), strip.intact)
        for a, b in itertools.pairwise(edges)
    ]  # fmt: skip
