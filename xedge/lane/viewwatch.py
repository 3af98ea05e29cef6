"""What several views of one belt say of each other: where one is blind, and where they disagree.

Where a view is blind, bags that the others see are flagged, and air is not known to be air: a
stretch as long as a gap is a bag of its own, without a scan and never CLEAR, so that who waits for
a decision gets one for whatever only the lost view would have shown.

All views look across the belt, so a bag begins and ends at one place in all of them. One whose
encoder, or whose offset in the set-up, is wrong by some lines shows its bags before or behind the
others: its lines are then in rows of another place, and nothing else tells. It is never mended
here: whether the counter or the set-up is wrong, a person has to know.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Final

from xedge.errors import ConfigError
from xedge.lane.config import LaneConfig
from xedge.lane.events import Note
from xedge.scanner.cutter import BagCutter
from xedge.scanner.pieces import BagEnded, BagUnscanned, Lines, Piece, Seen
from xedge.types import Reason

AGREE_LINES: Final = 10
"""Lines, 6 mm, by which views may differ about both ends of a bag: less than a bag's margin."""

DISPLACED_BAGS: Final = 3
"""Bags that are displaced the same way, none between them that is not, show that it is not the
bags; and as many about whose ends all views agree, that it is over."""

REACH_LINES: Final = 256
"""Lines within which two bags, as long, that other views show each are one that is displaced by
more than its length: more than `xedge.scanner.pairing` brings together."""


class ViewWatch:
    """Cuts the lines of all views, and watches over what they do not see or see elsewhere.

    Args:
        cutter: Cuts them.
        config: The set-up of the lane.
        views: How many there are; of one alone nothing is announced, for nobody else sees anything.

    Raises:
        ConfigError: When there are offsets of another number of views.

    Attributes:
        displaced: Which view is displaced, and by how much, in words; empty while none is known to
            be.
    """

    def __init__(self, cutter: BagCutter, config: LaneConfig, views: int) -> None:
        if config.view_offsets and len(config.view_offsets) != views:
            raise ConfigError("a lane's view_offsets cannot be used",
                              expected=f"one of each of {views} views",
                              found=str(config.view_offsets))  # fmt: skip
        self._cutter, self._config = cutter, config.cutter
        self._offsets = config.view_offsets
        self._tolerance = AGREE_LINES * config.counts_per_line
        self._line = config.counts_per_line
        self._flaw: Reason | None = None  # why some view does not see the newest lines
        self._several = views > 1
        self._last: int | None = None  # place of the last line
        self._head: int | None = None  # of the stretch of air that some view did not see
        self._tail = self._tail_ns = self._unseen_lines = 0
        self._unseen: set[Reason] = set()
        self._run: tuple[tuple[int, int, int], int] | None = None  # views, way; how many bags
        self._sound = 0  # bags in a row without a displacement
        self._lone: dict[int, Seen] = {}  # ends of the last bag, where only some views showed it
        self.displaced = ""

    def cut(
        self, lines: Lines, flaws: Sequence[tuple[slice, Reason | None]], direction: int
    ) -> tuple[tuple[Piece, ...], list[Note]]:
        """What lines settle, and what is to be noted; bags that some view does not see are flagged.

        Args:
            lines: Corrected lines.
            flaws: Runs of them, and what is wrong with each, as of `SideBySide.flaws`.
            direction: Of the encoder, for what is noted.
        """
        pieces: tuple[Piece, ...] = ()
        notes: list[Note] = []
        self._miss(lines)
        for rows, flaw in flaws:
            if flaw is not self._flaw:  # once a stretch: a dead view would fill the journal
                self._flaw = flaw
                kind, reason = ("view-blind", flaw.name) if flaw else ("view-sees", "")
                read = direction * int(lines.encoder[rows.start])
                notes.append(Note(kind, {"encoder": read, "reason": reason}))
            if flaw is None:
                pieces += self._announced() + self._cutter.feed(lines[rows])
            else:
                pieces += self._cut_blind(lines[rows], flaw)
        return pieces, notes

    def finish(self, seeing: Collection[int] = ()) -> tuple[Piece, ...]:
        """What it settles that no more lines come.

        Args:
            seeing: Views that see the last line, where all have ended: what they saw and one behind
                them has not reached yet was lost by nobody. None of them when the rows broke off.
        """
        spare = 0
        if self._offsets and seeing:
            ahead = max(self._offsets) - min(self._offsets[view] for view in seeing)
            spare = math.ceil(ahead / self._line)
        return self._cutter.finish() + self._announced(spare)

    def _miss(self, lines: Lines) -> None:
        """A hole in front of these lines: what one view lost is in no row, whoever else saw it."""
        first, last, self._last = int(lines.encoder[0]), self._last, int(lines.encoder[-1])
        if self._several and last is not None and self._cutter.open_bag is None:
            missing = round((first - last) / self._line) - 1
            if missing >= self._config.min_gap_lines:
                at_ns = int(lines.time_ns[0])
                self._leave_out(last, first, at_ns, missing, Reason.INCOMPLETE_SCAN)

    def _leave_out(self, head: int, tail: int, tail_ns: int, lines: int, why: Reason) -> None:
        """Some view did not see this air."""
        self._head = head if self._head is None else self._head
        self._tail, self._tail_ns = tail, tail_ns
        self._unseen_lines += lines
        self._unseen.add(why)

    def _cut_blind(self, lines: Lines, flaw: Reason) -> tuple[Piece, ...]:
        pieces: tuple[Piece, ...] = ()
        step = self._config.min_gap_lines  # in so few lines no bag begins and ends
        for at in range(0, len(lines), step):
            part = lines[at : at + step]
            if self._cutter.shows_matter(part):  # a bag of its own, behind what was before
                pieces += self._announced()
            self._cutter.doubt(flaw)
            pieces += self._cutter.feed(part)
            self._cutter.doubt(flaw)
            if self._cutter.open_bag is None:
                ends = int(part.encoder[0]), int(part.encoder[-1])
                self._leave_out(*ends, int(part.time_ns[-1]), len(part), flaw)
                if self._unseen_lines >= self._config.max_bag_lines:
                    pieces += self._announced()
        return pieces

    def _announced(self, spare: int = 0) -> tuple[Piece, ...]:
        """The stretch of air so far as a bag, if it is long enough to hide one; it is over.

        Args:
            spare: Lines of it that hide nothing.
        """
        head, lines, reasons = self._head, self._unseen_lines, frozenset(self._unseen)
        self._head, self._unseen_lines = None, 0
        self._unseen.clear()
        if head is None or lines < spare + self._config.min_gap_lines:
            return ()
        number = self._cutter.number()
        return (BagUnscanned(number, head, self._tail, self._tail_ns, reasons),)

    # Agreement

    def judge(self, ended: BagEnded) -> tuple[frozenset[Reason], list[Note]]:
        """What the views' ends of a bag say against it, and what is to be noted."""
        if ended.cut or ended.reasons & {Reason.INCOMPLETE_SCAN, Reason.DETECTOR_FAULT}:
            return self._flag(), []  # some view did not see it whole: its ends say nothing
        there = {view: ends for view, ends in enumerate(ended.seen) if ends is not None}
        if len(there) < len(ended.seen):
            there = self._with_lone(there)
        else:
            self._lone.clear()
        pairs = list(itertools.combinations(sorted(there.items()), 2))
        found = self._displacement(pairs)
        notes: list[Note] = []
        if found is None:
            if not pairs or any(self._differ(a, b) for (_, a), (_, b) in pairs):
                return self._flag(), []  # one end is a strap's, say: neither for nor against
            self._sound += 1
            self._run = None
            if self.displaced and self._sound >= DISPLACED_BAGS:
                self.displaced = ""
                notes.append(Note("views-agree", {}))
            return self._flag(), notes
        self._sound = 0
        key, lines = found
        count = self._run[1] + 1 if self._run is not None and self._run[0] == key else 1
        self._run = key, count
        if count >= DISPLACED_BAGS and not self.displaced:
            one, other, way = key
            self.displaced = (
                f"view {other + 1} shows bags {abs(lines):.0f} lines "
                f"{'later' if way > 0 else 'earlier'} than view {one + 1}: one of their counters "
                "was not reset with the other, or an offset_mm is wrong; no bag is cleared until "
                "that is mended"
            )
            notes.append(Note("view-displaced", {
                "view": other + 1, "of": one + 1, "lines": round(lines), "error": self.displaced,
            }))  # fmt: skip
        return frozenset({Reason.DETECTOR_FAULT}), notes

    def _with_lone(self, there: dict[int, Seen]) -> dict[int, Seen]:
        """A bag that only some views show, with the one before it where that may be the same.

        Displaced by more than its length and a gap, a bag is two, each before some of the views.
        """
        before, self._lone = self._lone, there
        same = before and not before.keys() & there.keys() and all(
            abs((b[1] - b[0]) - (a[1] - a[0])) <= 2 * self._tolerance
            and abs(b[0] - a[0]) <= REACH_LINES * self._line
            for a, b in itertools.product(before.values(), there.values())
        )  # fmt: skip
        if not same:
            return there
        self._lone = {}
        return before | there

    def _flag(self) -> frozenset[Reason]:
        return frozenset({Reason.DETECTOR_FAULT}) if self.displaced else frozenset()

    def _differ(self, a: Seen, b: Seen) -> bool:
        return max(abs(b[0] - a[0]), abs(b[1] - a[1])) > self._tolerance

    def _displacement(
        self, pairs: Sequence[tuple[tuple[int, Seen], tuple[int, Seen]]]
    ) -> tuple[tuple[int, int, int], float] | None:
        """The two views that differ most about both ends of a bag, the same way, and by how much.

        One end alone may be of a strap that a view sees edge-on; both, the same way, may not.
        """
        worst: tuple[tuple[int, int, int], float] | None = None
        for (one, a), (other, b) in pairs:
            head, tail = b[0] - a[0], b[1] - a[1]
            if head * tail <= 0 or min(abs(head), abs(tail)) <= self._tolerance:
                continue
            lines = (head + tail) / 2 / self._line
            if worst is None or abs(lines) > abs(worst[1]):
                worst = (one, other, 1 if lines > 0 else -1), lines
        return worst
