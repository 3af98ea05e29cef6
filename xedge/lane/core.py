"""The core of a lane: a state machine ``(event, now) -> actions`` without threads or I/O.

A bag goes through three states::

    scanning --BagEnded--> waiting --all windows answered--> decided
        |                     |
        +------ too late -----+---------------------------> decided (TIMEOUT)

Bags are decided strictly in the order in which they began, each exactly once. Until then a bag
is NOT_CLEARED: nothing in here makes CLEAR but `LaneCore._verdict`, at the moment of emission.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from xedge.lane.config import LaneConfig
from xedge.lane.events import (
    Action,
    Cancel,
    Emit,
    Event,
    Interrupted,
    LinesLost,
    Note,
    Retuned,
    RunWindow,
    SourceEnded,
    StripArrived,
    WindowDone,
    WindowFailed,
)
from xedge.lane.ledger import Ledger
from xedge.lane.odometer import Odometer
from xedge.scanner import windows
from xedge.scanner.cutter import BagBegun, BagCutter, BagEnded, BagLines, GapLines, Lines, Piece
from xedge.scanner.flatfield import FlatField
from xedge.scanner.health import DetectorHealth, DetectorMonitor
from xedge.scanner.intake import Admission, Intake, Refusal
from xedge.types import I64, U16, Decision, Detections, Reason, Scan, Strip, Verdict

WORST_FIRST = (
    Reason.TIMEOUT,
    Reason.USER_INTERRUPT,
    Reason.OVERLOAD,
    Reason.ENGINE_FAILED,
    Reason.DETECTOR_FAULT,
    Reason.BAD_LINES,
    Reason.INCOMPLETE_SCAN,
    Reason.OVERSIZE_BAG,
    Reason.CLIPPED_BAG,
)
"""Of several reasons, the first in this order is the decision's `reason`."""

HOLE_REASON = {
    Refusal.WRONG_WIDTH: Reason.BAD_LINES,
    Refusal.DAMAGED: Reason.BAD_LINES,
    Refusal.REPEATED: Reason.BAD_LINES,
    Refusal.REVERSED: Reason.BAD_LINES,
    Refusal.QUEUE_FULL: Reason.OVERLOAD,
}
"""What refused lines say of the bag they belong to; a standing belt harms none."""


@dataclass(eq=False)
class _Bag:
    """A bag from its first line to its decision."""

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
    reasons: set[Reason] = field(default_factory=set)
    parts: dict[int, Detections] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)

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


class LaneCore:
    """One belt. Feed it events in order of time; do what it answers.

    Args:
        flat_field: The correction of the detector.
        config: The set-up.
    """

    def __init__(self, flat_field: FlatField, config: LaneConfig) -> None:
        self._config = config
        self._elements = flat_field.elements
        self._monitor = DetectorMonitor(flat_field)
        self._intake = Intake(flat_field.elements, config.counts_per_line)
        self._cutter = BagCutter(config.cutter)
        self._ledger = Ledger()
        self._queue: deque[_Bag] = deque()  # bags without a decision, in their order
        self._scanning: _Bag | None = None  # the bag under the beam, decided or not
        self._asked: set[tuple[int, int]] = set()  # windows not answered yet
        self._ended = False
        self._captured_ns: int | None = None
        self._line_ns = 0.0
        self._odometer = Odometer(config.counts_per_line)

    @property
    def ledger(self) -> Ledger:
        """The books as they stand, a copy."""
        return replace(
            self._ledger,
            refused_lines=dict(self._ledger.refused_lines),
            held_lines=self._cutter.held_lines,
            open_bags=len(self._queue),
        )

    @property
    def health(self) -> DetectorHealth:
        """What the lines say of the detector so far."""
        return self._monitor.health()

    @property
    def next_wake_ns(self) -> int | None:
        """When a `Tick` must come at the latest; None while no bag is open."""
        if not self._queue:
            return None
        return self._queue[0].opened_ns + self._config.bag_limit_ns

    @property
    def done(self) -> bool:
        """True when the source has ended and every bag is decided."""
        return self._ended and not self._queue

    def handle(self, event: Event, now_ns: int) -> tuple[Action, ...]:
        """What is to be done, in this order, now that ``event`` has happened.

        Args:
            event: What happened.
            now_ns: The time, on the clock of the strips' ``captured_ns``; never falls.
        """
        out: list[Action] = []
        if isinstance(event, StripArrived):
            self._take_strip(event.strip, now_ns, out)
        elif isinstance(event, LinesLost):
            self._ledger.lines_in += event.lines
            self._account(self._intake.lost(event.lines, event.cause), now_ns, out)
        elif isinstance(event, WindowDone):
            self._take_result(event, out)
        elif isinstance(event, WindowFailed):
            self._take_failure(event.bag, event.index, event.error, out)
        elif isinstance(event, Retuned):
            self._config = replace(self._config, alarm_threshold=event.alarm_threshold)
            out.append(Note("retuned", {"alarm_threshold": event.alarm_threshold}))
        elif isinstance(event, SourceEnded):
            self._ended = True
            out.append(Note("source-ended", {"error": event.error}))
            self._take_pieces(self._cutter.finish(), now_ns, out)
        elif isinstance(event, Interrupted):
            self._ended = True
            out.append(Note("interrupted", {}))
            self._take_pieces(self._cutter.finish(), now_ns, out)
            for bag in self._queue:
                bag.reasons.add(Reason.USER_INTERRUPT)
        self._decide_what_can_be(now_ns, out)
        return tuple(out)

    # Lines

    def _take_strip(self, strip: Strip, now_ns: int, out: list[Action]) -> None:
        self._ledger.lines_in += len(strip)
        admission = self._intake.admit(strip)
        self._account(admission, now_ns, out)
        if admission.use is None:
            if admission.refused.keys() == {Refusal.STANDING}:
                self._odometer.stood(strip.captured_ns)
            return
        low, high, encoder = strip.low, strip.high, strip.encoder
        counter = strip.first_line + np.arange(len(strip), dtype=np.int64)
        if not admission.use.all():
            low, high = low[admission.use], high[admission.use]
            encoder, counter = encoder[admission.use], counter[admission.use]
        time_ns = self._line_times(strip, len(encoder), admission.hole > 0)
        low, high = self._monitor.correct(low, high)
        if self._monitor.fault:  # a bag may end in these lines as well as begin
            self._cutter.flag(Reason.DETECTOR_FAULT)
        self._take_pieces(
            self._cutter.feed(Lines(low, high, encoder, counter, time_ns)), now_ns, out
        )  # fmt: skip
        if admission.hole:
            # The encoder may have jumped inside the strip, in a bag that begins in it.
            self._cutter.flag(Reason.INCOMPLETE_SCAN)
        if self._monitor.fault:
            self._cutter.flag(Reason.DETECTOR_FAULT)
        self._odometer.moved(encoder, strip.captured_ns)

    def _account(self, admission: Admission, now_ns: int, out: list[Action]) -> None:
        """Book what was refused and what is missing, and flag the bag it concerns."""
        self._ledger.refuse(admission.refused)
        self._ledger.missing_lines += admission.missing
        reason = Reason.INCOMPLETE_SCAN
        for cause, lines in admission.refused.items():
            if cause in HOLE_REASON:
                reason = HOLE_REASON[cause]
                self._cutter.flag(reason)
                out.append(Note("lines-refused", {"cause": cause.value, "lines": lines}))
        if admission.missing:
            out.append(Note("lines-missing", {"lines": admission.missing}))
        if admission.hole:
            self._take_pieces(self._cutter.hole(admission.hole, reason), now_ns, out)
            self._odometer.lost(admission.hole)

    def _line_times(self, strip: Strip, lines: int, hole: bool) -> I64:
        """When each line was read out: evenly since the strip before, the last at the end."""
        if self._captured_ns is not None and not hole:
            line_ns = max(0.0, (strip.captured_ns - self._captured_ns) / len(strip))
            # A belt that stood between two strips did not take so long for each line.
            self._line_ns = min(line_ns, 2 * self._line_ns) if self._line_ns else line_ns
        self._captured_ns = strip.captured_ns
        behind = np.arange(lines - 1, -1, -1) * self._line_ns
        return strip.captured_ns - behind.astype(np.int64)

    # Bags

    def _take_pieces(self, pieces: tuple[Piece, ...], now_ns: int, out: list[Action]) -> None:
        for piece in pieces:
            if isinstance(piece, GapLines):
                self._ledger.gap_lines += piece.lines
            elif isinstance(piece, BagBegun):
                self._begin(piece.bag, now_ns, out)
            elif isinstance(piece, BagLines):
                self._ledger.bag_lines += len(piece.lines)
                self._grow(piece.lines, out)
            else:
                self._end(piece, out)

    def _begin(self, number: int, now_ns: int, out: list[Action]) -> None:
        stored = len(self._queue) < self._config.max_open_bags
        room = self._config.cutter.max_bag_lines + self._config.cutter.margin_lines if stored else 0
        bag = _Bag(
            number,
            now_ns,
            np.empty((room, self._elements), np.uint16),
            np.empty((room, self._elements), np.uint16),
            np.empty(room, np.int64),
            stored=stored,
        )
        if not stored:
            bag.reasons.add(Reason.OVERLOAD)
        self._ledger.bags_in += 1
        self._queue.append(bag)
        self._scanning = bag
        out.append(Note("bag-begun", {"bag": number}))

    def _grow(self, lines: Lines, out: list[Action]) -> None:
        bag = self._scanning
        if bag is None or bag not in self._queue:
            return  # decided before its end: its lines are booked, and needed no more
        bag.append(lines)
        for start in self._config.windows.ready(bag.lines, bag.windows):
            self._ask(bag, start, out)

    def _end(self, ended: BagEnded, out: list[Action]) -> None:
        bag, self._scanning = self._scanning, None
        out.append(Note("bag-ended", {"bag": ended.bag, "tail_encoder": ended.tail_encoder}))
        if bag is None or bag not in self._queue:
            return
        bag.ended = True
        bag.reasons |= ended.reasons
        bag.tail_encoder, bag.tail_ns = ended.tail_encoder, ended.tail_ns
        for start in self._config.windows.starts(bag.lines)[bag.windows :]:
            self._ask(bag, start, out)

    # Windows

    def _ask(self, bag: _Bag, start: int, out: list[Action]) -> None:
        index = bag.windows
        bag.windows += 1
        if not bag.stored:
            return
        if len(self._asked) >= self._config.max_queued_windows:
            bag.reasons.add(Reason.OVERLOAD)
            out.append(Note("window-dropped", {"bag": bag.number, "window": index}))
            return
        plan = self._config.windows
        planes = plan.planes(bag.low[: bag.lines], bag.high[: bag.lines], start)
        bag.starts[index] = start
        bag.pending += 1
        self._asked.add((bag.number, index))
        out.append(RunWindow(bag.number, index, start, planes))

    def _answered(self, number: int, index: int, out: list[Action]) -> _Bag | None:
        """The undecided bag that was waiting for this answer, if there is one."""
        if (number, index) not in self._asked:
            out.append(Note("answer-unasked", {"bag": number, "window": index}))
            return None
        self._asked.remove((number, index))
        for bag in self._queue:
            if bag.number == number:
                bag.pending -= 1
                return bag
        return None

    def _take_result(self, event: WindowDone, out: list[Action]) -> None:
        found = event.detections
        if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
            self._take_failure(event.bag, event.index, "values that are not finite", out)
        elif (bag := self._answered(event.bag, event.index, out)) is not None:
            bag.parts[event.index] = found

    def _take_failure(self, number: int, index: int, error: str, out: list[Action]) -> None:
        if (bag := self._answered(number, index, out)) is not None:
            bag.reasons.add(Reason.ENGINE_FAILED)
            out.append(Note("window-failed", {"bag": number, "window": index, "error": error}))

    # Decisions

    def _decide_what_can_be(self, now_ns: int, out: list[Action]) -> None:
        """Decide bags from the head of the queue on, as far as that can be done now."""
        while self._queue:
            bag = self._queue[0]
            late = self._late(bag, now_ns)
            ready = bag.ended and bag.pending == 0
            if not (ready or late or Reason.USER_INTERRUPT in bag.reasons):
                return
            self._queue.popleft()
            if bag.pending:
                out.append(Cancel(bag.number))
            self._ledger.decisions += 1
            out.append(self._decide(bag, late, now_ns))

    def _late(self, bag: _Bag, now_ns: int) -> bool:
        if now_ns - bag.opened_ns >= self._config.bag_limit_ns:
            return True
        reached = self._odometer.reached(now_ns) if bag.ended else None
        return reached is not None and reached >= bag.tail_encoder + self._config.deadline_counts

    def _decide(self, bag: _Bag, late: bool, now_ns: int) -> Emit:
        found = windows.merge(
            [(bag.starts[k], bag.parts[k]) for k in sorted(bag.parts)],
            self._config.windows,
            max(1, bag.lines),
            self._config.nms_iou,
            self._elements,
        )
        reasons = bag.reasons | ({Reason.TIMEOUT} if late else set())
        verdict = self._verdict(found, reasons, late)
        reason = next((r for r in WORST_FIRST if r in reasons), Reason.NONE)
        decision = Decision(
            bag=bag.number,
            verdict=verdict,
            reason=reason if verdict is Verdict.NOT_CLEARED else Reason.NONE,
            encoder_head=bag.head_encoder,
            encoder_tail=bag.tail_encoder,
            detections=found,
            latency_ns=max(0, now_ns - bag.tail_ns),
            late=late,
            reasons=frozenset(reasons),
        )
        return Emit(decision, self._scan(bag, decision) if bag.stored else None)

    def _verdict(self, found: Detections, reasons: set[Reason], late: bool) -> Verdict:
        if late:
            return Verdict.NOT_CLEARED
        if len(found) and float(found.scores[0]) >= self._config.alarm_threshold:
            return Verdict.ALARM
        return Verdict.NOT_CLEARED if reasons else Verdict.CLEAR

    def _scan(self, bag: _Bag, decision: Decision) -> Scan:
        rows = slice(0, bag.lines)
        return Scan(
            bag.number,
            bag.low[rows],
            bag.high[rows],
            bag.encoder[rows],
            bag.first_line,
            bag.tail_ns,
            decision.reasons,
        )
